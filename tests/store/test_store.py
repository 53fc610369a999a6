"""The store: whole models by name, nothing half-finished, and one writer at a time among processes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmasos.errors import BadInputError, BusyError, ModelNotFoundError, NameTakenError, UsageError
from llmasos.paths import Home
from llmasos.store.manifests import Manifest, StoredFile, manifest_text
from llmasos.store.references import Name, parse_name
from llmasos.store.store import Damage, ModelStore, Pruned, incoming_lock

PROJECT = Path(__file__).parents[2]
X, Y = Name("", "x"), Name("org", "y", "1b")


@pytest.fixture
def store(home: Path) -> ModelStore:
    return ModelStore(Home(home))


def blob(store: ModelStore, content: bytes, role: str = "weights") -> StoredFile:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = store.home.incoming / "new"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    store.blobs.adopt(path, digest)
    return StoredFile(role, digest, len(content), "x.gguf")


def add(store: ModelStore, name: Name, *contents: bytes, source: str = "hf:org/x@abc") -> Manifest:
    with store.changing():
        return store.add(Manifest(name, tuple(blob(store, content) for content in contents), source))


def manifest_path(store: ModelStore, name: Name) -> Path:
    return store.home.manifests / (name.namespace or "_") / name.name / f"{name.tag}.json"


# Finding.


def test_an_empty_store_has_no_models(store: ModelStore, home: Path):
    assert (store.models(), store.find(X), store.broken()) == ([], None, [])
    assert not home.exists()


def test_a_model_is_found_by_its_name_in_any_case(store: ModelStore):
    model = add(store, Y, b"one", b"two")
    assert store.find(Y) == store.get("Org/Y:1B") == model
    assert [path.read_bytes() for path in store.paths(model)] == [b"one", b"two"]


def test_models_are_listed_by_name(store: ModelStore):
    for name in ("z", "a", "org/a", "a:1b"):
        add(store, parse_name(name), b"one")
    assert [str(model.name) for model in store.models()] == ["a:1b", "a", "z", "org/a"]


def test_a_missing_model_tells_which_names_look_like_it(store: ModelStore):
    add(store, Name("", "smollm2"), b"one")
    with pytest.raises(ModelNotFoundError, match="model `smolm2` is not installed") as error:
        store.get("smolm2")
    assert (error.value.near, error.value.hint, error.value.exit_code) == (("smollm2",), "did you mean `smollm2`?", 3)
    with pytest.raises(UsageError):
        store.get("no name")


def test_the_text_of_a_role_is_that_of_its_first_file(store: ModelStore):
    system, template = blob(store, "Sei höflich.".encode(), "system"), blob(store, b"\xff", "template")
    model = Manifest(X, (blob(store, b"one"), system, template), "ollama:x")
    assert store.text(model, "system") == "Sei höflich."
    assert (store.text(model, "template"), store.text(model, "license")) == ("\ufffd", None)


@pytest.mark.parametrize("damage", ["missing", "cut off", "a link to nothing"])
def test_a_model_that_is_not_whole_is_not_there_but_told_of(store: ModelStore, damage: str):
    model = add(store, X, b"one", b"two")
    path = store.paths(model)[1]
    path.unlink()
    if damage == "cut off":
        path.write_bytes(b"tw")
    elif damage == "a link to nothing":
        path.symlink_to("/nothing/there")
    assert (store.models(), store.find(X)) == ([], None)
    assert store.broken() == [(manifest_path(store, X), "files of `x` are missing or cut off")]
    assert store.held("X") == X
    with pytest.raises(ModelNotFoundError, match="model `x` is damaged: files of `x` are missing or cut off") as error:
        store.get("x")
    assert error.value.hint == "remove it with `llmasos rm x` and pull it again"


def test_a_damaged_model_is_near_a_name_too(store: ModelStore):
    store.paths(add(store, Name("", "smollm2"), b"one"))[0].unlink()
    with pytest.raises(ModelNotFoundError) as error:
        store.held("smolm2")
    assert error.value.near == ("smollm2",)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{}", b'{"format_version": 1, "name": "no name!"}'])
def test_a_manifest_that_can_not_be_read_hides_no_other_model(store: ModelStore, content: bytes):
    model = add(store, X, b"one")
    path = manifest_path(store, Y)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert (store.models(), store.find(Y)) == ([model], None)
    assert store.broken() == [(path, "it can't be read")]


# Adding, copying, removing.


def test_a_name_that_is_taken_is_not_given_to_another_model(store: ModelStore):
    first = add(store, X, b"one", source="hf:org/x@abc")
    with pytest.raises(NameTakenError, match="the name `x` belongs to a model from hf:org/x@abc") as error:
        add(store, X, b"two")
    assert error.value.hint == "give another with --as NAME, or remove it with `llmasos rm x`"
    assert store.find(X) == first


def test_a_name_is_given_away_where_that_is_asked_for_or_changes_nothing(store: ModelStore):
    add(store, X, b"one")
    same = add(store, X, b"one", source="ollama:library/x:latest")
    assert store.find(X) == same
    with store.changing():
        other = store.add(Manifest(X, (blob(store, b"two"),), "file:/y.gguf"), replace=True)
    assert store.find(X) == other


def test_a_copy_is_a_second_name_for_the_same_files(store: ModelStore):
    model = add(store, X, b"one")
    copy = store.copy(X, Y)
    assert (copy.name, copy.files, copy.source) == (Y, model.files, model.source)
    assert len(list(store.blobs.all())) == 1
    assert store.copy(X, X) == model
    with pytest.raises(ModelNotFoundError):
        store.copy(Name("", "missing"), X)
    add(store, Name("", "z"), b"other")
    with pytest.raises(NameTakenError):
        store.copy(X, Name("", "z"))


def test_removing_a_model_frees_the_files_that_no_other_uses(store: ModelStore):
    add(store, X, b"one", b"shared")
    add(store, Y, b"shared")
    assert store.remove(X) == len(b"one")
    assert [model.name for model in store.models()] == [Y]
    assert store.remove(Y) == len(b"shared")
    assert (list(store.blobs.all()), list(store.home.manifests.iterdir())) == ([], [])
    with pytest.raises(ModelNotFoundError):
        store.remove(X)


def test_a_broken_model_can_be_removed(store: ModelStore):
    model = add(store, X, b"one", b"two")
    store.paths(model)[0].unlink()
    manifest_path(store, Y).parent.mkdir(parents=True)
    manifest_path(store, Y).write_text("{")
    store.remove(X)
    store.remove(Y)
    assert (store.broken(), list(store.blobs.all())) == ([], [])


# Verifying.


def test_a_sound_model_is_verified_with_reports_that_rise_to_its_size(store: ModelStore):
    model, reports = add(store, X, b"one", b"three"), []
    assert store.verify(model, reports.append) == []
    assert reports == [3, 8]


def test_damage_is_told_by_file(store: ModelStore):
    model = add(store, X, b"one", b"two", b"three")
    store.paths(model)[0].unlink()
    store.paths(model)[1].write_bytes(b"tWo")
    assert store.verify(model) == [Damage(X, model.files[0], "missing"), Damage(X, model.files[1], "changed")]


# Pruning.


def test_pruning_deletes_what_no_model_uses(store: ModelStore):
    add(store, X, b"one")
    unused = blob(store, b"unused")
    would = store.prune(dry_run=True)
    assert (would.blobs, would.freed_bytes, store.blobs.has(unused.digest)) == ((unused.digest,), 6, True)
    assert store.prune() == would
    assert not store.blobs.has(unused.digest)
    assert store.find(X) is not None


def test_pruning_keeps_the_files_of_a_manifest_that_only_a_newer_version_reads(store: ModelStore):
    model = add(store, X, b"one")
    path = manifest_path(store, X)
    path.write_text(manifest_text(model).replace('"format_version": 1', '"format_version": 2'))
    assert store.find(X) is None
    assert store.prune().blobs == ()
    assert store.blobs.has(model.digest)


def test_pruning_deletes_nothing_while_a_manifest_can_not_be_looked_into(store: ModelStore):
    unused = blob(store, b"unused")
    manifest_path(store, X).mkdir(parents=True)
    with pytest.raises(BadInputError, match="can't read .* which may name files in use"):
        store.prune()
    assert store.blobs.has(unused.digest)


def partial(store: ModelStore, name: str, age: float = 0.0) -> Path:
    path = store.home.incoming / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"partial")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_pruning_deletes_downloads_that_nobody_goes_on_with(store: ModelStore):
    files = [partial(store, name) for name in ("abc.partial", "abc.json", "def/pip-x/unpacked/wheel")]
    assert store.prune() == Pruned((), tuple(sorted(files)), 3 * len(b"partial"))
    assert not any(path.exists() for path in files)
    assert list(store.home.root.glob("incoming/*")) == []


def test_pruning_keeps_what_a_running_pull_locks(store: ModelStore):
    ours = [partial(store, name) for name in ("abc.partial", "abc.json", "abc/pip-x/wheel", "abc/k.wheel.whl")]
    other = partial(store, "abcd.partial")
    with held_elsewhere(store, incoming_lock("abc")):
        assert store.prune(dry_run=True).partial_files == (other,)
        assert store.prune().partial_files == (other,)
    assert all(path.exists() for path in ours)
    assert len(store.prune().partial_files) == 4


def test_pruning_can_spare_young_downloads(store: ModelStore):
    old, young = partial(store, "old.partial", age=7200), partial(store, "young.partial")
    assert store.prune(older_than_seconds=3600).partial_files == (old,)
    assert young.exists()


def test_pruning_deletes_what_a_kill_left_of_files_being_written(store: ModelStore):
    add(store, X, b"one")
    torn = [store.home.blobs / f".sha256-{'a' * 64}.copy", manifest_path(store, X).with_name(".latest.json.k1ll3d")]
    for path in torn:
        path.write_bytes(b"half")
    assert sorted(store.prune().partial_files) == sorted(torn)
    assert store.find(X) is not None and not any(path.exists() for path in torn)


# Locks.


@contextmanager
def held_elsewhere(store: ModelStore, what: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until it is killed, or the block ends."""
    program = (
        "import sys, time\n"
        "from llmasos.store.store import ModelStore\n"
        f"with ModelStore().lock({what!r}):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=os.environ | {"LLMASOS_HOME": str(store.home.root)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_excludes_another_process_until_that_dies(store: ModelStore):
    waited: list[str] = []
    with held_elsewhere(store, "store") as process:
        with (
            pytest.raises(BusyError, match="another llmasos is busy with store") as error,
            store.lock("store", wait_seconds=0.1, waiting=lambda: waited.append("once")),
        ):
            pytest.fail("the lock was given twice")
        assert (error.value.exit_code, waited) == (75, ["once"])
        process.kill()
        with store.lock("store", wait_seconds=10):
            pass


def test_a_lock_excludes_another_thread(store: ModelStore):
    inside, most = [0], []

    def work(_: int) -> None:
        with store.lock("pull x"):
            inside[0] += 1
            most.append(inside[0])
            time.sleep(0.01)
            inside[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert most == [1] * 8


def test_locks_for_different_things_do_not_exclude_each_other(store: ModelStore):
    names = ["pull a", "pull-a", "pull a/b", "pull a-b", "x" * 300, "x" * 299, "größe 中文"]
    with store.lock(names[0]):
        for name in names[1:]:
            with store.lock(name, wait_seconds=0):
                pass
    assert all(len(os.fsencode(path.name)) < 200 for path in store.home.locks.iterdir())
