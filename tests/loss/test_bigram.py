"""The bigram objective is the next-token loss of a model whose blocks write nothing, over the whole text at once."""

from dataclasses import replace

import numpy as np
import torch

from ensue.loss.bigram import Bigram
from ensue.loss.next_token import NextToken
from ensue.model.gpt import GPT
from ensue.model.presets import modern
from ensue.tokens.batch import Batch, BigramBatch
from ensue.tokens.bigrams import count_bigrams

VOCAB = 23


def make_model() -> GPT:
    shape = replace(modern(layers=2, width=16, heads=2, context=200, vocab=VOCAB), tied=False)
    model = GPT.build(shape, 3).double()
    with torch.no_grad():
        model.token_embedding.weight.normal_(generator=torch.Generator().manual_seed(1))
        model.final_norm.weight.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(2))
    return model


def table(tokens: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(count_bigrams(tokens.numpy(), VOCAB)).double()


def test_it_equals_next_token_loss_of_the_model_without_its_blocks() -> None:
    model = make_model()
    tokens = torch.randint(VOCAB, (150,), generator=torch.Generator().manual_seed(4))
    counts = table(tokens)
    first = torch.arange(VOCAB)
    by_counts = Bigram().loss(model, BigramBatch(first, counts))
    row = tokens[None]
    by_tokens = NextToken().loss(model, Batch(row[:, :-1], row[:, 1:], torch.ones(1, 149, dtype=torch.float64)))
    assert by_counts.count == by_tokens.count == 149
    torch.testing.assert_close(by_counts.total, by_tokens.total.double(), rtol=1e-5, atol=1e-5)


def test_pieces_of_the_table_add_up() -> None:
    model = make_model()
    counts = table(torch.from_numpy(np.random.default_rng(0).integers(0, VOCAB, 400)))
    whole = Bigram().loss(model, BigramBatch(torch.arange(VOCAB), counts))
    parts = [Bigram().loss(model, BigramBatch(rows, counts[rows])) for rows in torch.arange(VOCAB).split(5)]
    assert sum(part.count for part in parts) == whole.count
    torch.testing.assert_close(sum(part.total for part in parts), whole.total)
