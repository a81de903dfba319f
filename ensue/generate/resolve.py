"""From what a user types to the folder that holds the model; nothing here needs torch."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from ensue.core.run import RunFolder

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
ORIGINAL_RELEASE = "params_shapes.json"
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve(path: str | Path) -> Path:
    """The model folder that `path` means.

    `path` is a run (its `final`, or its newest checkpoint), a checkpoint, a Hugging Face folder, an original GPT
    release, or a Hub name such as `openai-community/gpt2`, which is downloaded or taken from the Hub's cache. What is
    on disk goes first. Raises FileNotFoundError where there is no such thing, naming the nearest there is, and
    ValueError for a folder without a model.
    """
    folder = Path(path)
    if folder.is_file():
        raise ValueError(f"{folder} is a file; give the folder it is in: {folder.parent}")
    if folder.is_dir():
        return _in_folder(folder)
    if HUB_NAME.fullmatch(str(path)) and not folder.parent.is_dir():
        return _from_hub(str(path))
    raise FileNotFoundError(_not_there(folder))


def _in_folder(folder: Path) -> Path:
    if _has_model(folder):
        return folder
    if (folder / "checkpoints").is_dir():
        return _in_run(folder)
    if folder.name == "checkpoints":
        return _in_run(folder.parent)
    if (folder / "metrics.jsonl").is_file():
        raise ValueError(_no_checkpoint_yet(folder))
    inside = sorted(child.name for child in folder.iterdir() if child.is_dir() and _is_run_or_model(child))
    hint = f"; it has these in it: {', '.join(str(folder / name) for name in inside[:5])}" if inside else ""
    looked_for = ", ".join((*WEIGHT_FILES, ORIGINAL_RELEASE))
    raise ValueError(
        f"{folder} holds no model: it has no checkpoints and none of {looked_for}{hint}. "
        "Give a run, a checkpoint or a Hugging Face folder."
    )


def _in_run(folder: Path) -> Path:
    final = folder / "final"
    if final.is_dir() and _has_model(final):
        return final.resolve()
    checkpoints = [checkpoint for checkpoint in RunFolder(folder).checkpoints() if _has_model(checkpoint)]
    if not checkpoints:
        raise ValueError(_no_checkpoint_yet(folder))
    return checkpoints[-1]


def _no_checkpoint_yet(folder: Path) -> str:
    return (
        f"the run {folder} has no checkpoint yet; wait for its first one, or continue it with: "
        f"ensue train --resume {folder}"
    )


def _has_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (*WEIGHT_FILES, ORIGINAL_RELEASE))


def _is_run_or_model(folder: Path) -> bool:
    return (folder / "checkpoints").is_dir() or _has_model(folder)


def _not_there(folder: Path) -> str:
    """What to say of a path that does not exist: the nearest name beside the first part of it that is missing."""
    missing = folder
    while not missing.parent.is_dir() and missing.parent != missing:
        missing = missing.parent
    siblings = [child.name for child in missing.parent.iterdir()] if missing.parent.is_dir() else []
    close = difflib.get_close_matches(missing.name, siblings, n=1, cutoff=0.5)
    hint = f" Did you mean {missing.with_name(close[0])}?" if close else ""
    return (
        f"there is no folder {folder}.{hint} Give a run, a checkpoint or a Hugging Face folder, or a Hub name with its "
        "owner, such as openai-community/gpt2."
    )


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        return _in_folder(Path(snapshot_download(name, allow_patterns=HUB_FILES)))
    except HFValidationError as error:
        raise ValueError(f"{name} is neither a folder here nor a name the Hub allows ({error}).") from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"there is no folder {name} here, and no public model of that name on the Hugging Face Hub; check the "
            "spelling, or give a local folder."
        ) from error
    except OSError as error:
        raise FileNotFoundError(
            f"there is no folder {name} here, and it could not be downloaded from the Hugging Face Hub: no internet, "
            "or offline mode, and no whole copy in the Hub's cache. Connect, or give a local folder "
            f"({type(error).__name__})."
        ) from error
