"""The gpt3 recipe as a datatrove pipeline, for `benchmarks.curation`: PY curation_peer.py WARC OUT TOKENIZER GOOD A N

It runs under a Python of its own, since datatrove asks for other versions of some libraries. Extraction, language
identification (py3langid), a quality filter (scikit-learn's HashingVectorizer and LogisticRegression, trained on the
reference and on the first pages), MinHash de-duplication (14 x 8 of 5-grams) and tokenising, as one would write it,
with N workers where the work can be shared.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig
from datatrove.utils.text import TextNormConfig


class English(BaseFilter):
    """py3langid says English with at least one half."""

    name = "english"

    def filter(self, doc: object) -> bool:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        if not hasattr(self, "identifier"):
            self.identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        language, probability = self.identifier.classify(doc.text[:1000])
        return language == "en" and probability >= 0.5


class Quality(BaseFilter):
    """Keep if a Pareto draw is above 1 - score."""

    name = "quality"

    def __init__(self, reference: str, sample: str, alpha: float) -> None:
        super().__init__()
        self.reference, self.sample, self.alpha = reference, sample, alpha

    def filter(self, doc: object) -> bool:
        if not hasattr(self, "model"):
            self.train()
        score = self.model.predict_proba(self.vectorizer.transform([doc.text]))[0, 1]
        return bool(self.random.pareto(self.alpha) > 1 - score)

    def train(self) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer
        from sklearn.linear_model import LogisticRegression

        self.random = np.random.default_rng(0)
        good = [json.loads(line)["text"] for line in Path(self.reference).read_text().splitlines()]
        raw = [json.loads(line)["text"] for path in Path(self.sample).glob("*.jsonl") for line in path.open()]
        self.vectorizer = HashingVectorizer(n_features=2**18, alternate_sign=False)
        labels = [1] * len(good) + [0] * len(raw)
        self.model = LogisticRegression(solver="liblinear").fit(self.vectorizer.transform(good + raw), labels)


def main() -> None:
    warc, out, tokenizer, reference, alpha, count = sys.argv[1:]
    workers = int(count)
    begun = time.perf_counter()
    stages: dict[str, float] = {}

    def run(name: str, pipeline: list, tasks: int = 1) -> None:
        start = time.perf_counter()
        together = min(workers, tasks)
        LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=together, logging_dir=f"{out}/logs/{name}").run()
        stages[name] = round(time.perf_counter() - start, 2)

    config = MinhashConfig(
        n_grams=5,
        num_buckets=14,
        hashes_per_bucket=8,
        hash_config=HashConfig(hash_fc="sha1"),
        norm_config=TextNormConfig(),
    )
    writer = {"compression": None, "output_filename": "${rank}.jsonl"}
    run(
        "extract",
        [
            WarcReader(warc, glob_pattern="*.warc.gz"),
            Trafilatura(favour_precision=False, deduplicate=False, timeout=30),
            English(),
            JsonlWriter(f"{out}/extracted", **writer),
        ],
        tasks=workers,
    )
    run(
        "quality and signatures",
        [
            JsonlReader(f"{out}/extracted"),
            Quality(reference, f"{out}/extracted", float(alpha)),
            JsonlWriter(f"{out}/filtered", **writer),
            MinhashDedupSignature(output_folder=f"{out}/signatures", config=config, language="eng"),
        ],
        tasks=workers,
    )
    run("buckets", [MinhashDedupBuckets(f"{out}/signatures", f"{out}/buckets", config=config)], tasks=14)
    run("clusters", [MinhashDedupCluster(f"{out}/buckets", f"{out}/remove", config=config)])
    run(
        "filter and tokens",
        [
            JsonlReader(f"{out}/filtered"),
            MinhashDedupFilter(f"{out}/remove"),
            DocumentTokenizer(f"{out}/tokens", tokenizer, eos_token="<|endoftext|>", shuffle_documents=False),
        ],
        tasks=workers,
    )
    kept = sum(path.read_text(encoding="utf-8").count("\n") for path in Path(f"{out}/filtered").glob("*.jsonl"))
    print(json.dumps({"seconds": round(time.perf_counter() - begun, 2), "stages": stages, "filtered": kept}))


if __name__ == "__main__":
    main()
