"""Folders and files that are whole or not there at all: under exceptions, a full disk, and kill -9; and checksums."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.core.files import (
    CHECKSUMS,
    clear_leftovers,
    folder_aside,
    link_aside,
    sha256_of,
    verify_checksums,
    write_checksums,
    write_file_aside,
)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def old(tmp_path):
    """A folder that was written whole earlier."""
    target = tmp_path / "target"
    with folder_aside(target) as aside:
        (aside / "a.txt").write_text("old")
        (aside / "deep").mkdir()
        (aside / "deep" / "b.txt").write_text("old too")
    return target


def test_a_new_folder_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "not" / "there" / "yet"
    with folder_aside(target) as aside:
        (aside / "a").write_text("1")
        assert not target.exists()
        assert aside.parent == target.parent, "a rename is only whole on the same file system"
    assert snapshot(target) == {"a": b"1"}
    assert [path.name for path in target.parent.iterdir()] == ["yet"]


def test_an_old_folder_is_replaced_as_a_whole(old):
    with folder_aside(old) as aside:
        (aside / "c.txt").write_text("new")
        assert snapshot(old) == {"a.txt": b"old", "deep/b.txt": b"old too"}
    assert snapshot(old) == {"c.txt": b"new"}
    assert [path.name for path in old.parent.iterdir()] == [old.name]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("x"), KeyboardInterrupt()])
def test_any_exception_leaves_the_old_folder_and_nothing_else(old, error):
    before = snapshot(old)
    with pytest.raises(type(error)), folder_aside(old) as aside:  # noqa: PT012
        (aside / "a.txt").write_text("half")
        raise error
    assert snapshot(old) == before
    assert [path.name for path in old.parent.iterdir()] == [old.name]


def test_a_failing_rename_puts_the_old_folder_back(old, monkeypatch):
    """Once the old folder has already been moved out of the way, the worst moment."""
    before, rename = snapshot(old), os.rename

    def fail_for_the_new(source, target):
        if ".writing-" in str(source):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_for_the_new)
    with pytest.raises(OSError, match="No space"), folder_aside(old) as aside:
        (aside / "a.txt").write_text("new")
    assert snapshot(old) == before
    assert [path.name for path in old.parent.iterdir()] == [old.name]


def test_a_full_disk_leaves_the_old_folder(tmp_path):
    """A real one: a file system of one megabyte, mounted where only the child process sees it."""
    script = textwrap.dedent("""
        import errno, sys
        from pathlib import Path
        from ensue.core.files import folder_aside, write_file_aside
        disk = Path(sys.argv[1])
        with folder_aside(disk / "target") as aside:
            (aside / "a").write_bytes(b"old" * 1000)
        write_file_aside(disk / "file", "old")
        for attempt in (1, 2):
            try:
                with folder_aside(disk / "target") as aside:
                    (aside / "a").write_bytes(b"new" * 1000)
                    (aside / "b").write_bytes(bytes(2 << 20))
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
            else:
                sys.exit("two megabytes fit on a disk of one")
        try:
            write_file_aside(disk / "file", "new" * (1 << 20))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
        else:
            sys.exit("three megabytes fit on a disk of one")
        assert (disk / "target" / "a").read_bytes() == b"old" * 1000
        assert (disk / "file").read_text() == "old"
        assert sorted(path.name for path in disk.iterdir()) == ["file", "target"]
        print("held")
    """)
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed, so no small disk can be mounted")
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path}"
    private = [unshare, "--mount", "--map-root-user", "sh", "-c"]
    if subprocess.run([*private, mount], capture_output=True).returncode:
        pytest.skip("this machine lets no unprivileged process mount a small disk")
    command = f'{mount} && exec "$0" -c "$1" "$2"'
    done = subprocess.run(
        [*private, command, sys.executable, script, str(tmp_path)], capture_output=True, text=True, cwd=Path.cwd()
    )
    assert (done.stdout, done.returncode) == ("held\n", 0), done.stderr


def test_kill_9_in_the_middle_leaves_the_old_folder(old):
    before = snapshot(old)
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from ensue.core.files import folder_aside
        with folder_aside(Path(sys.argv[1])) as aside:
            with (aside / "a.txt").open("w") as file:
                for number in range(10**9):
                    file.write("new" * 1000)
                    file.flush()
                    print(number, flush=True)
                    time.sleep(0.001)
    """)
    with subprocess.Popen([sys.executable, "-c", script, str(old)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "0\n"
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert snapshot(old) == before
    half = [path for path in old.parent.iterdir() if path != old]
    assert [path.name for path in half] == [f".{old.name}.writing-{child.pid}"], "left aside, under no public name"
    assert snapshot(half[0]), "the child was killed after it had begun to write"


def test_a_folder_half_written_under_our_own_number_does_not_leak_into_the_next(tmp_path):
    """Process numbers come round again; what a killed namesake left must not end up in the new folder."""
    left = tmp_path / f".target.writing-{os.getpid()}"
    left.mkdir()
    (left / "half").write_text("x")
    with folder_aside(tmp_path / "target") as aside:
        (aside / "a").write_text("1")
    assert snapshot(tmp_path / "target") == {"a": b"1"}


def test_write_file_aside_replaces_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "deep" / "file.json"
    write_file_aside(path, "1")
    write_file_aside(path, "中文\n")
    assert path.read_text(encoding="utf-8") == "中文\n"
    with pytest.raises(UnicodeEncodeError):
        write_file_aside(path, "half \ud800")
    assert path.read_text(encoding="utf-8") == "中文\n"
    assert [each.name for each in path.parent.iterdir()] == ["file.json"]


def test_sha256_is_the_published_one(tmp_path):
    """FIPS 180-2, appendix B: the digests of "abc" and of a million letters a."""
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "many").write_bytes(b"a" * 1_000_000)
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "many") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


@pytest.fixture(scope="module")
def summed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("summed")
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 3)
    (folder / "deep").mkdir()
    (folder / "deep" / "config.json").write_text('{"a": 1}')
    write_checksums(folder)
    verify_checksums(folder)
    return folder


@settings(max_examples=50)
@given(data=st.data())
def test_any_flipped_bit_or_truncation_is_refused_naming_a_file(summed, data):
    name = data.draw(st.sampled_from(["weights.bin", "deep/config.json"]))
    path = summed / name
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        changed = whole[:place]
    else:
        changed = whole[:place] + bytes([whole[place] ^ 1 << data.draw(st.integers(0, 7))]) + whole[place + 1 :]
    path.write_bytes(changed)
    try:
        with pytest.raises(ValueError, match=name):
            verify_checksums(summed)
    finally:
        path.write_bytes(whole)
    verify_checksums(summed)


def complaint(folder):
    """What `verify_checksums` says against a folder, or nothing."""
    try:
        verify_checksums(folder)
    except ValueError as error:
        return str(error)
    return ""


def test_flipped_bits_of_the_checksums_themselves_are_refused_or_harmless(summed):
    path = summed / CHECKSUMS
    whole = path.read_bytes()
    right = json.loads(whole)
    try:
        for bit in range(0, 8 * len(whole), 11):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            said = complaint(summed)
            assert str(summed) in said if said else json.loads(bytes(changed)) == right
        for damaged in (b"", whole[:-5], b"[]", b"3", b"null"):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=CHECKSUMS):
                verify_checksums(summed)
    finally:
        path.write_bytes(whole)


def test_a_missing_file_is_named_and_a_folder_without_checksums_passes(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"1")
    verify_checksums(tmp_path)
    write_checksums(tmp_path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ValueError, match=r"weights\.bin is missing"):
        verify_checksums(tmp_path)


@pytest.fixture
def dead():
    """The number of a process that was."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    return child.pid


def test_what_dead_writers_left_is_cleared_by_the_next_and_nothing_else(tmp_path, dead):
    for name in (f".target.writing-{dead}", ".target.writing-1", f".target.other.writing-{dead}", f".x.writing-{dead}"):
        (tmp_path / name).mkdir()
    (tmp_path / ".target").write_text("mine")
    with folder_aside(tmp_path / "target") as aside:
        (aside / "a").write_text("1")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"target", ".target", ".target.writing-1", f".target.other.writing-{dead}", f".x.writing-{dead}"}
    clear_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"target", ".target", ".target.writing-1"}
    clear_leftovers(tmp_path, all_are_dead=True)
    assert {path.name for path in tmp_path.iterdir()} == {"target", ".target"}


def test_a_folder_moved_away_for_one_that_never_came_is_put_back(tmp_path, dead):
    """Killed between the two renames, the worst moment of a replacement."""
    moved = tmp_path / f".target.replaced-{dead}"
    moved.mkdir()
    (moved / "a").write_text("old")
    clear_leftovers(tmp_path)
    assert snapshot(tmp_path) == {"target/a": b"old"}
    shutil.copytree(tmp_path / "target", moved)
    clear_leftovers(tmp_path)
    assert snapshot(tmp_path) == {"target/a": b"old"}, "and one whose replacement came is gone"


def test_known_checksums_are_not_computed_again(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    write_checksums(tmp_path, {"a": "said to be"})
    assert json.loads((tmp_path / CHECKSUMS).read_text()) == {"a": "said to be", "b": sha256_of(tmp_path / "b")}


def test_a_link_is_replaced_in_one_move(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "folder" / name).mkdir(parents=True)
        link_aside(tmp_path / "link", tmp_path / "folder" / name)
        assert os.readlink(tmp_path / "link") == f"folder/{name}", "relative, so that it can be moved"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link"]
