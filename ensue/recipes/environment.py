"""What a run was made with: versions, hardware, and which code."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ensue import __version__
from ensue.train.parallel import started_processes

PACKAGE = Path(__file__).resolve().parents[1]
SOURCES = (".py", ".cpp", ".h")


def environment() -> dict[str, Any]:
    """Everything beside config and data that the bits of a run may depend on."""
    return {"versions": _versions(), "revision": _revision(), "code": source_digest(), "hardware": _hardware()}


@cache
def source_digest() -> str:
    """Hex digits of Ensue's own source files, committed or not, as they were when this process first asked."""
    digest = hashlib.sha256()
    for path in sorted(path for path in PACKAGE.rglob("*") if path.suffix in SOURCES):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _versions() -> dict[str, str]:
    return {"ensue": __version__, "torch": str(torch.__version__), "python": platform.python_version()}


def _hardware() -> dict[str, str | int]:
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "threads": torch.get_num_threads(),
        "processes": started_processes(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def _revision() -> str:
    """The source revision this Ensue runs from, where it runs from a git checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=PACKAGE,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "installed package"
    return found.stdout.strip()
