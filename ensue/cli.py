"""The command line: finds the verb, reads its options, and turns errors into words and exit codes."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from types import FrameType
from typing import Any

import tyro

from ensue import __version__
from ensue.core.config import suggest
from ensue.recipes.failure import RunFailed
from ensue.verbs.bench import Bench
from ensue.verbs.corpus import Corpus, Curate
from ensue.verbs.evaluating import Compare, Evaluate, Probe
from ensue.verbs.models import Convert, Generate, Info
from ensue.verbs.serving import Chat, Serve
from ensue.verbs.studies import Study
from ensue.verbs.studio import Studio
from ensue.verbs.text import Prepare, Tokenizer
from ensue.verbs.training import Demo, Plan, Train, Verify, Why
from ensue.verbs.tuning import Finetune

VERBS: dict[str, type[Any]] = {
    "demo": Demo,
    "curate": Curate,
    "corpus": Corpus,
    "prepare": Prepare,
    "tokenizer": Tokenizer,
    "train": Train,
    "generate": Generate,
    "chat": Chat,
    "serve": Serve,
    "studio": Studio,
    "finetune": Finetune,
    "evaluate": Evaluate,
    "compare": Compare,
    "probe": Probe,
    "study": Study,
    "info": Info,
    "bench": Bench,
    "plan": Plan,
    "convert": Convert,
    "verify": Verify,
    "why": Why,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    0 done; 1 a run that does not verify; 2 a mistake in what was asked; 3 training diverged; 4 could not save; 5 lost
    another process of the run; 130 and 143 stopped by Ctrl-C and SIGTERM.
    """
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments), own_process=arguments is None)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads what is printed, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    if arguments is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # A thread of gloo's that lets go of a tensor while the interpreter closes down would abort the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    if arguments is None:
        atexit.register(gc.freeze)  # what this process holds goes with it, and need not be looked through
    return code


def _run(given: list[str], *, own_process: bool) -> int:
    if given[:1] == ["--"]:  # torchrun needs it before our options, or it takes --run for its own, and passes it on
        del given[0]
    if own_process:
        signal.signal(signal.SIGTERM, _leave)  # so that what is being written aside is cleaned up
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if given[0] in ("--version", "version"):
        print(f"ensue {__version__}")
        return 0
    name = given[0]
    if name not in VERBS:
        return _complain(f"there is no verb {name!r}{suggest(name, VERBS)}\nSee: ensue --help", 2)
    verb, unknown = tyro.cli(
        VERBS[name], prog=f"ensue {name}", args=given[1:], return_unknown_args=True, config=(tyro.conf.OmitArgPrefixes,)
    )
    try:
        if isinstance(verb, Train):
            verb.start(_changes(unknown))
        else:
            _refuse(unknown, verb)
            verb.start()
    except RunFailed as error:
        return _complain(str(error), error.code)
    except KeyboardInterrupt:
        return _complain("interrupted.", 130)
    except (ValueError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        return _complain(str(error), 2)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _complain(f"{error}. Free some space or choose another folder, and try again.", 4)
    return 0


def overview() -> str:
    """What `ensue --help` prints: each verb with the first line of its help."""
    lines = [f"  {name:<10} {str(verb.__doc__).splitlines()[0]}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "Ensue: GPT, GPT-2 and GPT-3 from your own text.",
            "",
            "usage: ensue VERB [options]",
            "",
            *lines,
            "",
            "Start with:  ensue demo",
            "Each verb shows its options and an example:  ensue VERB --help",
        ]
    )


def _changes(unknown: Sequence[str]) -> dict[str, str]:
    """`--model.layers 6 --width=256` as a mapping from field to text."""
    changes = {}
    rest = list(unknown)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise ValueError(f"do not know what to do with {word!r}; options are written --name value.")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ValueError(f"{word} needs a value: {word} VALUE")
            value = rest.pop(0)
        changes[name] = value
    return changes


def _refuse(unknown: Sequence[str], verb: Any) -> None:
    """Raise ValueError for options a verb does not have, naming the nearest one."""
    if not unknown:
        return
    action = verb.action if isinstance(verb, (Tokenizer, Bench, Corpus, Study)) else verb
    word = unknown[0]
    if not word.startswith("-"):
        raise ValueError(f"do not know what to do with {word!r}; see: ensue {type(verb).__name__.lower()} --help")
    known = ["--" + field.name.replace("_", "-") for field in fields(action)]
    raise ValueError(f"there is no option {word}{suggest(word, known)}")


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _complain(message: str, code: int) -> int:
    print(f"ensue: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
