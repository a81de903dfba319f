"""Each task's text of one real row, exactly as a model sees it."""

import pytest

from ensue.evaluate.builtin import CHOSEN
from ensue.evaluate.task import Task
from ensue.evaluate.tasks import cloze, superglue_passages

ELSEWHERE = (*cloze.TASKS, *superglue_passages.TASKS)
"""Whose texts have tests of their own."""

TASKS = {task.name: task for task in CHOSEN if task not in ELSEWHERE}

TEXTS = {
    "hellaswag": (
        268,
        """Washing face: A rabbit is cleaning itself with its tongue. It is underneath a chair. It looks into \
the camera. It
[x] stares blankly at it.
[ ] takes a drink from its water.
[ ] is placing its legs in a bag.
[ ] does a back and forth process after sticking its tongue out.""",
    ),
    "piqa": (
        369,
        """how do you take soap off of clean dishes?
[ ] wipe it off with a rag.
[x] rinse it in water.""",
    ),
    "arc_easy": (
        15,
        """Question: Which process best explains how the Grand Canyon became so wide?
Answer:
[ ] folding
[x] erosion
[ ] deposition
[ ] sedimentation""",
    ),
    "openbookqa": (
        174,
        """What animal can live without oxygen
[ ] shark.
[x] Loriciferans.
[ ] platypus.
[ ] Turtle.""",
    ),
    "copa": (
        372,
        """The woman hit a midlife crisis therefore
[x] she went sky diving.
[ ] she retired.""",
    ),
    "rocstories": (
        147,
        """Cara wanted new kitchen cabinets. She told her husband. He looked at how-to videos. He decided it \
looked like a simple enough job.
[x] Cara's husband decided to go buy wood.
[ ] Cara's husband decided to go back to college.""",
    ),
    "winogrande": (
        392,
        """[x]Kayla was very civil when dealing with Emily so that Kayla| would be accepted by her.
[ ]Kayla was very civil when dealing with Emily so that Emily| would be accepted by her.""",
    ),
    "boolq": (
        347,
        """Skunks as pets -- It is currently legal to keep skunks as pets in Britain without a license.
question: can you own a skunk in the uk?
answer:
[ ] no
[x] yes""",
    ),
    "rte": (
        344,
        """Yet there is no evidence that he ever attempted to salvage the Captain Lawrence in the years after the wreck.
question: Shipwreck salvaging was attempted. True or False?
answer:
[ ] True
[x] False""",
    ),
    "wic": (
        276,
        """The luck of the draw.
They anticipated a tough draw.
question: Is the word 'draw' used in the same way in the two sentences above?
answer:
[ ] no
[x] yes""",
    ),
    "snli": (
        197,
        """A lady with bright orange hair walking in a crowd.
Question: The woman is asleep. True, False, or Neither?
Answer:
[ ] True
[ ] Neither
[x] False""",
    ),
    "sick": (
        197,
        """A man dressed in black is riding a bike
Question: A man is performing a trick on a bike True, False, or Neither?
Answer:
[ ] True
[x] Neither
[ ] False""",
    ),
    "mrpc": (
        374,
        """"Clearly it is a tragic day for Americans," he said in Washington.
"It's clearly a tragic day for America," Defense Secretary Donald H. Rumsfeld said in Washington.
question: Do the two sentences above say the same?
answer:
[ ] no
[x] yes""",
    ),
    "blimp": (
        97,
        """[ ]Deanna insults itself.
[x]Deanna insults herself.""",
    ),
    "sst2": (
        244,
        """Review: anything fresh
Sentiment:
[ ] Negative
[x] Positive""",
    ),
    "agnews": (
        189,
        """Classify the news articles into the categories of World, Sports, Business, and Technology.

Article: DNA from seized ivory could help conservationists and police identify hotspots where elephants are in \
particular danger from poachers.
Answer:
[ ] World
[ ] Sports
[ ] Business
[x] Technology""",
    ),
    "trec": (
        338,
        """Classify the questions based on whether their answer type is a Number, Location, Person, \
Description, Entity, or Abbreviation.

Question: What is Ursa Major ?
Answer Type:
[ ] Abbreviation
[x] Description
[ ] Entity
[ ] Person
[ ] Location
[ ] Number""",
    ),
    "gpt_cola": (
        335,
        """i walk and dana runs
(1)""",
    ),
    "gpt_sst2": (
        244,
        """anything fresh very
[ ] negative
[x] positive""",
    ),
    "winograd": (
        0,
        """[x]The city councilmen refused the demonstrators a permit because the city councilmen| feared violence.
[ ]The city councilmen refused the demonstrators a permit because the demonstrators| feared violence.""",
    ),
    "winograd_full": (
        209,
        """[x]Emma's mother had died long ago, and Emma's mother's place had been taken by an excellent woman \
as governess.
[ ]Emma's mother had died long ago, and Emma's place had been taken by an excellent woman as governess.""",
    ),
    "gpt_winograd": (
        96,
        """[x]The fish ate the worm. The fish| was hungry.
[ ]The fish ate the worm. The worm| was hungry.""",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_of_a_real_row(name, published, rendered):
    task = TASKS[name]
    place, text = TEXTS[name]
    assert task.header + rendered(task.item(published(task)[place])) == text


def test_a_film_review_is_one_line(published):
    task = TASKS["movie_reviews"]
    context = task.item(published(task)[0]).options[0].context
    assert context.startswith("Review: plot : two teen couples go to a church party , drink and then drive . they get")
    assert context.count("\n") == 1
    assert context.endswith("\nSentiment:")


def test_a_story_is_asked_as_gpt_3_asks_race(published):
    row = published(TASKS["mctest160"])[0]
    item = TASKS["mctest160"].item(row)
    assert {option.context for option in item.options} == {f"{row['story']}\n\nQ: {row['question']}\n\nA:"}
    assert [option.continuation for option in item.options] == [" Door", " House", " Window", " Toilet"]
    assert (item.answer, item.key) == (2, "multiple")


def test_every_task_has_a_text_or_no_published_set(shared_data):
    without = (
        {task.name for task in TASKS.values() if _published(shared_data, task)}
        - set(TEXTS)
        - {"movie_reviews", "mctest160"}
    )
    assert not without


def _published(shared_data, task: Task) -> bool:
    return bool(list((shared_data / "tasks").glob(f"{task.files.test}.*")))
