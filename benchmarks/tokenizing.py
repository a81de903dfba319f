"""Bulk tokenising beside `tokenizers`, and the memory of writing a shard: python -m benchmarks.tokenizing [FOLDER]

Both encode the same documents with the same vocabulary on the same cores, by turns. FOLDER holds .txt files; without it
the text is the documentation inside this Python installation.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tiktoken import Encoding

from benchmarks.measure import interleaved, machine, median, print_table, spread, write_results
from ensue.text.document import Document
from ensue.text.python_docs import python_documentation
from ensue.tokens.byte_level import ByteLevelTokenizer, train_byte_level
from ensue.tokens.shards import Shard, write_shard
from ensue.tokens.stream import BatchRamp, PackedStream

VOCAB_SIZE = 8192
CORES = len(os.sched_getaffinity(0))
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
PACKAGES = ("tokenizers", "fastokens", "tiktoken", "numpy", "pyarrow", "torch")
MEGABYTES = 8
PEAK = """
import sys
from pathlib import Path
from ensue.text.document import Document
from ensue.tokens.shards import write_shard
from ensue.tokens.tokenizer import load_tokenizer
folder, times = Path(sys.argv[1]), int(sys.argv[2])
def documents():
    for turn in range(times):
        for path in sorted(folder.glob("*.txt")):
            yield Document.of(path.read_text(encoding="utf-8"), f"{turn}/{path.name}")
write_shard(documents(), folder / "shard", tokenizer=load_tokenizer(folder))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def read_documents(arguments: list[str]) -> list[Document]:
    """The first 8 MB of documents of the folder named on the command line, or of the Python installation."""
    if arguments:
        paths = sorted(Path(arguments[0]).rglob("*.txt"))
        documents = [Document.of(path.read_text(encoding="utf-8"), path.name) for path in paths]
    else:
        documents = python_documentation()
    sizes = np.cumsum([len(document.text.encode()) for document in documents])
    return documents[: int(np.searchsorted(sizes, MEGABYTES * 1e6)) + 1]


def measure_encoding(
    documents: list[Document], tokenizer: ByteLevelTokenizer, folder: Path
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds, and CPU seconds over all cores, that each way to encode takes for all documents."""
    texts = [document.text for document in documents]
    reference = tokenizer._backend
    expected = [encoding.ids for encoding in reference.encode_batch_fast(texts, add_special_tokens=False)]
    assert all(ids.tolist() == row for ids, row in zip(tokenizer.encode_batch(texts), expected, strict=True))

    tiktoken = as_tiktoken(tokenizer)
    assert tiktoken.encode_ordinary_batch(texts) == [list(row) for row in expected]

    def first_use() -> None:
        ByteLevelTokenizer(tokenizer._vocabulary, tokenizer._merges).encode_batch(texts)

    contenders: dict[str, Callable[[], object]] = {
        "ensue encode_batch": lambda: tokenizer.encode_batch(texts),
        "ensue encode_batch, first use (with its check)": first_use,
        "ensue write_shard (to disk, checksums)": lambda: write_shard(documents, folder, tokenizer=tokenizer),
        "tiktoken encode_ordinary_batch": lambda: tiktoken.encode_ordinary_batch(texts, num_threads=CORES),
        "tokenizers encode_batch": lambda: reference.encode_batch(texts, add_special_tokens=False),
        "tokenizers encode_batch_fast": lambda: reference.encode_batch_fast(texts, add_special_tokens=False),
    }
    cpu_seconds: dict[str, list[float]] = {name: [] for name in contenders}

    def with_cpu_time(name: str) -> Callable[[], None]:
        def run() -> None:
            begun = time.process_time()
            contenders[name]()
            cpu_seconds[name].append(time.process_time() - begun)

        return run

    seconds = interleaved({name: with_cpu_time(name) for name in contenders}, rounds=3)
    return seconds, cpu_seconds


def as_tiktoken(tokenizer: ByteLevelTokenizer) -> Encoding:
    """The same vocabulary and merges in tiktoken."""
    ranks = {tokenizer.token_bytes(number): number for number in range(tokenizer.vocab_size) if number != tokenizer.end}
    return Encoding("same", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})


def measure_batches(shard: Shard) -> dict[str, list[float]]:
    """Milliseconds for one batch of each of two shapes."""

    def reader(rows: int, context: int):
        ramp = BatchRamp(rows, rows)
        stream = PackedStream(shard, context=context, batch=ramp, micro_batch=rows, seed=1)
        return lambda: [list(stream.batches(step)) for step in range(200)]

    contenders = {f"{rows} x {context}": reader(rows, context) for rows, context in ((16, 256), (2, 1024))}
    return {name: [second * 1000 / 200 for second in times] for name, times in interleaved(contenders).items()}


def measure_memory(documents: list[Document], tokenizer: ByteLevelTokenizer, folder: Path) -> dict[str, int]:
    """Peak memory, in MB, of fresh processes that read and write this corpus once and several times over."""
    tokenizer.save(folder)
    for number, piece in enumerate(np.array_split(np.arange(len(documents)), 200)):
        text = "\n".join(documents[place].text for place in piece)
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    peaks = {}
    for times in (1, 4, 16):
        command = [sys.executable, "-c", PEAK, str(folder), str(times)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peaks[f"{times} x corpus"] = int(out) // 1024
    return peaks


def main() -> None:
    """Measure, print a table, write results/tokenize.json."""
    documents = read_documents(sys.argv[1:])
    size = sum(len(document.text.encode()) for document in documents) / 1e6
    tokenizer = train_byte_level((document.text for document in documents), vocab_size=VOCAB_SIZE)
    with tempfile.TemporaryDirectory() as name:
        seconds, cpu_seconds = measure_encoding(documents, tokenizer, Path(name) / "shard")
        batches = measure_batches(Shard.open(Path(name) / "shard"))
        peaks = measure_memory(documents, tokenizer, Path(name))
    base, cpu_base = (median(times["tokenizers encode_batch_fast"]) for times in (seconds, cpu_seconds))
    encoding = {
        way: {
            "median_s": median(times),
            "spread_s": spread(times),
            "mb_per_s": round(size / median(times), 1),
            "times_tokenizers": round(base / median(times), 1),
            "cpu_s": median(cpu_seconds[way]),
            "times_tokenizers_by_cpu": round(cpu_base / median(cpu_seconds[way]), 1),
        }
        for way, times in seconds.items()
    }
    print_table([["way", *next(iter(encoding.values()))], *[[way, *row.values()] for way, row in encoding.items()]])
    print_table([["batch", "ms"], *[[shape, median(times)] for shape, times in batches.items()]])
    print_table([["write_shard of", "peak MB"], *peaks.items()])
    results = {
        "load_average": os.getloadavg()[0],
        "machine": machine(*PACKAGES),
        "text": sys.argv[1] if sys.argv[1:] else "documentation of this Python installation",
        "documents": len(documents),
        "megabytes": round(size, 1),
        "vocab_size": VOCAB_SIZE,
        "encoding": encoding,
        "batch_ms": {shape: median(times) for shape, times in batches.items()},
        "write_shard_peak_mb": peaks,
    }
    print(write_results("tokenize", results))


if __name__ == "__main__":
    main()
