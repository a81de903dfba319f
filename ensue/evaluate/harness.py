"""lm-evaluation-harness drives an Ensue model; its name there is `ensue`, once this module is imported.

    python -m ensue.evaluate.harness --model ensue --model_args path=runs/mine --tasks arc_easy,hellaswag

Requests are answered by the harness's own rules, as its `hf` model answers them: how a continuation is parted from its
context, how a long text is divided into windows, where a prompt that is too long is cut. Only where those leave nothing
to score, as they may in scripts without spaces, are the two parted by Ensue's rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import torch

from ensue.evaluate.harness_writing import written
from ensue.generate.boundary import split_boundary
from ensue.generate.load import load
from ensue.generate.score import Pair, TokenScores, score_tokens

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError as error:
    raise ValueError("lm-evaluation-harness is not installed: pip install 'ensue[harness]'") from error

TOGETHER = 4096
"""Requests that are scored before their answers go into the harness's cache."""


@register_model("ensue")
class EnsueModel(TemplateLM):  # type: ignore[misc]  # whose base has no types
    """What `ensue.load` opens, as the harness wants a model to be.

    path          a run, a checkpoint, a Hugging Face folder or a Hub name
    device        auto, cpu or cuda; cpu where there is no GPU
    dtype         fp32 or bf16
    batch_size    taken since the harness gives it, and not needed: passes are filled by tokens, and change no answer
    max_gen_toks  tokens written where a task does not say
    """

    def __init__(
        self,
        path: str,
        device: str = "auto",
        dtype: Literal["fp32", "bf16"] = "fp32",
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        max_gen_toks: int = 256,
    ) -> None:
        super().__init__()
        # The harness's command line says cuda where nobody did.
        self.lm = load(path, device=device if torch.cuda.is_available() else "cpu", dtype=dtype)
        self.max_gen_toks = int(max_gen_toks)

    @property
    def eot_token_id(self) -> int:
        return self.lm.tokenizer.end

    @property
    def max_length(self) -> int:
        """Tokens that the model reads at once."""
        return self.lm.config.context

    @property
    def tokenizer_name(self) -> str:
        """By which the harness's cache of requests tells tokenizers apart."""
        return f"ensue-{self.lm.tokenizer.fingerprint}"

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes beside its results."""
        parameters = sum(parameter.numel() for parameter in self.lm.model.parameters())
        return {"model_num_parameters": parameters, "model_dtype": str(self.lm.model.token_embedding.weight.dtype)}

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **more: Any) -> list[int]:
        return self.lm.tokenizer.encode(string)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """ln p of each text in the harness's windows, of which the last, too, begins a whole window before its end."""
        pairs: list[Pair] = []
        texts: list[int] = []
        for number, request in enumerate(requests):
            windows = list(map(make_disjoint_window, self._windows(*request.args)))
            pairs.extend(windows)
            texts.extend([number] * len(windows))
        totals = [0.0] * len(requests)
        for number, scores in zip(texts, self._scored(pairs, disable_tqdm), strict=True):
            totals[number] += sum(scores.nats)
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What the model writes after each prompt. Raises ValueError for a setting that it does not know."""
        groups: dict[str, list[int]] = defaultdict(list)
        for number, request in enumerate(requests):
            groups[repr(request.args[1])].append(number)
        answers = [""] * len(requests)
        with _bar(len(requests), "generate_until", disable_tqdm) as bar:
            for numbers in groups.values():
                settings: Mapping[str, Any] = requests[numbers[0]].args[1]
                prompts = [requests[number].args[0] for number in numbers]
                texts = written(self.lm, prompts, settings, most=self.max_gen_toks)
                for number, text in zip(numbers, texts, strict=True):
                    answers[number] = text
                    self.cache_hook.add_partial("generate_until", requests[number].args, text)
                bar.update(len(numbers))
        return answers

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        before, after = super()._encode_pair(context, continuation)
        return (before, after) if after else split_boundary(self.lm.tokenizer, context, continuation)

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **more: Any,
    ) -> list[tuple[float, bool]]:
        pairs = [(context or [self.eot_token_id], continuation) for _, context, continuation in requests]
        answers = []
        for (texts, _, _), scores in zip(requests, self._scored(pairs, disable_tqdm), strict=True):
            answers.append((sum(scores.nats), all(scores.greedy)))
            self.cache_hook.add_partial("loglikelihood", texts, answers[-1])
        return answers

    def _windows(self, text: str) -> Iterator[Pair]:
        windows: Iterator[Pair] = get_rolling_token_windows(
            self.tok_encode(text), prefix_token=self.eot_token_id, max_seq_len=self.max_length, context_len=1
        )
        return windows

    def _scored(self, pairs: Sequence[Pair], disable_tqdm: bool) -> Iterator[TokenScores]:
        left = iter(pairs)
        with _bar(len(pairs), "loglikelihood", disable_tqdm) as bar:
            while group := list(islice(left, TOGETHER)):
                yield from score_tokens(self.lm.model, group, on_done=bar.update)


def _bar(total: int, name: str, hidden: bool) -> Any:
    from tqdm import tqdm  # type: ignore[import-untyped]

    return tqdm(total=total, desc=f"Running {name} requests", disable=hidden)


def main() -> None:
    """The harness's own command line, where `--model ensue` is known."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
