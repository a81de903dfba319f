"""`ensue serve` as a process of its own, and what it refuses before it loads anything."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import torch

from ensue.generate.lm import LM
from ensue.model.weights import save_model
from ensue.serve.opening import enough_memory, open_model, read_bytes
from ensue.serve.running import listening
from ensue.serve.settings import Limits, read_key
from ensue.verbs.serving import Serve


@pytest.fixture(scope="module")
def folder(make_lm: Callable[..., LM]) -> Path:
    lm = make_lm(context=4096)
    save_model(lm.model, lm.path)
    return lm.path


def test_it_serves_and_ends_when_it_is_told_to(folder: Path) -> None:
    code = "import sys; from ensue.verbs.serving import Serve; Serve(sys.argv[1], port=0, name='fox').start()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        address = said.split(" is served at ")[1].split("/v1")[0]
        _until_up(address)
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            body = {"prompt": "The fox", "max_tokens": 1500, "ignore_end": True, "temperature": 0, "stream": True}
            with client.stream("POST", "/v1/completions", json=body) as answer:
                lines = answer.iter_lines()
                next(lines)
                process.send_signal(signal.SIGTERM)
                events = [line.removeprefix("data: ") for line in lines if line]
        assert events[-1] == "[DONE]"
        assert json.loads(events[-2])["choices"][0]["finish_reason"] == "length"
        assert process.wait(30) == -signal.SIGTERM
        assert "Traceback" not in process.stderr.read()


def test_the_studio_is_served_beside_the_api(folder: Path) -> None:
    pytest.importorskip("nicegui", reason="the studio needs nicegui")
    code = "import sys; from ensue.verbs.serving import Serve; Serve(sys.argv[1], port=0, studio=True).start()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split(" is served at ")[1].split("/v1")[0]
        _until_up(address)
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            page = client.get("/studio/")
            assert page.status_code == 200
            assert "Ensue" in page.text
            assert client.get("/v1/models").json()["data"][0]["id"] == folder.name
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _until_up(address: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            assert httpx.get(f"{address}/readyz", trust_env=False).status_code == 200
            return
        except httpx.ConnectError:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_what_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENSUE_API_KEY", raising=False)
    with pytest.raises(ValueError, match="API key is needed"):
        Serve("nowhere", host="0.0.0.0").start()
    (tmp_path / "key").write_text(" \n")
    with pytest.raises(ValueError, match="empty"):
        Serve("nowhere", api_key_file=tmp_path / "key").start()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} cannot be listened at"):
            Serve("nowhere", port=port).start()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Serve("nowhere", port=0).start()
    (tmp_path / "key").write_text("secret")
    with pytest.raises(ValueError, match="a browser has no key to send"):
        Serve("nowhere", api_key_file=tmp_path / "key", studio=True).start()
    with pytest.raises(ValueError, match="more than 0"):
        Limits(seconds=0)
    with pytest.raises(ValueError, match="longer queue"):
        Limits(queue=3)
    (tmp_path / "key").write_text("sk-fox\n")
    assert read_key(tmp_path / "key") == "sk-fox"


def test_a_socket_is_bound_before_anything_is_loaded() -> None:
    with listening("127.0.0.1", 0) as bound:
        assert bound.getsockname()[1] > 0


def test_a_device_that_is_full() -> None:
    with pytest.raises(ValueError, match="another server"), enough_memory("fox"):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_amounts_of_memory(folder: Path) -> None:
    assert [read_bytes(text) for text in ("512M", "1.5G", "4096", "2 GiB", "1k")] == [
        512 << 20,
        3 << 29,
        4096,
        2 << 30,
        1024,
    ]
    with pytest.raises(ValueError, match="512M"):
        read_bytes("much")
    lm, settings = open_model(str(folder), device="cpu", most=2)
    assert settings.cache_bytes == 2 * 2 * lm.config.layers * lm.config.width * 4 * lm.config.context
