"""Artifacts: names are content, half-written ones do not exist, changed ones are found out."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipeline.artifacts import Artifacts
from pipeline.errors import BadInputError, CorruptArtifactError, UsageError
from pipeline.hashing import content_hash


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / "deep").mkdir(parents=True)
    (made / "a.txt").write_text("가람")
    (made / "deep" / "b.bin").write_bytes(bytes(range(256)))
    return made


def test_the_same_content_has_the_same_name(tmp_path: Path, folder: Path) -> None:
    first = Artifacts(tmp_path / "one").put(folder, "model")
    second = Artifacts(tmp_path / "two").put(folder, "model")
    assert first == second
    (folder / "a.txt").write_text("강")
    assert Artifacts(tmp_path / "one").put(folder, "model") != first


def test_what_is_got_is_what_was_put(tmp_path: Path, folder: Path) -> None:
    store = Artifacts(tmp_path / "store")
    name = store.put(folder, "model")
    got = store.get(name)
    assert (got / "a.txt").read_text() == "가람"
    assert (got / "deep" / "b.bin").read_bytes() == bytes(range(256))
    store.verify(name)
    assert store.names("model") == [name]
    assert store.names("vectors") == []


def test_the_stored_bytes_do_not_follow_the_source(tmp_path: Path, folder: Path) -> None:
    store = Artifacts(tmp_path / "store")
    name = store.put(folder, "model")
    (folder / "a.txt").write_text("changed")
    store.verify(name)


def test_a_changed_artifact_is_found_out(tmp_path: Path, folder: Path) -> None:
    store = Artifacts(tmp_path / "store")
    name = store.put(folder, "model")
    (store.get(name) / "a.txt").write_text("changed")
    with pytest.raises(CorruptArtifactError, match=name):
        store.verify(name)


def test_an_interrupted_put_leaves_no_name(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Artifacts(tmp_path / "store")

    def cut(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut)
        with pytest.raises(KeyboardInterrupt):
            store.put(folder, "model")
    assert store.names() == []
    assert store.put(folder, "model") in store.names()


def test_many_may_put_the_same_at_once(tmp_path: Path, folder: Path) -> None:
    names: list[str] = []
    threads = [
        threading.Thread(target=lambda: names.append(Artifacts(tmp_path / "store").put(folder, "model")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 8
    assert len(set(names)) == 1
    Artifacts(tmp_path / "store").verify(names[0])


def test_refusals_say_what_is_wrong(tmp_path: Path) -> None:
    store = Artifacts(tmp_path / "store")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="no file"):
        store.put(tmp_path / "empty", "model")
    with pytest.raises(UsageError):
        store.get("../../etc/passwd")
    with pytest.raises(BadInputError, match="pruned"):
        store.get("model-" + "0" * 20)


def test_a_remote_store_is_verified_and_cached(tmp_path: Path, folder: Path) -> None:
    url = f"memory://garam-{tmp_path.name}"
    name = Artifacts(url, cache=tmp_path / "here").put(folder, "model")
    elsewhere = Artifacts(url, cache=tmp_path / "there")
    assert elsewhere.has(name)
    assert (elsewhere.get(name) / "deep" / "b.bin").read_bytes() == bytes(range(256))
    import fsspec

    fsspec.filesystem("memory").pipe_file(f"/garam-{tmp_path.name}/{name}/a.txt", b"changed")
    with pytest.raises(CorruptArtifactError):
        Artifacts(url, cache=tmp_path / "third").get(name)


def test_a_recipe_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert content_hash({"a": 1, "b": "가"}) == content_hash({"b": "가", "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": 2})
