"""llama.cpp and ctranslate2 as peers of `generate.py`, in the Python that has them: orders in, seconds out, as JSON.

An order is {"peer": name, "prompts": [[token ids]], "new": count}; the answer {"first": seconds until every prompt was
read and its first token known, "total": seconds until all tokens were}. All are greedy, on the same number of threads.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np


class LlamaCpp:
    """llama.cpp through its C interface, one sequence: nothing of Python stands between two tokens but argmax."""

    def __init__(self, path: str, threads: int) -> None:
        import llama_cpp

        self.library = llama_cpp
        llama_cpp.llama_backend_init()
        model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = 1024, 512, 512
        settings.n_threads = settings.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(model, settings)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))

    def write(self, prompts: list[list[int]], new: int) -> tuple[float, float]:
        (prompt,) = prompts
        start = time.perf_counter()
        self.library.llama_memory_clear(self.library.llama_get_memory(self.context), True)
        token = self._next(prompt)
        first = time.perf_counter() - start
        for _ in range(new - 1):
            token = self._next([token])
        return first, time.perf_counter() - start

    def _next(self, tokens: list[int]) -> int:
        given = (self.library.llama_token * len(tokens))(*tokens)
        batch = self.library.llama_batch_get_one(given, len(tokens))
        assert self.library.llama_decode(self.context, batch) == 0
        logits = self.library.llama_get_logits_ith(self.context, -1)
        return int(np.ctypeslib.as_array(logits, shape=(self.vocabulary,)).argmax())


class CTranslate2:
    """ctranslate2 in int8, all prompts in one batch."""

    def __init__(self, path: str, threads: int) -> None:
        import ctranslate2

        self.generator = ctranslate2.Generator(path, device="cpu", compute_type="int8", intra_threads=threads)
        self.words = json.loads((Path(path) / "vocabulary.json").read_text(encoding="utf-8"))

    def write(self, prompts: list[list[int]], new: int) -> tuple[float, float]:
        words = [[self.words[token] for token in prompt] for prompt in prompts]
        start = time.perf_counter()
        self._run(words, 1)
        first = time.perf_counter() - start
        start = time.perf_counter()
        self._run(words, new)
        return first, time.perf_counter() - start

    def _run(self, words: list[list[str]], new: int) -> None:
        results = self.generator.generate_batch(
            words, max_length=new, min_length=new, sampling_topk=1, include_prompt_in_result=False
        )
        assert all(len(result.sequences[0]) == new for result in results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--llama", nargs="*", default=[], help="NAME=FILE.gguf")
    parser.add_argument("--ctranslate2", default=None, help="folder of a converted model")
    arguments = parser.parse_args()
    peers: dict[str, LlamaCpp | CTranslate2] = {}
    for pair in arguments.llama:
        name, _, path = pair.partition("=")
        peers[name] = LlamaCpp(path, arguments.threads)
    if arguments.ctranslate2:
        peers["ctranslate2 int8"] = CTranslate2(arguments.ctranslate2, arguments.threads)
    print(json.dumps(sorted(peers)), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        first, total = peers[order["peer"]].write(order["prompts"], order["new"])
        print(json.dumps({"first": first, "total": total}), flush=True)


if __name__ == "__main__":
    main()
