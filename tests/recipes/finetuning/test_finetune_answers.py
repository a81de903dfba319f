"""`ensue finetune --task instruct`: what is scored, what a run leaves, and what the model then answers."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ensue as package
from ensue.loss.next_token import NextToken
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.recipes.finetuning.columns import columns_of
from ensue.recipes.finetuning.conversations import conversation_of
from ensue.recipes.finetuning.labelled import hold_out
from ensue.recipes.finetuning.table import Row, Table
from ensue.tokens.byte_level import train_byte_level
from ensue.tokens.conversation import plain_template
from ensue.tokens.conversation_rows import rows_of
from ensue.tokens.conversation_stream import ConversationStream, conversation_example

Call = Callable[..., tuple[int, str]]
ANSWERS = {"rivers": "sea", "stones": "grey light", "people": "small books", "windows": "near 河流"}


def answered(count: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        word = draw.choice(list(ANSWERS))
        rows.append({"instruction": f"say {word}", "input": "", "output": ANSWERS[word]})
    return rows


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, write_rows: Callable[..., Path]) -> Path:
    return write_rows(tmp_path_factory.mktemp("answers") / "answers.jsonl", answered(320, 1))


@pytest.fixture(scope="module")
def run(model: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ensue.cli import main

    path = tmp_path_factory.mktemp("chat") / "run"
    options = "--task instruct --lr 0.02 --epochs 5 --batch 8 --dropout 0 --precision fp32 --warmup 0.1"
    assert main(["finetune", str(model), str(table), "--run", str(path), *options.split()]) == 0
    return path


def test_a_run_answers(run: Path) -> None:
    lm = package.load(run)
    for word, answer in ANSWERS.items():
        assert lm.chat(f"say {word}") == answer
    told = [{"role": "user", "content": "say rivers"}, {"role": "assistant", "content": "sea"}]
    assert isinstance(lm.chat([*told, {"role": "user", "content": "keep stones " * 60}], max_new_tokens=9), str)
    for wrong, words in ((told, "the assistant's own"), ([], "list of messages")):
        with pytest.raises(ValueError, match=words):
            lm.chat(wrong)


def test_what_a_run_leaves(run: Path, model: Path, table: Path) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    read = [row for row in rows if "val_loss" in row]
    assert len(read) == 5
    assert read[-1]["val_loss"] < 0.1 < read[0]["val_loss"]
    best = min(read, key=lambda row: row["val_loss"])
    assert int((run / "best").resolve().name) == best["step"]
    lm = package.load(run / "best")
    nats, tokens, size = 0.0, 0, 0
    every = [json.loads(line) for line in table.read_text().splitlines()]
    for row in hold_out(every, 0.1, seed=0)[1]:
        asked = f"User: {row['instruction']}\nAssistant:"
        ids = lm.tokenizer.encode(asked) + lm.tokenizer.encode(" " + row["output"]) + [lm.tokenizer.end]
        first = len(lm.tokenizer.encode(asked))
        logs = lm.model(torch.tensor([ids[:-1]])).detach().log_softmax(-1)[0].double()
        nats -= float(sum(logs[place - 1, ids[place]] for place in range(first, len(ids))))
        tokens, size = tokens + len(ids) - first, size + len((" " + row["output"]).encode())
    assert best["val_loss"] == pytest.approx(nats / tokens, rel=1e-4)
    assert best["val_bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-4)
    assert not (run / "final" / "task.json").exists()
    assert package.load(model).template is None
    with pytest.raises(ValueError, match="--task instruct --run"):
        package.load(model).chat("Hi")


def test_transformers_renders_and_reads_the_run(run: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lm, theirs = package.load(run), AutoTokenizer.from_pretrained((run / "final").resolve())
    asked = [{"role": "user", "content": "say windows"}]
    ids = theirs.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    model = AutoModelForCausalLM.from_pretrained((run / "final").resolve())
    written = model.generate(ids, max_new_tokens=20, do_sample=False, pad_token_id=lm.tokenizer.end)[0, ids.shape[1] :]
    assert theirs.decode(written, skip_special_tokens=True).strip() == lm.chat(asked) == "near 河流"


@given(budget=st.integers(20, 400), seed=st.integers(0, 5))
@settings(max_examples=12)
def test_a_step_is_the_same_however_it_is_cut(budget: int, seed: int) -> None:
    """The mean over all answers' tokens, and its gradient, beside each conversation alone, in fp64."""
    tokenizer = train_byte_level(iter(["say rivers carry sea keep stones grey light " * 4]), vocab_size=280)
    model = GPT.build(gpt2(layers=1, width=8, heads=2, context=80, vocab=280), seed=seed).double().eval()
    draw = random.Random(seed)
    talks = [
        [
            {"role": "user", "content": "say " * draw.randint(1, 6)},
            {"role": "assistant", "content": "sea " * draw.randint(1, 9)},
        ]
        for _ in range(8)
    ]
    rows = list(rows_of(plain_template(tokenizer), tokenizer, talks, limit=80))
    examples = [conversation_example(row.ids, row.scored, str(number)) for number, row in enumerate(rows)]

    def total(batches: list[Any]) -> tuple[float, torch.Tensor]:
        objective = NextToken()
        model.zero_grad()
        count = sum(objective.count(batch) for batch in batches)
        losses = [objective.loss(model, batch).total / count for batch in batches]
        for loss in losses:
            loss.backward()  # type: ignore[no-untyped-call]
        gradients = [
            parameter.grad.to_dense().flatten() for parameter in model.parameters() if parameter.grad is not None
        ]
        return float(sum(losses)), torch.cat(gradients)

    stream = ConversationStream(examples, batch=8, micro_tokens=budget, seed=seed)
    nats, tokens = 0.0, 0
    for row in rows:
        logs = model(torch.from_numpy(row.ids[None, :-1]).long()).log_softmax(-1)[0]
        own = logs.gather(1, torch.from_numpy(row.ids[1:, None]).long())[:, 0]
        nats -= float((own * torch.from_numpy(row.scored[1:])).sum())
        tokens += int(row.scored.sum())
    loss, gradient = total(list(stream.batches(0)))
    whole, same = total(list(ConversationStream(examples, batch=8, micro_tokens=10**6, seed=seed).batches(0)))
    assert loss == pytest.approx(nats / tokens, rel=1e-9)
    assert loss == pytest.approx(whole, rel=1e-9)
    assert torch.allclose(gradient, same, rtol=1e-8, atol=1e-12)


def of_rows(values: list[dict[str, Any]]) -> Table:
    rows = tuple(Row("f", number, value) for number, value in enumerate(values, start=1))
    return Table("f", tuple(dict.fromkeys(name for row in rows for name in row.values)), rows)


def test_columns() -> None:
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for value, said, wanted in (
        ({"prompt": "a", "answer": "b"}, (), ["a", "b"]),
        ({"instruction": "a", "input": "x", "output": "b"}, (), ["a\n\nx", "b"]),
        ({"instruction": "a", "input": None, "output": "b"}, (), ["a", "b"]),
        ({"instruction": "a", "input": "x", "output": "b"}, ("input=",), ["a", "b"]),
        ({"messages": talk}, (), ["a", "b"]),
        ({"messages": json.dumps(talk), "prompt": "c"}, (), ["a", "b"]),
        ({"system": "s", "question": "a", "response": "b"}, (), ["s", "a", "b"]),
        ({"q": "a", "r": 3}, ("prompt=q", "answer=r"), ["a", "3"]),
    ):
        table = of_rows([value])
        found = conversation_of(table.rows[0], columns_of("instruct", table, said))
        assert [message["content"] for message in found] == wanted
    with pytest.raises(ValueError, match=r"no column for messages, nor for answer;(.|\n)*--columns answer=NAME"):
        columns_of("instruct", of_rows([{"prompt": "a", "reply": "b"}]), ())
    with pytest.raises(ValueError, match="did you mean 'answer'"):
        columns_of("instruct", of_rows([{"prompt": "a", "answer": "b"}]), ("answers=b",))
    for value, words in (
        ({"prompt": "a", "answer": " "}, "f:1: the text in 'answer' is empty"),
        ({"prompt": "", "answer": "b"}, "f:1: the text in 'prompt' is empty"),
        ({"messages": talk[:1]}, "f:1: no message of the assistant"),
        ({"messages": talk[1:]}, "f:1: no message of the assistant"),
        ({"messages": "[{"}, "f:1: 'messages' is no list in JSON"),
        ({"messages": [*talk, {"role": "user", "content": ""}]}, "f:1: message 3, of the user, is empty"),
    ):
        table = of_rows([value])
        with pytest.raises(ValueError, match=words):
            conversation_of(table.rows[0], columns_of("instruct", table, ()))


def test_a_dry_run_shows_what_is_scored(
    model: Path, tmp_path: Path, ensue: Call, write_rows: Callable[..., Path]
) -> None:
    rows = [*answered(20, 3), {"instruction": "carry " * 90, "input": "people", "output": "sea"}]
    code, said = ensue("finetune", model, write_rows(tmp_path / "a.jsonl", rows), "--task", "instruct", "--dry-run")
    assert code == 0, said
    assert said.count("⟧\n") == 3
    assert "Assistant:⟦ " in said
    assert "<|endoftext|>⟧" in said
    assert "18 conversations to train on, 3 to validate on" in said
    assert "roles in plain words" in said
    assert "too long: 1 the beginning of the prompt" in said
    assert "nothing was trained" in said


def test_a_template_of_its_own_is_kept(
    run: Path, table: Path, tmp_path: Path, ensue: Call, write_rows: Callable[..., Path]
) -> None:
    """And a chat model that is tuned on labels keeps it too."""
    import shutil

    own = tmp_path / "own"
    shutil.copytree((run / "final").resolve(), own)
    (own / "checksums.json").unlink()
    source = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token if m.role == 'assistant' }}{% endfor %}"
    source += "{% if add_generation_prompt %}[assistant]{% endif %}"
    (own / "chat_template.jinja").write_text(source)
    short = ["--epochs", "1", "--batch", "8", "--precision", "fp32"]
    code, said = ensue("finetune", own, table, "--task", "instruct", "--run", tmp_path / "a", *short)
    assert code == 0, said
    template = package.load(tmp_path / "a").template
    assert template is not None
    assert template.source == source
    labels = [{"text": row["instruction"], "label": row["output"][:1]} for row in answered(40, 5)]
    told = write_rows(tmp_path / "l.jsonl", labels)
    code, said = ensue("finetune", tmp_path / "a", told, "--run", tmp_path / "b", *short)
    assert code == 0, said
    assert package.load(tmp_path / "b").template == template


def test_what_instruct_cannot_be_asked_for(model: Path, table: Path, tmp_path: Path, ensue: Call) -> None:
    code, said = ensue("finetune", model, table, "--task", "instruct", "--run", tmp_path / "r", "--metric", "accuracy")
    assert code == 2
    assert "they have loss alone" in said


def test_alpaca_and_its_seeds_are_read(model: Path, shared_data: Path, ensue: Call) -> None:
    for name in ("alpaca_sample.jsonl.gz", "self_instruct_seed.jsonl", "user_oriented.jsonl.gz"):
        code, said = ensue("finetune", model, shared_data / "instructions" / name, "--task", "instruct", "--dry-run")
        assert code == 0, said
        assert "conversations to train on" in said
