"""The quality filter: how well it tells, and how fast it scores beside scikit-learn.

    python -m benchmarks.quality_scoring DATA

DATA holds reference/brown.jsonl.gz (edited prose), books/, web/ (raw HTML pages), reference/abc_*.txt.gz (news), movie
reviews in tasks/ and Tang poems in chinese/. Speed is of one core, all contenders by turns on the same documents.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import interleaved, machine, median, print_table, spread, write_results
from ensue.text.document import Document
from ensue.text.quality.model import QualityModel
from ensue.text.quality.report import Judged, QualityReport, Share, report_quality
from ensue.text.quality.scoring import Scorer
from ensue.text.quality.step import QualityFilter
from ensue.text.quality.tokens import tokens

MEMORY = 2 << 30


def rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a gzipped JSON lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def web_pages(data: Path) -> list[bytes]:
    """The English pages' HTML."""
    pages = [json.loads(line) for line in (data / "web" / "pages.jsonl").read_text(encoding="utf-8").splitlines()]
    files = [data / "web" / page["file"] for page in pages if page["lang"] == "en"]
    return [gzip.decompress(path.read_bytes()) for path in files + sorted((data / "web/articles").iterdir())]


def web_texts(data: Path) -> list[str]:
    """All visible text of the English pages, menus and all."""
    from trafilatura import html2txt

    return [text for text in map(html2txt, web_pages(data)) if len(text) > 200]


def collection(name: str, texts: Sequence[str]) -> list[Document]:
    """Documents of one collection."""
    return [Document.of(text, f"{name}:{number}", {"collection": name}) for number, text in enumerate(texts)]


def pieces(text: str, size: int = 4000) -> list[str]:
    """Passages of whole paragraphs of about `size` characters."""
    found, held = [], ""
    for paragraph in text.split("\n"):
        held += paragraph + "\n"
        if len(held) >= size:
            found.append(held)
            held = ""
    return found


def run(raw: Sequence[Document], reference: Sequence[Path], **fields: Any) -> tuple[QualityReport, QualityModel]:
    """Train on these and judge the raw ones."""
    step = QualityFilter(reference=tuple(map(str, reference)), **fields)
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        step.decide([step.scan(raw, 0)], out, memory=MEMORY, scratch=out)
        judge = step.prepare(out, 0, 1 << 60)
        facts = [judge(0, document).facts for document in raw]
        judged = (
            Judged(float(fact["score"]), float(fact["draw"]), len(document.text.encode()), document.meta["collection"])
            for fact, document in zip(facts, raw, strict=True)
        )
        return report_quality(out, judged), QualityModel.load(out / "model.npz")


def share(each: Share) -> dict[str, Any]:
    """A share as plain values."""
    return {**asdict(each), "share_kept": round(each.documents_kept / max(each.documents, 1), 4)}


def measure_telling(data: Path) -> tuple[dict[str, Any], QualityModel]:
    """AUC and ROC for three pairs of sides; and a crawl with good text in it, what is kept of each collection."""
    web = collection("web", web_texts(data))
    movies = collection("movies", [row["text"] for row in rows(data / "tasks/movie_reviews_train.jsonl.gz")])
    brown, books = data / "reference/brown.jsonl.gz", data / "books"
    pairs: dict[str, tuple[Sequence[Document], Path]] = {
        "Brown against raw web pages": (web, brown),
        "Brown against movie reviews": (movies, brown),
        "books against raw web pages and movie reviews": ([*web, *movies], books),
    }
    results: dict[str, Any] = {}
    for name, (raw, reference) in pairs.items():
        evaluation = asdict(run(raw, [reference])[0].evaluation)
        decisive = evaluation.pop("decisive")
        evaluation["for"] = [each["tokens"][:3] for each in decisive if each["weight"] > 0][:15]
        evaluation["against"] = [each["tokens"][:3] for each in decisive if each["weight"] < 0][:15]
        results[name] = evaluation
    news = [piece for name in ("rural", "science") for piece in pieces(_text(data / f"reference/abc_{name}.txt.gz"))]
    random.Random(0).shuffle(news)
    prose = [row["text"] for row in rows(brown)]
    random.Random(0).shuffle(prose)
    with tempfile.TemporaryDirectory() as folder:
        half = Path(folder) / "half.jsonl"
        half.write_text("".join(json.dumps({"text": text}) + "\n" for text in prose[:250]), encoding="utf-8")
        raw = [*web, *movies, *collection("news", news[:300]), *collection("Brown, the other half", prose[250:])]
        report, model = run(raw, [half])
    results["half of Brown against a crawl with the other half in it"] = {
        "auc": report.evaluation.auc,
        "by_collection": [share(each) for each in report.by_collection],
        "by_score": [share(each) for each in report.by_score],
        "by_alpha": [share(each) for each in report.by_alpha],
    }
    return results, model


def _text(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode("utf-8", "replace")


def contenders(texts: Sequence[str], model: QualityModel, chinese: bool) -> dict[str, Callable[[], np.ndarray]]:
    """Scores of the same texts by the kernel and by scikit-learn's vectorizer, with its own tokens and with ours."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

    features = len(model.weights)
    regression = LogisticRegression()
    regression.classes_, regression.coef_ = np.array([0, 1]), model.weights[None].astype(np.float64)
    regression.intercept_ = np.array([model.bias])
    own: dict[str, Any] = {"analyzer": "char", "ngram_range": (2, 2)} if chinese else {}
    ways = {
        "scikit-learn, its own tokens": HashingVectorizer(n_features=features, alternate_sign=False, **own),
        "scikit-learn, our tokens": HashingVectorizer(n_features=features, alternate_sign=False, analyzer=tokens),
    }
    scorer = Scorer(model)

    def by_scikit_learn(vectorizer: Any) -> Callable[[], np.ndarray]:
        return lambda: regression.predict_proba(vectorizer.transform(texts))[:, 1]

    found: dict[str, Callable[[], np.ndarray]] = {
        "ensue, in bulk": lambda: scorer.scores(texts),
        "ensue, one by one": lambda: np.array([scorer.score(text) for text in texts]),
    }
    return {**found, **{name: by_scikit_learn(vectorizer) for name, vectorizer in ways.items()}}


def largest_difference(texts: Sequence[str], model: QualityModel) -> float:
    """Between the kernel's scores and scikit-learn's by its vectorizer and tf transformer, of texts of one passage."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    hashing = HashingVectorizer(n_features=len(model.weights), analyzer=tokens, alternate_sign=False, norm=None)
    rows = TfidfTransformer(use_idf=False, sublinear_tf=True).fit_transform(hashing.transform(texts))
    scores = 1 / (1 + np.exp(-(rows @ model.weights.astype(np.float64) + model.bias)))
    short = [place for place, text in enumerate(texts) if len(tokens(text)) <= model.passage]
    return float(np.abs(scores - Scorer(model).scores(texts))[short].max())


def measure_speed(texts: Sequence[str], model: QualityModel, *, chinese: bool = False) -> dict[str, Any]:
    """Seconds, MB/s and documents/s of each contender."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    seconds = interleaved(contenders(texts, model, chinese), rounds=3)
    base = median(seconds["scikit-learn, its own tokens"])
    return {
        "documents": len(texts),
        "megabytes": round(size, 1),
        "largest_difference_of_scores": largest_difference(texts[:300], model),
        "ways": {
            name: {
                "median_s": median(times),
                "spread_s": spread(times),
                "mb_per_s": round(size / median(times), 1),
                "documents_per_s": round(len(texts) / median(times)),
                "times_scikit_learn": round(base / median(times), 1),
            }
            for name, times in seconds.items()
        },
    }


def main() -> None:
    """Measure, print tables, write results/quality_scoring.json."""
    data = Path(sys.argv[1])
    telling, model = measure_telling(data)
    books = [path.read_text(encoding="utf-8") for path in sorted((data / "books").glob("*.txt"))]
    english = [piece for book in books for piece in pieces(book)][:2000]
    poems = [row["text"] for row in rows(data / "chinese/tang_poems_train.jsonl.gz")]
    chinese = ["\n".join(poems[start : start + 10]) for start in range(0, 20_000, 10)]
    speed = {
        "English, passages of books": measure_speed(english, model),
        "Chinese, ten poems each": measure_speed(chinese, model, chinese=True),
    }
    print_table([["sides", "AUC on held-out documents"], *[[name, each["auc"]] for name, each in telling.items()]])
    for each in telling["half of Brown against a crawl with the other half in it"]["by_collection"]:
        print(each)
    for name, each in speed.items():
        print(f"{name}: {each['documents']} documents, {each['megabytes']} MB")
        print_table(
            [["way", *each["ways"]["ensue, in bulk"]], *[[way, *row.values()] for way, row in each["ways"].items()]]
        )
    packages = machine("numba", "scikit-learn", "numpy", "trafilatura")
    results = {"load_average": os.getloadavg()[0], "machine": packages, "telling": telling, "speed": speed}
    print(write_results("quality_scoring", results))


if __name__ == "__main__":
    main()
