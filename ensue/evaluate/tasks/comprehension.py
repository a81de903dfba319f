"""Questions on a text, answered freely: CoQA, QuAC, SQuAD 2, DROP, FairytaleQA, AdversarialQA.

GPT-2 (2019), section 3.5: document, dialogue so far and a final `A:`, answered greedily. GPT-3 (2020), section 3.6 and
figures G.18, G.20, G.25 and G.28, gives the layout: `Q:`, a blank line, `A:`; of one text, its questions up to the one
that is asked, with the right answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ensue.evaluate.answers import exact, overlap
from ensue.evaluate.drop_scores import drop_exact, drop_f1
from ensue.evaluate.scorer import Decoding
from ensue.evaluate.task import Files, Item, Metric, Outcome, Question, Row, Task
from ensue.evaluate.tasks.published import rows_of
from ensue.evaluate.text_metrics import against_others, exact_match, f1, rouge

UNANSWERABLE = "unanswerable"
"""What is shown as the answer that a text does not give. Writing nothing says the same."""

GREEDY = Decoding("greedy", most=32)


def coqa_rows(path: str) -> Iterator[Row]:
    """CoQA's questions, one a row with those `before` it, of the original .json or Hugging Face's rows (one answer)."""
    stories = _json(path)["data"] if path.endswith(".json") else rows_of(path)
    for story in stories:
        texts, answers = story["questions"], story["answers"]
        given = [answer["input_text"] for answer in answers] if isinstance(answers, list) else answers["input_text"]
        people = [given, *([turn["input_text"] for turn in one] for one in _additional(story))]
        asked = [text["input_text"] if isinstance(text, Mapping) else text for text in texts]
        for turn, question in enumerate(asked):
            yield {
                "text": story["story"],
                "before": tuple(zip(asked[:turn], given[:turn], strict=True)),
                "question": question,
                "answers": [one[turn] for one in people],
            }


def quac_rows(path: str) -> Iterator[Row]:
    """QuAC's questions, one a row with those before it, of the original .json."""
    for article, paragraph in _paragraphs(path):
        text = paragraph["context"].removesuffix("CANNOTANSWER").strip()
        before: list[tuple[str, str]] = []
        for question in paragraph["qas"]:
            answers = [_or_unanswerable(answer["text"]) for answer in question["answers"]]
            yield {
                "text": f"TITLE: {article['title']} - {article['section_title']}\nPARAGRAPH: {text}",
                "before": tuple(before),
                "question": question["question"],
                "answers": answers,
            }
            before.append((question["question"], _or_unanswerable(question["orig_answer"]["text"])))


def squad_rows(path: str) -> Iterator[Row]:
    """SQuAD's questions, one a row with those before it on the same paragraph, of the original .json (1.1 or 2.0)."""
    for article, paragraph in _paragraphs(path):
        before: list[tuple[str, str]] = []
        for question in paragraph["qas"]:
            answers = [answer["text"] for answer in question["answers"]] or [UNANSWERABLE, ""]
            title = article["title"].replace("_", " ")
            yield {
                "text": f"Title: {title}\n\nBackground: {paragraph['context'].strip()}",
                "before": tuple(before),
                "question": question["question"],
                "answers": answers,
            }
            before.append((question["question"], answers[0]))


def drop_rows(path: str) -> Iterator[Row]:
    """DROP's questions, one a row; each of the `answers` is a list of spans. Of the original .json."""
    for passage in _json(path).values():
        for asked in passage["qa_pairs"]:
            answers = [_spans(answer) for answer in (asked["answer"], *asked.get("validated_answers", ()))]
            yield {
                "passage": passage["passage"],
                "question": asked["question"],
                "answers": [spans for spans in answers if spans and spans[0].strip()],
            }


def _dialogue(row: Row) -> Item:
    before = "".join(f"Q: {question.strip()}\n\nA: {answer.strip()}\n\n" for question, answer in row["before"])
    return _answered(f"{row['text'].strip()}\n\n{before}Q: {row['question'].strip()}\n\nA:", row["answers"])


def _fairytale(row: Row) -> Item:
    return _answered(f"{row['context'].strip()}\n\nQ: {row['question'].strip()}\n\nA:", row["answers"])


def _adversarial(row: Row) -> Item:
    answers = [row["answer"]] if "answer" in row else row["answers"]["text"]
    return _answered(f"Background: {row['context'].strip()}\n\nQ: {row['question'].strip()}\n\nA:", answers)


def _drop(row: Row) -> Item:
    context = f"Passage: {row['passage'].strip()}\n\nQuestion: {row['question'].strip()}\n\nAnswer:"
    answers = tuple(tuple(spans) for spans in row["answers"])
    return Question(context, tuple(f" {', '.join(spans)}" for spans in answers), key=answers)


def _answered(context: str, answers: Sequence[str]) -> Question:
    return Question(context, tuple(f" {answer.strip()}" for answer in answers))


def _drop_metric(name: str, score: Callable[[str, Sequence[str]], float]) -> Metric:
    def value(item: Item, outcome: Outcome) -> float:
        assert isinstance(item, Question)
        assert outcome.text is not None
        return max(score(outcome.text.strip(), spans) for spans in item.key)

    return Metric(name, value)


def _additional(story: Row) -> Iterator[Any]:
    return iter(story.get("additional_answers", {}).values())


def _paragraphs(path: str) -> Iterator[tuple[Row, Row]]:
    for article in _json(path)["data"]:
        for paragraph in article["paragraphs"]:
            yield article, paragraph


def _spans(answer: Mapping[str, Any]) -> list[str]:
    """A DROP answer is a number, spans, or a date: day, month and year as far as known."""
    if str(answer.get("number", "")):
        return [str(answer["number"])]
    if answer.get("spans"):
        return list(answer["spans"])
    date = answer.get("date", {})
    return [" ".join(date[part] for part in ("day", "month", "year") if date.get(part))]


def _or_unanswerable(text: str) -> str:
    return UNANSWERABLE if text == "CANNOTANSWER" else text


def _json(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


_OF_PEOPLE = (against_others(overlap, name="f1"), against_others(exact, name="exact_match"))

COQA = Task(
    name="coqa",
    about="questions in a conversation about a text, all its turns (GPT-2 2019, section 3.5; GPT-3 2020, figure G.18)",
    files=Files(
        test="coqa-dev-v1.0",
        train="coqa-train-v1.0",
        columns=("text", "before", "question", "answers"),
        origin="https://stanfordnlp.github.io/coqa (coqa-dev-v1.0.json and coqa-train-v1.0.json)",
        read=coqa_rows,
    ),
    item=_dialogue,
    metrics=_OF_PEOPLE,
    decoding=GREEDY,
    shots=5,
)
QUAC = Task(
    name="quac",
    about="a student's questions about a hidden text, all turns (GPT-3 2020, section 3.6, figure G.25)",
    files=Files(
        test="val_v0.2",
        train="train_v0.2",
        columns=("text", "before", "question", "answers"),
        origin="https://quac.ai (val_v0.2.json and train_v0.2.json)",
        read=quac_rows,
    ),
    item=_dialogue,
    metrics=_OF_PEOPLE,
    decoding=Decoding("beam", most=64),
)
SQUAD2 = Task(
    name="squad2",
    about="questions on a paragraph, some without an answer in it (GPT-3 2020, section 3.6, figure G.28)",
    files=Files(
        test="dev-v2.0",
        train="train-v2.0",
        columns=("text", "before", "question", "answers"),
        origin="https://rajpurkar.github.io/SQuAD-explorer (dev-v2.0.json and train-v2.0.json)",
        read=squad_rows,
    ),
    item=_dialogue,
    metrics=(f1(), exact_match()),
    decoding=Decoding("beam", most=32),
)
DROP = Task(
    name="drop",
    about="counting, sorting and adding what a passage tells (GPT-3 2020, section 3.6, figure G.20)",
    files=Files(
        test="drop_dataset_dev",
        train="drop_dataset_train",
        columns=("passage", "question", "answers"),
        origin="https://allenai.org/data/drop (drop_dataset_dev.json and drop_dataset_train.json)",
        read=drop_rows,
    ),
    item=_drop,
    metrics=(_drop_metric("f1", drop_f1), _drop_metric("exact_match", drop_exact)),
    decoding=Decoding("beam", most=32),
)
FAIRYTALE_QA = Task(
    name="fairytaleqa",
    about="questions of teachers on a part of a fairy tale (Xu et al. 2022, measured in ROUGE-L), asked as CoQA is",
    files=Files(
        test="fairytaleqa_val",
        train="fairytaleqa_train",
        columns=("context", "question", "answers"),
        origin="https://github.com/uci-soe/FairytaleQAData",
    ),
    item=_fairytale,
    metrics=(rouge("rougeL"), f1(), exact_match()),
    decoding=GREEDY,
    shots=5,
)
ADVERSARIAL_QA = Task(
    name="adversarial_qa",
    about="questions made to mislead a reader, answered by a span (Bartolo et al. 2020), asked as SQuAD is",
    files=Files(
        test="adversarial_qa_sample",
        train="adversarial_qa_sample",
        columns=("context", "question"),
        origin="https://adversarialqa.github.io",
    ),
    item=_adversarial,
    metrics=(f1(), exact_match()),
    decoding=Decoding("beam", most=32),
    shots=5,
)

TASKS = (COQA, QUAC, SQUAD2, DROP, FAIRYTALE_QA, ADVERSARIAL_QA)
