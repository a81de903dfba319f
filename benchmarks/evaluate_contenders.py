"""Who answers the items, each in a process of its own: Ensue, Ensue one request at a time, and the harness."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

Pairs = Sequence[tuple[str, str]]
Answers = list[tuple[float, bool]]
"""Of each pair, ln p of the continuation, and whether all of it is what greedy decoding writes."""


def serve(connection: Connection, contender: str, folder: str, threads: int) -> None:
    """Answer lists of pairs with their answers and the seconds they took, until None comes."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    import torch

    torch.set_num_threads(threads)
    answer = _ensue(folder, contender) if contender.startswith("ensue") else _harness(folder, contender)
    connection.send({"ready": contender})
    while (pairs := connection.recv()) is not None:
        begun, used = time.perf_counter(), time.process_time()
        answers = answer(pairs)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        connection.send({"seconds": seconds, "cpu_seconds": cpu, "answers": answers, "peak_mb": peak})


def _ensue(folder: str, contender: str) -> Callable[[Pairs], Answers]:
    from ensue.core.memory import keep_freed_memory
    from ensue.generate.boundary import split_boundary
    from ensue.generate.load import load
    from ensue.generate.score import score_alone, score_tokens

    keep_freed_memory()
    lm = load(folder, device="cpu")
    alone = contender == "ensue, each request alone"

    def answer(pairs: Pairs) -> Answers:
        split = [split_boundary(lm.tokenizer, *pair) for pair in pairs]
        scores = [score_alone(lm.model, *pair) for pair in split] if alone else score_tokens(lm.model, split)
        return [(each.total, all(each.greedy)) for each in scores]

    return answer


def _harness(folder: str, contender: str) -> Callable[[Pairs], Answers]:
    import logging
    import warnings

    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    size = contender.removeprefix("lm-eval, batch ")
    batch_size: Any = size if size == "auto" else int(size)
    model = HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=batch_size)

    def answer(pairs: Pairs) -> Answers:
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=number)
            for number, pair in enumerate(pairs)
        ]
        return [(float(nats), bool(greedy)) for nats, greedy in model.loglikelihood(requests, disable_tqdm=True)]

    return answer
