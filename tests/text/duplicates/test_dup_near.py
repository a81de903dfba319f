"""Near-duplicates found, compared and chosen among, beside brute force, and whatever the memory and the parts."""

import gzip
import json
import random
import re
import subprocess
import sys
from itertools import combinations

import pytest

from ensue.core.config import from_dict, to_dict
from ensue.text.curation.step import CorpusStep
from ensue.text.document import Document
from ensue.text.duplicates import places
from ensue.text.duplicates.near import GPT3_BANDS, NearDuplicates, gpt3_near_duplicates

pytest.importorskip("numba", reason="near-duplicates need the extra 'corpus'")


def random_text(rng, words=60):
    return [f"w{rng.randrange(3000)}" for _ in range(words)]


def edited(words, changes, rng):
    words = list(words)
    for place in rng.sample(range(len(words)), changes):
        words[place] = f"x{rng.randrange(10**6)}"
    return words


def planted(rng, originals=300, changes=(0, 1, 2, 3, 6)):
    """Documents in random order, some of which are changed copies of others."""
    texts = []
    for number in range(originals):
        words = random_text(rng, rng.randrange(40, 90))
        texts.append(words)
        if number % 2:
            texts.append(edited(words, changes[number % len(changes)], rng))
    rng.shuffle(texts)
    return [Document.of(" ".join(words), f"{place}") for place, words in enumerate(texts)]


def shingle_set(text, size=5):
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(words[start : start + size]) for start in range(max(1, len(words) - size + 1))}


def jaccard(one, other):
    return len(one & other) / len(one | other)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_recall_and_precision_beside_brute_force(run_step):
    documents = planted(random.Random(1))
    sets = [shingle_set(document.text) for document in documents]
    alike = {
        pair: similarity
        for pair in combinations(range(len(documents)), 2)
        if (similarity := jaccard(sets[pair[0]], sets[pair[1]])) >= 0.5
    }
    verdicts = run_step(NearDuplicates(), documents)
    ids = {document.id: place for place, document in enumerate(documents)}
    found = {
        tuple(sorted((place, ids[verdict.facts["duplicate_of"]]))): verdict.facts["jaccard"]
        for place, verdict in enumerate(verdicts)
        if not verdict.documents
    }
    wanted = {pair for pair, similarity in alike.items() if similarity >= 0.8}
    assert len(wanted & set(found)) >= 0.95 * len(wanted)
    for pair, similarity in found.items():
        assert similarity == pytest.approx(alike[pair], abs=1e-3)
        assert similarity >= 0.8


def test_result_depends_on_no_memory_and_no_parts(run_step, monkeypatch):
    documents = planted(random.Random(2), originals=500)
    run_step(NearDuplicates(), documents, part=2000)
    expected = files(run_step.out)
    for memory in (1, 1 << 30):
        run_step(NearDuplicates(), documents, part=2000, memory=memory)
        assert files(run_step.out) == expected
    monkeypatch.setattr("ensue.text.duplicates.deciding.room_in", lambda memory: 4000)
    figures = run_step.figures
    run_step(NearDuplicates(), documents, part=2000)
    assert files(run_step.out) == expected
    assert run_step.figures == figures


def test_parts_only_change_the_numbers(run_step):
    documents = planted(random.Random(3))
    one = run_step(NearDuplicates(), documents, part=1000)
    assert [verdict.facts for verdict in run_step(NearDuplicates(), documents, part=7)] == [v.facts for v in one]


def test_what_is_left_has_no_duplicates(run_step):
    documents = planted(random.Random(4))
    step = NearDuplicates()
    kept = [document for verdict in run_step(step, documents) for document in verdict.documents]
    assert len(kept) < len(documents)
    assert all(verdict.documents for verdict in run_step(step, kept))


def test_chosen_by_collection_then_length_then_place(run_step):
    words = random_text(random.Random(5), 200)
    texts = {"web": words, "books": words[:-4], "more web": [*words, "and", "an", "end"]}
    documents = [Document.of(" ".join(text), name, {"collection": name.split()[-1]}) for name, text in texts.items()]
    stays = {(): "more web", ("books",): "books", ("web", "books"): "more web", ("other",): "more web"}
    for prefer, source in stays.items():
        verdicts = run_step(NearDuplicates(prefer=prefer), documents)
        kept = [document for verdict in verdicts for document in verdict.documents]
        assert [document.source for document in kept] == [source]
        assert {v.facts["duplicate_of"] for v in verdicts if not v.documents} == {kept[0].id}
        assert {v.facts["cluster"] for v in verdicts if not v.documents} == {3}
    twice = [Document.of(" ".join(words), name) for name in ("first", "second")]
    assert [bool(verdict.documents) for verdict in run_step(NearDuplicates(), twice)] == [True, False]


def test_within_and_across(run_step):
    words = random_text(random.Random(6), 200)
    collections = ["commoncrawl", "webtext", "books", "commoncrawl", "webtext"]
    documents = [
        Document.of(" ".join([*words, *["more"] * place]), str(place), {"collection": name})
        for place, name in enumerate(collections)
    ]

    def kept(**settings):
        verdicts = run_step(NearDuplicates(**settings), documents)
        return [place for place, verdict in enumerate(verdicts) if verdict.documents]

    assert kept() == [4]
    assert kept(across="none") == [2, 3, 4]
    assert kept(within=False, prefer=("books",)) == [2]
    assert kept(within=False, prefer=("webtext",)) == [1, 4]
    gpt3 = (("webtext", "commoncrawl"),)
    assert kept(across=gpt3) == [2, 4]
    assert kept(across=gpt3, within=False) == [1, 2, 4]
    assert kept(across=(("books", "webtext"), ("webtext", "commoncrawl"))) == [2, 3]


def test_a_million_equal_pages_are_no_trouble(run_step):
    """Many equal and many nearly equal pages: pairs compared grow with the pages, not with their square."""
    rng = random.Random(7)
    words = random_text(rng, 100)
    pages = [Document.of(" ".join(words), str(n)) for n in range(3000)]
    pages += [Document.of(" ".join([*words[:-1], f"page{n}"]), str(n)) for n in range(3000)]
    verdicts = run_step(NearDuplicates(), pages, part=5000)
    assert sum(bool(verdict.documents) for verdict in verdicts) == 1
    assert run_step.figures["pairs_compared"] < 40 * len(pages)
    assert run_step.figures["largest_cluster"] == 6000


def test_gpt3_setting_finds_edited_pages(run_step):
    documents = [
        Document(document.id, document.text, document.source, {"collection": ("webtext", "commoncrawl")[place % 2]})
        for place, document in enumerate(planted(random.Random(8), changes=(2, 3)))
    ]
    step = gpt3_near_duplicates()
    assert (step.size, step.bands, step.rows) == tuple(GPT3_BANDS.values())
    verdicts = run_step(step, documents)
    collections = {document.id: document.meta["collection"] for document in documents}
    sets = [shingle_set(document.text, 1) for document in documents]
    wanted = dropped = 0
    for one, other in combinations(range(len(documents)), 2):
        wanted += jaccard(sets[one], sets[other]) >= 0.8
    for document, verdict in zip(documents, verdicts, strict=True):
        if not verdict.documents:
            dropped += 1
            kept = collections[verdict.facts["duplicate_of"]]
            assert (kept, document.meta["collection"]) != ("commoncrawl", "webtext")
            assert verdict.facts["jaccard"] >= 0.8
    assert dropped >= 0.95 * wanted


def test_chinese_poems(run_step, shared_data):
    with gzip.open(shared_data / "chinese" / "tang_poems_valid.jsonl.gz", "rt", encoding="utf-8") as file:
        poems = [json.loads(line)["text"] for line in file]
    poems = [poem for poem in poems if len(poem) > 90][:300]
    copies = [poem[:40] + "某" + poem[41:] for poem in poems[:50]]
    documents = [Document.of(text, str(place)) for place, text in enumerate([*poems, *copies])]
    verdicts = run_step(NearDuplicates(), documents)
    originals = {document.id for document in documents[:50]}
    found = [verdict for verdict in verdicts[300:] if not verdict.documents]
    assert len(found) >= 48
    assert all(verdict.facts["duplicate_of"] in originals for verdict in found)
    assert sum(not verdict.documents for verdict in verdicts[:300]) <= 3


MEASURED = """
import sys
from pathlib import Path
import numpy as np
from ensue.text.document import Document
from ensue.text.duplicates.near import NearDuplicates

folder, memory, parts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
step = NearDuplicates()
step.scan([Document.of("some words to compile the kernels with", "")], 0)

def scans():
    rng = np.random.default_rng(0)
    for part in range(parts):
        count = 20_000
        keys = rng.integers(0, 2**63, (count, 14), np.int64).astype(np.uint64)
        keys[::10] = keys[1::10]  # a tenth are candidates
        hashes = np.sort(rng.integers(0, 2**32, (count, 50), np.int64).astype(np.uint32), axis=1)
        hashes[::10] = hashes[1::10]
        yield {
            "first": np.array([part << 24]), "ids": np.arange(count).astype("S32"),
            "collections": np.full(count, "web"), "keys": keys, "hashes": hashes.ravel(),
            "counts": np.full(count, 50, np.uint32), "limits": np.full(count, 2**32 - 1, np.uint32),
            "lengths": np.full(count, 300, np.uint32),
        }

(folder / "out").mkdir()
(folder / "scratch").mkdir()
figures = step.decide(scans(), folder / "out", memory=memory, scratch=folder / "scratch")
assert figures["dropped"] == parts * 2000, figures
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_deciding_stays_within_its_memory(tmp_path):
    """300,000 documents, whose sorted rows and sets are 160 MB, within 448 MB of which libraries take most."""
    memory = places.PROCESS_BYTES + (88 << 20)
    command = [sys.executable, "-c", MEASURED, str(tmp_path), str(memory), "15"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(said) << 10 <= memory


def test_settings_are_refused_with_a_word_on_what_to_type(run_step):
    wrong = (
        {"shingle": "sentences"},
        {"size": 0},
        {"bands": 0},
        {"threshold": 1.5},
        {"across": "some"},
        {"within": False, "across": "none"},
        {"across": (("a", "b"), ("b", "a"))},
    )
    for settings in wrong:
        with pytest.raises(ValueError, match=r"."):
            NearDuplicates(**settings)


def test_is_a_step_and_survives_json(run_step):
    step = gpt3_near_duplicates()
    assert isinstance(step, CorpusStep)
    assert from_dict(NearDuplicates, json.loads(json.dumps(to_dict(step)))) == step


def test_empty_corpus_and_documents_without_letters(run_step):
    assert run_step(NearDuplicates(), []) == []
    empty = [Document.of("", str(n)) for n in range(3)] + [Document.of("...", "dots")]
    assert all(verdict.documents for verdict in run_step(NearDuplicates(), empty))
