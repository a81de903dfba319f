"""The main job in a few minutes: real text in, a GPT that writes out."""

from __future__ import annotations

import lzma
import math
import shlex
import shutil
import time
from dataclasses import replace
from pathlib import Path

from ensue.core.lock import locked
from ensue.core.run import RunFolder
from ensue.recipes.data import Data, prepare_documents, prepare_files
from ensue.recipes.dial import choose_by_minutes, largest_vocabulary, products_per_second
from ensue.recipes.display import Display
from ensue.recipes.start import data_reference, explain
from ensue.recipes.training import RunResult, start_run
from ensue.text.python_docs import documentation_held_out, python_documentation

PROMPTS = ("Return the", "This function", "If the argument is", "The default value")
CONTINUATIONS = 4

MEGABYTES = {
    "python": 1.9,
    "numpy": 1.3,
    "networkx": 1.5,
    "matplotlib": 1.4,
    "huggingface_hub": 0.9,
    "fontTools": 0.5,
    "pygments": 0.2,
    "mpmath": 0.2,
    "setuptools": 0.2,
    "rich": 0.2,
    "PIL": 0.2,
    "fsspec": 0.2,
    "jinja2": 0.1,
    "packaging": 0.1,
    "tyro": 0.1,
    "pyarrow": 0.1,
    "filelock": 0.1,
    "dateutil": 0.1,
    "httpx": 0.1,
    "tqdm": 0.1,
    "sympy": 3.6,
    "torch": 5.9,
}
"""Documentation of each library, about; the nearest to plain English first. It only decides how many are read."""

BYTES_PER_TOKEN = 3.3


def run_demo(run_path: Path, *, minutes: float, text: Path | None, seed: int, display: Display) -> None:
    """Prepare, train for `minutes`, measure beside xz, write a few continuations, and say what to type next.

    A folder that an earlier demo left is replaced; any other folder is refused with ValueError.
    """
    if minutes <= 0:
        raise ValueError(f"--minutes {minutes} is no time to train; try --minutes 3.")
    _make_room(run_path)
    run = RunFolder.create(run_path)
    with run.locked():
        (run_path / MARK).touch()
        _demo(run, minutes=minutes, text=text, seed=seed, display=display)


def _demo(run: RunFolder, *, minutes: float, text: Path | None, seed: int, display: Display) -> None:
    """The demo in its folder, which is this process's."""
    run_path = run.path
    data_path = (run_path / "data").resolve()
    display.heading("1. text")
    if text is None:
        data = _documentation(data_path, minutes, display)
    else:
        largest = largest_vocabulary(minutes)
        data = prepare_files([text], data_path, vocab=None, tokenizer=None, seed=seed, display=display, largest=largest)
    _say_data(data, display)
    display.heading(f"2. training for {minutes:g} minutes")
    seconds = minutes * 60
    deadline = time.monotonic() + seconds
    config = choose_by_minutes(data, "modern", minutes=minutes, deadline=deadline, seed=seed, changes={})
    config = replace(config, data=data_reference(data, run_path))
    if text is None:  # all of it, whatever the speed: the less xz is given, the worse it does
        config = replace(config, final_tokens=data.facts.held_out_tokens)
    explain(config, display)
    result = start_run(run, config, display=display, deadline=time.monotonic() + seconds)
    display.heading("3. how well it knows text it has not seen")
    _compare(data, result, display)
    display.heading("4. what it writes")
    opening = _write(run, data, result, text is None, display)
    display.heading("5. next")
    display.say(
        f"loss curve      {run_path / 'plots' / 'loss.png'}\n"
        f"more text       ensue generate {run_path} --prompt {shlex.quote(opening)} --temperature 0.7\n"
        f"your own text   ensue demo --text PATH --run runs/mine\n"
        f"longer          ensue train PATH --run runs/longer --minutes 30\n"
        f"from Python     import ensue; lm = ensue.load({str(run_path)!r}); lm.generate({opening!r})"
    )


MARK = ".demo"


def useful_bytes(seconds: float, flops_per_second: float) -> float:
    """Bytes of text that training for so long can make use of: tokens rise with the square root of the work done, about
    1.7 million for 10^13 FLOPs at the sizes the dial chooses (docs/demo.md)."""
    return BYTES_PER_TOKEN * math.sqrt(0.6 * flops_per_second * seconds / 4)


def libraries_for(wanted: float) -> tuple[str, ...]:
    """The first libraries that together hold `wanted` bytes; at least the standard library and numpy."""
    names = list(MEGABYTES)
    for count in range(2, len(names)):
        if sum(MEGABYTES[name] for name in names[:count]) * 1e6 >= wanted:
            return tuple(names[:count])
    return tuple(names)


def _make_room(path: Path) -> None:
    """Remove an earlier demo at `path`; anything else that is there is left to `RunFolder.create` to refuse."""
    if (path / MARK).is_file():
        with locked(path):
            shutil.rmtree(path)


def _documentation(out: Path, minutes: float, display: Display) -> Data:
    libraries = libraries_for(useful_bytes(minutes * 60, products_per_second()))
    display.say(f"the documentation inside this Python installation: {', '.join(libraries)}")
    if len(libraries) < len(MEGABYTES):
        display.say("(as much as these minutes can use on this machine; more minutes read more libraries)", style="dim")
    with display.bar("reading source files", 0, "files") as bar:
        done = 0

        def count(read: int, total: int) -> None:
            nonlocal done
            bar.set_total(total)
            bar.advance(read - done)
            done = read

        documents = python_documentation(libraries=libraries, on_file=count)
    train, held_out = documentation_held_out(documents)
    names = len({document.meta["library"] for document in held_out})
    reason = f"held out: {names} whole libraries, of which training sees nothing"
    largest = largest_vocabulary(minutes)
    return prepare_documents(train, held_out, out, vocab=None, held_out_reason=reason, display=display, largest=largest)


def _say_data(data: Data, display: Display) -> None:
    facts = data.facts
    display.say(
        f"{facts.documents:,} documents, {facts.bytes / 1e6:.1f} MB: {facts.train_tokens:,} training tokens of a "
        f"{facts.vocab:,} vocabulary\n{facts.held_out} ({facts.held_out_bytes / 1e6:.2f} MB)"
    )


def _compare(data: Data, result: RunResult, display: Display) -> None:
    """Bits per byte of the model beside xz -9 on the same held-out bytes."""
    packed = xz_bits_per_byte(_held_out_texts(data, result.held_out.tokens))
    model = result.held_out.bits_per_byte
    assert model is not None
    display.say(f"this model  {model:.3f} bits per byte\nxz -9       {packed:.3f} bits per byte")
    verdict = f"{100 * (1 - model / packed):.0f}% fewer bits than xz" if model < packed else "xz is still ahead"
    display.say(f"{verdict}, on {result.held_out.bytes:,} bytes neither has seen")


def xz_bits_per_byte(texts: list[str]) -> float:
    """Bits a byte that `xz -9` needs for the texts written one after another."""
    raw = "\n".join(texts).encode()
    return 8 * len(lzma.compress(raw, preset=9)) / max(1, len(raw))


def _held_out_texts(data: Data, tokens: int) -> list[str]:
    """The texts of the held-out documents within the first `tokens`, decoded: exactly what the model was scored on."""
    shard = data.held_out
    spans = [span for span in shard.spans(range(shard.count)) if span.stop <= tokens]
    return [data.tokenizer.decode(shard.tokens[span.start : span.stop - 1].tolist()) for span in spans]


def _write(run: RunFolder, data: Data, result: RunResult, documentation: bool, display: Display) -> str:
    """Show and keep a few continuations; return the first prompt's first line, to try next."""
    prompts = list(PROMPTS) if documentation else _openings(_held_out_texts(data, result.held_out.tokens))
    written = result.lm.generate(prompts, max_new_tokens=70, temperature=0.7, top_p=0.9, seed=1)
    pieces = []
    for prompt, text in zip(prompts, written, strict=True):
        display.console.print(prompt, end="", style="bold", markup=False, soft_wrap=True)
        display.say(text)
        display.say("—", style="dim")
        pieces.append(prompt + text)
    (run.path / "samples" / "final.txt").write_text("\n\n---\n\n".join(pieces) + "\n", encoding="utf-8")
    return (prompts[0].strip() or PROMPTS[0]).splitlines()[0]


def _openings(texts: list[str]) -> list[str]:
    """The first words of a few held-out documents, or of places spread over them where they are few."""
    whole = "\n".join(texts)
    step = max(1, len(whole) // CONTINUATIONS)
    starts = [whole.find("\n", place) + 1 for place in range(0, len(whole) - step + 1, step)]
    return [whole[start : start + 24] for start in starts[:CONTINUATIONS]]
