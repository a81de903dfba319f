"""A folder is one process's: others are refused by name, and a holder that dies, however it dies, holds it no more."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from ensue.core.lock import LOCK, Locked, locked

HOLDER = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from ensue.core.lock import locked
    with locked(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
""")


@pytest.fixture
def holder(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def refusal(folder):
    with pytest.raises(Locked) as caught, locked(folder):
        pytest.fail("two held it")
    return str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path, holder, number):
    for _ in range(2):
        said = refusal(tmp_path)
        assert f"process {holder.pid} is working in {tmp_path}" in said
        assert f"kill {holder.pid}" in said
    holder.send_signal(number)
    holder.wait()
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_a_second_holder_in_the_same_process_is_refused_too(tmp_path):
    with locked(tmp_path):
        said = []
        thread = threading.Thread(target=lambda: said.append(refusal(tmp_path)))
        thread.start()
        thread.join()
        assert f"process {os.getpid()} is working in" in said[0]
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("record", ["", '{"pid": 1', "[]", '{"pid": "x", "host": "y"}'])
def test_a_holder_that_has_not_said_who_it_is(tmp_path, holder, record):
    (tmp_path / LOCK).write_text(record)
    assert f"another process is working in {tmp_path}" in refusal(tmp_path)


def test_a_holder_on_another_machine_is_named_with_it(tmp_path, holder):
    (tmp_path / LOCK).write_text('{"pid": 7, "host": "elsewhere"}')
    assert "process 7 on elsewhere is working" in refusal(tmp_path)


def test_what_a_longer_record_left_behind_is_gone(tmp_path):
    (tmp_path / LOCK).write_text(json.dumps({"pid": 10**9, "host": "x" * 500}))
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
