"""Writing with a real model, without a page: the tree of branches, what tokens are shown as, and what goes wrong."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

import ensue
from ensue.core.run import RunFolder
from ensue.generate.engine.opening import EngineSettings, open_engine
from ensue.generate.engine.requests import Told
from ensue.generate.engine.thread import EngineThread
from ensue.generate.lm import LM
from ensue.studio.branches import Branches
from ensue.studio.models import MOST_OPEN, ModelChoice, Models, RunningModel, find_models
from ensue.studio.sheet import LIKELIEST, Sheet, WriteSettings
from ensue.studio.token_texts import label_of, level_of, percent, show_tokens, texts_of

from .conftest import World

GREEDY = WriteSettings(temperature=0.0, most=12)


def told(token: int, *others: tuple[int, float]) -> Told:
    return Told(token, -1.0, ((token, -1.0), *others), 0)


@pytest.fixture
def models(world: World) -> Iterator[Models]:
    models = Models((), world.runs)
    yield models
    models.close()


@pytest.fixture
def sheet(models: Models, world: World) -> Sheet:
    sheet = Sheet()
    sheet.use(models.open(ModelChoice("fox", str(world.run))))
    return sheet


def finish(sheet: Sheet) -> None:
    deadline = time.monotonic() + 20
    while sheet.writing:
        assert time.monotonic() < deadline
        sheet.collect()
        time.sleep(0.005)


def test_a_tree_of_branches() -> None:
    tree = Branches()
    tree.follow([1, 2])
    for token in (3, 4, 5):
        tree.add(told(token, (9, -2.0)))
    assert tree.tokens == [1, 2, 3, 4, 5]
    assert tree.pick(3, 9)
    assert tree.tokens == [1, 2, 3, 9]
    picked = tree.path()[-1]
    assert (picked.made, picked.told.nats, picked.told.rank, picked.forked) == ("person", -2.0, 1, True)
    tree.add(told(7))
    assert [end.told.token for end in tree.ends()] == [5, 7]
    assert not tree.pick(3, 4)  # tried before: only shown, to its end
    assert tree.tokens == [1, 2, 3, 4, 5]
    tree.back()
    assert tree.tokens == [1, 2, 3, 9, 7]
    tree.back()
    assert tree.tokens == [1, 2, 3, 4, 5]
    tree.cut(1)
    assert tree.tokens == [1, 2]
    tree.add(told(3))
    assert len(tree.ends()) == 2  # the same token again is no new branch
    tree.follow([1, 8])
    assert tree.tokens == [1, 8]
    assert len(tree.ends()) == 3
    with pytest.raises(ValueError, match="not one of the likeliest"):
        tree.pick(1, 77)


@given(some.lists(some.tuples(some.integers(0, 3), some.integers(0, 4)), max_size=40))
def test_every_branch_stays_reachable(doings: list[tuple[int, int]]) -> None:
    """Whatever is added, cut, picked and undone: no text that was ever there is lost."""
    tree, seen = Branches(), set()
    tree.follow([0])
    for kind, token in doings:
        if kind == 0:
            tree.add(told(token, *((other, -2.0) for other in range(5) if other != token)))
        elif kind == 1 and len(tree.tokens) > 1:
            tree.pick(1 + token % (len(tree.tokens) - 1), (token * 3) % 5)
        elif kind == 2:
            tree.cut(token % len(tree.tokens))
        else:
            tree.back()
        seen.add(tuple(tree.tokens))
    ends = []
    for end in tree.ends():
        tree.show(end)
        ends.append(tuple(tree.tokens))
    assert len(set(ends)) == len(ends)
    assert all(any(end[: len(text)] == text for end in ends) for text in seen)


@given(some.text(some.characters(exclude_categories=["Cs"]), max_size=40))
def test_texts_of_tokens_join_to_the_text(tokenizer_of_fox: Callable[[], ensue.generate.lm.LM], text: str) -> None:
    tokenizer = tokenizer_of_fox().tokenizer
    ids = tokenizer.encode(text)
    assert "".join(texts_of(tokenizer, ids)) == text
    assert "".join(texts_of(tokenizer, [tokenizer.end, *ids, tokenizer.end])) == text
    assert all(label_of(tokenizer, token) for token in ids)


@pytest.fixture(scope="session")
def tokenizer_of_fox(world: World) -> Callable[[], ensue.generate.lm.LM]:
    lm = ensue.load(world.run)
    return lambda: lm


def test_levels_and_percentages() -> None:
    shares = (1.0, 0.5, 0.3, 0.1, 0.05, 0.02, 0.001)
    assert [level_of(math.log(share)) for share in shares] == [0, 0, 1, 2, 3, 4, 5]
    assert level_of(None) is None
    assert [percent(share) for share in (1, 0.123, 0.0456, 0.001, 0.00001, 0)] == [
        "100%",
        "12%",
        "4.6%",
        "0.1%",
        "<0.01%",
        "<0.01%",
    ]


def test_what_is_written_is_what_the_model_writes(sheet: Sheet) -> None:
    assert sheet.model is not None
    lm = sheet.model.whole()
    sheet.begin("the fox", GREEDY)
    assert sheet.writing
    finish(sheet)
    assert sheet.text() == "the fox" + lm.generate("the fox", max_new_tokens=12)
    shown = sheet.shown()
    assert "".join(token.text for token in shown) == sheet.text()
    prompt = len(lm.tokenizer.encode("the fox"))
    assert [token.made for token in shown] == ["prompt"] * prompt + ["model"] * (len(shown) - prompt)
    assert shown[0].level is None  # nothing foretold the first
    assert all(len(token.others) == LIKELIEST for token in shown[1:])
    assert all(token.rank == 0 for token in shown[prompt:])
    known = [node.told.nats for node in sheet.branches.path()[1:]]
    tokens = sheet.branches.tokens
    assert sum(known) == pytest.approx(
        ensue.generate.score.loglikelihoods(lm.model, [(tokens[:1], tokens[1:])])[0], abs=1e-3
    )
    assert sheet.bits is not None
    assert sheet.bits > 0
    assert sheet.speed > 0


def test_another_token_makes_a_branch(sheet: Sheet) -> None:
    sheet.begin("the fox", GREEDY)
    finish(sheet)
    before, place = sheet.branches.tokens, len(sheet.branches.tokens) - 4
    other = sheet.shown()[place].others[2]
    sheet.pick(place, other[0], GREEDY)
    finish(sheet)
    after = sheet.branches.tokens
    assert after[:place] == before[:place]
    assert after[place] == other[0]
    assert len(after) == place + 1 + GREEDY.most
    assert sheet.shown()[place].made == "person"
    assert sheet.shown()[place].forked
    branches = sheet.branch_texts(10)
    assert [here for _, _, here in branches] == [False, True]
    sheet.show(branches[0][0])
    assert sheet.branches.tokens == before
    sheet.pick(place, other[0], GREEDY)  # there already: nothing is written
    assert not sheet.writing
    assert sheet.branches.tokens == after
    sheet.back()
    assert sheet.branches.tokens == before
    sheet.go_on(GREEDY, place=place - 1)
    finish(sheet)
    assert sheet.branches.tokens[: len(before)] == before[: len(sheet.branches.tokens)]


def test_the_same_seed_writes_the_same_and_again_writes_other(models: Models, world: World) -> None:
    texts = []
    for _ in range(2):
        sheet = Sheet()
        sheet.use(models.open(ModelChoice("fox", str(world.run))))
        for _ in range(2):
            sheet.begin("狐狸", WriteSettings(temperature=1.5, top_k=0, most=16, seed=7))
            finish(sheet)
            texts.append(sheet.text())
    assert texts[0] == texts[2]
    assert texts[1] == texts[3]
    assert texts[0] != texts[1]


def test_stopping_and_what_comes_late(sheet: Sheet) -> None:
    sheet.begin("the", WriteSettings(most=40, seed=3))
    sheet.stop()
    assert not sheet.writing
    sheet.begin("a crow", GREEDY)
    finish(sheet)
    assert sheet.text().startswith("a crow")
    assert len(sheet.branches.tokens) == len(sheet.model.tokenizer.encode("a crow")) + 12  # type: ignore[union-attr]


def test_no_prompt_and_prompts_that_do_not_fit(sheet: Sheet) -> None:
    sheet.begin("", GREEDY)
    finish(sheet)
    assert sheet.branches.tokens[0] == sheet.model.tokenizer.end  # type: ignore[union-attr]
    sheet.begin("fox " * 60, GREEDY)
    assert sheet.problem is not None
    assert sheet.problem.key == "write.too_long"
    assert not sheet.writing
    sheet.begin("\ud800", GREEDY)
    assert sheet.problem.key == "write.not_text"
    sheet.begin("the fox", WriteSettings(most=400))
    finish(sheet)
    assert sheet.problem is None
    if len(sheet.branches.tokens) == sheet.model.context:  # type: ignore[union-attr]
        sheet.go_on(GREEDY)
        assert sheet.problem is not None
        assert sheet.problem.key == "write.full"


def test_models_to_choose_from(world: World, models: Models, tmp_path: Path) -> None:
    choices = models.choices()
    steps = [int(path.name) for path in RunFolder(world.run).checkpoints()]
    names = [choice.name for choice in choices if choice.name.startswith("fox")]
    assert names == ["fox", *(f"fox · {step}" for step in reversed(steps))]
    assert find_models(("some/model",), tmp_path) == [ModelChoice("some/model", "some/model")]
    assert models.open(choices[0]) is models.open(choices[0])
    with pytest.raises(FileNotFoundError):
        models.open(ModelChoice("gone", str(tmp_path / "gone")))
    with pytest.raises(ValueError, match="no model"):
        models.open(ModelChoice("empty", str(tmp_path)))


def test_few_models_are_open_at_once(world: World, models: Models) -> None:
    folders = [path for path in sorted((world.run / "checkpoints").iterdir()) if path.name.isdecimal()]
    folders += [path for path in sorted((world.tuned / "checkpoints").iterdir()) if path.name.isdecimal()]
    assert len(folders) > MOST_OPEN
    opened = [models.open(ModelChoice(str(path), str(path))) for path in folders]
    assert len(models._open) == MOST_OPEN
    assert opened[-1] is models.open(ModelChoice("again", str(folders[-1])))
    assert opened[0] is not models.open(ModelChoice("anew", str(folders[0])))


def test_another_model_keeps_the_prompt(sheet: Sheet, models: Models, world: World) -> None:
    sheet.begin("the fox", GREEDY)
    finish(sheet)
    old = sheet.text()
    sheet.use(models.open(ModelChoice("first", str(world.run / "checkpoints" / "00000000"))))
    assert sheet.text() == "the fox"
    sheet.begin("the fox", GREEDY)
    finish(sheet)
    assert sheet.text() != old


def test_tokens_of_a_character_in_parts(sheet: Sheet) -> None:
    assert sheet.model is not None
    tokenizer = sheet.model.tokenizer
    tree = Branches()
    tree.follow(tokenizer.encode("x🦊y"))
    shown = show_tokens(tokenizer, tree.path())
    assert "".join(token.text for token in shown) == "x🦊y"
    parts = [token for token in shown if token.label.startswith("<")]
    assert len(parts) > 1
    assert all(token.text == "" for token in parts[:-1])


def test_a_model_that_is_served_writes_through_the_engine_that_serves(world: World) -> None:
    lm = ensue.load(world.run)
    thread = EngineThread(open_engine(lm, EngineSettings(cache_bytes=1 << 22)))
    thread.start()
    read: list[Path] = []

    def whole() -> LM:
        read.append(world.run)
        return ensue.load(world.run)

    models = Models((), world.runs, running={"served": RunningModel(thread, lm.tokenizer, whole)})
    try:
        choice = models.choices()[0]
        model = models.open(choice)
        assert model is models.open(choice)
        assert model.thread is thread
        sheet = Sheet()
        sheet.use(model)
        sheet.begin("the fox", GREEDY)
        finish(sheet)
        assert sheet.text() == "the fox" + lm.generate("the fox", max_new_tokens=12)
        assert thread.engine.read_tokens
        assert not read  # the weights in PyTorch are for looking inside
        kept = model.whole()
        assert model.whole() is kept
        assert len(read) == 1
        models.close()
        assert thread.alive
    finally:
        thread.stop()
