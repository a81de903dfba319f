"""SuperGLUE's passages as GPT-3 asks them: MultiRC, ReCoRD and WSC.

GPT-3 (2020), section 3.7 and figures G.6, G.15 and G.33. They are read as SuperGLUE publishes them, or from rows with
the columns of Hugging Face's `super_glue`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ensue.evaluate.answers import answer_words, exact, overlap
from ensue.evaluate.metrics import accuracies, all_right, f1
from ensue.evaluate.scorer import Decoding
from ensue.evaluate.task import Choices, Files, Item, Metric, Option, Outcome, Question, Row, Task, chosen
from ensue.evaluate.tasks.published import label_of, rows_of, sentence

ORIGIN = "https://super.gluebenchmark.com/tasks"
SHOTS = 32
FALSE_TRUE = ("False", "True")


def multirc_rows(path: str) -> Iterator[Row]:
    """MultiRC's answers, one a row, with all `answers` of their question and its place."""
    rows = rows_of(path)
    together: dict[str, list[Row]] = {}
    for row in rows:
        if "passage" not in row:
            together.setdefault(_place(row), []).append(row)
    for row in rows:
        if "passage" not in row:
            yield {**row, "place": _place(row), "answers": together[_place(row)]}
            continue
        for question in row["passage"]["questions"]:
            for answer in question["answers"]:
                yield {
                    "paragraph": row["passage"]["text"],
                    "question": question["question"],
                    "answer": answer["text"],
                    "label": answer["label"],
                    "place": f"{row['idx']}.{question['idx']}",
                    "answers": [{"answer": other["text"], "label": other["label"]} for other in question["answers"]],
                }


def _place(row: Row) -> str:
    return f"{row['idx']['paragraph']}.{row['idx']['question']}"


def _multirc(row: Row) -> Item:
    label = label_of(row, "label", names=FALSE_TRUE)
    lines = (f"\n- [{word}] {row['answer'].strip()}" for word in FALSE_TRUE)
    return Choices(tuple(Option(_asked(row), line) for line in lines), label, row["place"])


def _multirc_question(row: Row) -> str:
    """A question with all its answers, which is what the paper counts as one example."""
    labels = (FALSE_TRUE[label_of(answer, "label", names=FALSE_TRUE)] for answer in row["answers"])
    lines = (f"\n- [{word}] {answer['answer'].strip()}" for word, answer in zip(labels, row["answers"], strict=True))
    return _asked(row) + "".join(lines)


def _asked(row: Row) -> str:
    return f"{row['paragraph'].strip()}\n\n{row['question'].strip()}"


MULTIRC = Task(
    name="multirc",
    about="which answers to a question are right, each by itself (GPT-3 2020, section 3.7, figure G.15)",
    files=Files(
        test="multirc_val",
        train="multirc_train",
        columns=("paragraph", "question", "answer", "label"),
        origin=f"{ORIGIN} (MultiRC, val.jsonl and train.jsonl)",
        read=multirc_rows,
    ),
    item=_multirc,
    demonstration=_multirc_question,
    metrics=(all_right("token", name="accuracy_of_questions"), f1("token", positive=1), *accuracies("token")),
    scoring="token",
    header="READING COMPREHENSION ANSWER KEY\n\n",
    shots=SHOTS,
)


def record_rows(path: str) -> Iterator[Row]:
    """ReCoRD's queries, one a row, with the passage's `entities`, each once, and the `answers` among them."""
    for row in rows_of(path):
        if "qas" not in row:
            yield {**row, "entities": _once(row["entities"]), "answers": _once(row["answers"])}
            continue
        text = row["passage"]["text"]
        entities = _once(text[place["start"] : place["end"] + 1] for place in row["passage"]["entities"])
        for asked in row["qas"]:
            answers = _once(answer["text"] for answer in asked["answers"])
            yield {"passage": text, "query": asked["query"], "entities": entities, "answers": answers}


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _record(row: Row) -> Item:
    text, *highlights = row["passage"].strip().split("\n@highlight\n")
    bullets = "".join(f"\n- {sentence(highlight.strip())}" for highlight in highlights)
    context = f"{text.strip()}\n{bullets}"
    filled = (row["query"].strip().replace("@placeholder", entity) for entity in row["entities"])
    options = tuple(Option(context, f"\n- {sentence(line)}") for line in filled)
    right = next(place for place, entity in enumerate(row["entities"]) if entity in row["answers"])
    return Choices(options, right, {"entities": row["entities"], "answers": row["answers"]})


def _named(item: Item, outcome: Outcome) -> tuple[str, list[str]]:
    assert isinstance(item, Choices)
    entities, answers = item.key["entities"], item.key["answers"]
    return entities[chosen(item, outcome, "token")], answers


def _record_exact(item: Item, outcome: Outcome) -> float:
    entity, answers = _named(item, outcome)
    return float(any(exact(entity, answer) for answer in answers))


def _record_f1(item: Item, outcome: Outcome) -> float:
    entity, answers = _named(item, outcome)
    return max(overlap(entity, answer) for answer in answers)


RECORD = Task(
    name="record",
    about="which name is missing in a line on a piece of news (GPT-3 2020, section 3.7, figure G.6)",
    files=Files(
        test="record_val",
        train="record_train",
        columns=("passage", "query", "entities", "answers"),
        origin=f"{ORIGIN} (ReCoRD, val.jsonl and train.jsonl)",
        read=record_rows,
    ),
    item=_record,
    metrics=(Metric("accuracy", _record_exact), Metric("f1", _record_f1)),
    scoring="token",
    shots=SHOTS,
)


def wsc_rows(path: str) -> Iterator[Row]:
    """WSC's rows; of a training split those whose noun is the right one, since only they can be shown as examples."""
    train = Path(path).name.split(".")[0].endswith("train")
    for row in rows_of(path):
        flat = {**row, **row.get("target", {})}
        if not train or label_of(flat, "label", names=FALSE_TRUE):
            yield flat


def _wsc(row: Row) -> Item:
    pronoun = row["span2_text"].strip()
    passage = f"Passage: {_marked(row['text'].split(), pronoun, int(row['span2_index']))}"
    question = f'Question: In the passage above, what does the pronoun "*{pronoun}*" refer to?'
    label = label_of(row, "label", names=FALSE_TRUE)
    return Question(f"{passage}\n{question}\nAnswer:", (" " + row["span1_text"].strip().lower(),), label)


def _marked(words: list[str], pronoun: str, place: int) -> str:
    """The text with the pronoun between asterisks: where its place says, or the nearest, as some places are off."""
    places = [at for at, word in enumerate(words) if word.strip(".,;:!?\"'()").removesuffix("'s") == pronoun]
    if not places:
        raise ValueError(f"the pronoun {pronoun} is not in the text: {' '.join(words)}")
    nearest = min(places, key=lambda at: abs(at - place))
    marked = words[nearest].replace(pronoun, f"*{pronoun}*", 1)
    return " ".join([*words[:nearest], marked, *words[nearest + 1 :]])


def _wsc_right(item: Item, outcome: Outcome) -> float:
    assert isinstance(item, Question)
    assert outcome.text is not None
    said, noun = (set(answer_words(text)) for text in (outcome.text, item.answers[0]))
    meant = bool(said) and (said <= noun or noun <= said)
    return float(meant == bool(item.key))


WSC = Task(
    name="wsc",
    about="whether a pronoun means a noun: the model writes what it means (GPT-3 2020, section 3.7, figure G.33), and "
    "the noun is meant where the words of one are among the other's",
    files=Files(
        test="wsc_val",
        train="wsc_train",
        columns=("text", "span1_text", "span2_text", "span2_index", "label"),
        origin=f"{ORIGIN} (WSC, val.jsonl and train.jsonl)",
        read=wsc_rows,
    ),
    item=_wsc,
    metrics=(Metric("accuracy", _wsc_right),),
    header="Final Exam with Answer Key\nInstructions: Please carefully read the following passages. For each passage, "
    "you must identify which noun the pronoun marked in *bold* refers to.\n=====\n",
    decoding=Decoding(kind="beam", most=16),
    shots=SHOTS,
)

TASKS = (MULTIRC, RECORD, WSC)
