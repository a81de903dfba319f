"""Small models and a small tokenizer, made here, with weights large enough to have opinions."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ensue.generate.lm import LM
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.tokens.byte_level import ByteLevelTokenizer, train_byte_level

SENTENCES = [
    "Once upon a time there was a fox who lived in the wood, and the wood was dark and deep.",
    "The fox said to the crow: what a fine voice you have! The crow opened its mouth to sing.",
    "从前有一只狐狸住在森林里，狐狸很聪明。天地玄黃，宇宙洪荒。",
    "Ωμέγα και άλφα: naïve café, señor 🦊🌲! Les yeux bleus, où est-il?\n\nThe end of the tale.",
]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_gpt() -> Callable[..., GPT]:
    """A GPT-2 of a few thousand weights; keyword arguments change its shape."""

    def make(*, vocab: int = 61, context: int = 32, layers: int = 2, seed: int = 0) -> GPT:
        model = GPT.build(gpt2(layers=layers, width=24, heads=3, context=context, vocab=vocab), seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.25)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def tokenizer() -> ByteLevelTokenizer:
    return train_byte_level(iter(SENTENCES * 3), vocab_size=320)


@pytest.fixture(scope="session")
def lm(make_gpt: Callable[..., GPT], tokenizer: ByteLevelTokenizer) -> LM:
    """Its embedding is larger than its vocabulary, as padded models' are."""
    return LM(make_gpt(vocab=332, context=64), tokenizer, Path("nowhere"))
