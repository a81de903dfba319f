"""A folder on this disk, or on any other file system that fsspec knows. Its files exist whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from ensue.core.files import clear_leftovers, flush_to_disk, folder_aside

LOCAL = "file"


class Store:
    """Files by name below one place, which may be a path or a URL such as s3://bucket/corpus. Can be pickled."""

    def __init__(self, place: str | Path) -> None:
        self.place = str(place)
        self._opened: tuple[Any, str] | None = None

    def __getstate__(self) -> str:
        return self.place

    def __setstate__(self, place: str) -> None:
        self.place, self._opened = place, None

    @property
    def folder(self) -> Path | None:
        """The folder on this machine's disk, or None if it is elsewhere."""
        if "://" not in self.place and "::" not in self.place:  # without fsspec, which takes a while to load
            return Path(os.path.abspath(os.path.expanduser(self.place)))
        system, root = self._system()
        return Path(root) if LOCAL in _protocols(system) else None

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises FileNotFoundError."""
        if (folder := self.folder) is not None:
            return (folder / name).read_bytes()
        system, root = self._system()
        data: bytes = system.cat_file(f"{root}/{name}")
        return data

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file to this machine's disk without holding it. Raises FileNotFoundError."""
        if (folder := self.folder) is not None:
            shutil.copyfile(folder / name, path)
            return
        system, root = self._system()
        system.get_file(f"{root}/{name}", str(path))

    def write(self, name: str, data: bytes) -> None:
        """Put a file there in one move; one that is there is replaced. Raises OSError for a full disk."""
        folder = self.folder
        if folder is None:
            system, root = self._system()
            system.pipe_file(f"{root}/{name}", data)
            return
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.writing-{os.getpid()}")
        try:
            aside.write_bytes(data)
            flush_to_disk(aside)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        """Whether there is such a file or folder."""
        if (folder := self.folder) is not None:
            return (folder / name).exists()
        system, root = self._system()
        return bool(system.exists(f"{root}/{name}"))

    def names(self, folder: str, ending: str = "") -> list[str]:
        """The names of the files right in `folder` that end so, sorted, without the folder; hidden ones left out."""
        if (here := self.folder) is not None:
            found = os.listdir(here / folder) if (here / folder).is_dir() else []
        else:
            system, root = self._system()
            system.invalidate_cache()
            there = system.ls(f"{root}/{folder}", detail=False) if system.exists(f"{root}/{folder}") else []
            found = [path.rsplit("/", 1)[-1] for path in there]
        return sorted(name for name in found if name.endswith(ending) and not name.startswith("."))

    def remove(self, name: str) -> None:
        """Remove a file or a folder with all that is in it, if it is there."""
        if (folder := self.folder) is not None:
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            return
        system, root = self._system()
        if system.exists(f"{root}/{name}"):
            system.rm(f"{root}/{name}", recursive=True)

    def clear(self) -> None:
        """Remove what killed processes were writing, on this disk; no other may be at work."""
        if (folder := self.folder) is not None:
            for place, _, _ in os.walk(folder):
                clear_leftovers(Path(place), all_are_dead=True)

    def take(self, source: Path, name: str, *, last: str) -> None:
        """Put the files of the local folder `source`, which may be moved, into the folder `name`, whole: the file
        `last` is there only if all the others are."""
        folder = self.folder
        if folder is None:
            files = (path for path in source.rglob("*") if path.is_file())
            for path in sorted(files, key=lambda path: (path == source / last, path)):
                self.write(f"{name}/{path.relative_to(source).as_posix()}", path.read_bytes())
            return
        with folder_aside(folder / name) as aside:
            for path in source.iterdir():
                os.rename(path, aside / path.name)

    def bring(self, name: str, scratch: Path) -> Path:
        """A local folder with the files of the folder `name`: it itself where it lies on this disk, else a copy in
        `scratch`."""
        folder = self.folder
        if folder is not None:
            return folder / name
        system, root = self._system()
        system.invalidate_cache()
        target = scratch / name
        prefix = f"{root}/{name}/"
        target.mkdir(parents=True, exist_ok=True)
        for path in system.find(f"{root}/{name}"):
            below = target / path[path.index(prefix) + len(prefix) :]
            below.parent.mkdir(parents=True, exist_ok=True)
            below.write_bytes(system.cat_file(path))
        return target

    def _system(self) -> tuple[Any, str]:
        if self._opened is None:
            import fsspec

            try:
                system, root = fsspec.core.url_to_fs(self.place)
            except ImportError as error:
                missing = f"{self.place} needs a library that is missing ({error})."
                raise ValueError(missing + _extra(self.place)) from error
            self._opened = system, root.rstrip("/")
        return self._opened


def _protocols(system: Any) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)


def _extra(place: str) -> str:
    return " Type: pip install 'ensue[s3]'" if place.startswith("s3:") else ""
