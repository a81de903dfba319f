"""Seconds of counting that save minutes of training: embeddings and head start from the corpus's bigrams."""

from __future__ import annotations

from collections.abc import Sequence

from ensue.loss.bigram import Bigram
from ensue.model.gpt import GPT
from ensue.recipes.display import Display
from ensue.tokens.bigrams import BigramStream
from ensue.tokens.shards import Shard
from ensue.train.engine import Engine
from ensue.train.loop import Stop, run_steps
from ensue.train.optimizer import Optimizer, OptimizerConfig
from ensue.train.schedule import Schedule

ROWS = 512
LARGEST_VOCABULARY = 8192
"""Above it the table of counts (V x V) outgrows what it saves."""


def warm_start(model: GPT, shards: Sequence[tuple[Shard, float]], *, steps: int, seed: int, display: Display) -> float:
    """Fit the model without its blocks to the bigram counts of shards, which have so much weight each, in place; return
    its loss there in nats a token.

    Meant for a model whose blocks write nothing yet (`residual_init` "zero"), so that training goes on from there.
    """
    engine = Engine(
        model=model,
        objective=Bigram(),
        stream=BigramStream(shards, rows=ROWS),
        optimizer=Optimizer(model, OptimizerConfig(lr=0.05, beta1=0.9, beta2=0.95, weight_decay=0.0, clip=None)),
        schedule=Schedule("trapezoid", warmup=min(5, steps), steps=steps, decay=0.5),
        clip=None,
        device=next(model.parameters()).device,
        precision="fp32",
        seed=seed,
    )
    loss = float("nan")
    with display.bar("fitting bigrams", steps, "steps") as bar:
        for step in run_steps(engine, start=0, hooks=[], stop=Stop()):
            loss = step.loss
            bar.advance(1)
    for parameter in model.parameters():
        parameter.grad = None
    return loss
