"""A store on this disk and one behind an S3 server give back the same."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from ensue.text.curation.curate import curate
from ensue.text.curation.passes import Done, Task
from ensue.text.curation.store import Store


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An empty bucket on an S3 server of this machine's."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("bucket")
    yield "s3://bucket"
    server.stop()
    patch.undo()


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "disk":
        return Store(tmp_path / "store")
    return Store(f"{request.getfixturevalue('bucket')}/store")


def test_files_come_back(store: Store) -> None:
    assert not store.exists("a/one")
    store.write("a/one", b"first")
    store.write("a/one", b"1")
    store.write("a/two", b"2")
    assert store.read("a/one") == b"1"
    assert store.exists("a")
    assert store.names("a") == ["one", "two"]
    assert store.names("nothing") == []
    with pytest.raises(FileNotFoundError):
        store.read("a/three")
    store.remove("a")
    assert not store.exists("a/one")


def test_a_folder_that_was_made_here_is_put_there_and_brought_back(store: Store, tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "below").mkdir(parents=True)
    (made / "figures.json").write_text("{}")
    (made / "below" / "rows").write_bytes(b"rows")
    store.take(made, "decided/01", last="figures.json")
    brought = store.bring("decided/01", tmp_path / "scratch")
    assert (brought / "below" / "rows").read_bytes() == b"rows"
    assert (brought / "figures.json").read_text() == "{}"


def test_a_store_that_was_sent_to_another_process(store: Store) -> None:
    store.write("x", b"x")
    assert pickle.loads(pickle.dumps(store)).read("x") == b"x"


class Here:
    """An engine in this process."""

    def run(self, tasks: list[Task]) -> Iterator[Done]:
        return (task.run() for task in tasks)


def test_a_corpus_read_from_and_made_on_s3_has_the_same_bytes(bucket: str, tmp_path: Path) -> None:
    import s3fs

    texts = tmp_path / "texts"
    texts.mkdir()
    for name in ("a.txt", "b.txt"):
        (texts / name).write_text(f"The text of {name}.", encoding="utf-8")
    s3fs.S3FileSystem().put(str(texts), f"{bucket}/texts", recursive=True)
    curate({"own": [f"{bucket}/texts"]}, [], f"{bucket}/corpus", engine=Here())
    curate({"own": [str(texts)]}, [], str(tmp_path / "corpus"), engine=Here())
    there, here = Store(f"{bucket}/corpus"), Store(tmp_path / "corpus")
    assert there.names("documents") == here.names("documents")
    for name in here.names("documents"):
        assert there.read(f"documents/{name}") == here.read(f"documents/{name}")
    assert there.read("corpus.json") == here.read("corpus.json")
    assert not there.exists("work")
