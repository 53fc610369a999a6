"""Pulling: from a reference to a whole model in the store, or to an error and nothing there."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Event

import pytest

from doubles.hub import Fault, StandInHub
from llmasos.errors import BadInputError, ModelNotFoundError, NameTakenError, NetworkError, UsageError
from llmasos.progress import Progress
from llmasos.pull import pull
from llmasos.sources import download
from llmasos.store import catalogue
from llmasos.store.manifests import Manifest, StoredFile
from llmasos.store.references import Name
from llmasos.store.store import ModelStore

PROJECT = Path(__file__).parents[1]


class Recorder(Progress):
    """Keeps what a person would have been shown; `when_noted` happens at each note."""

    def __init__(self, when_noted: Callable[[], object] = lambda: None) -> None:
        self.lines: list[str] = []
        self.done: list[int] = []
        self._when_noted = when_noted

    def start(self, label: str, total: int | None) -> None:
        self.lines.append(label)

    def update(self, done: int) -> None:
        self.done.append(done)

    def finish(self) -> None:
        self.lines.append("finished")

    def note(self, text: str) -> None:
        self.lines.append(text)
        self._when_noted()


@pytest.fixture
def store() -> ModelStore:
    return ModelStore()


@pytest.fixture
def hub(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """Serves the tiny model as a plain file; failures are given up at once."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "MOST_TRIES", 1)
    with StandInHub() as hub:
        hub.add_file("tiny.gguf", tiny_model)
        yield hub


@pytest.fixture
def url(hub: StandInHub) -> str:
    return f"{hub.url}/files/tiny.gguf"


@pytest.fixture
def digest(tiny_model: Path) -> str:
    return f"sha256:{hashlib.sha256(tiny_model.read_bytes()).hexdigest()}"


@pytest.fixture
def write_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A catalogue of one model, `toy`, with these sources."""

    def write(*sources: str) -> None:
        listed = ", ".join(f"{{ {source} }}" for source in sources)
        path = tmp_path / "catalogue.toml"
        path.write_text(f'[toy]\ndescription = "x"\nkind = "chat"\nlicense = "MIT"\nsources = [{listed}]\n')
        monkeypatch.setattr(catalogue, "CATALOGUE", path)
        catalogue.read_catalogue.cache_clear()

    yield write
    catalogue.read_catalogue.cache_clear()


def nothing_is_stored(store: ModelStore) -> bool:
    return store.models() == [] and not list(store.blobs.all()) and not list(store.home.manifests.rglob("*.json"))


# Files on this disk.


def test_a_file_is_linked_and_described(store: ModelStore, tiny_model: Path, digest: str):
    progress = Recorder()
    model = pull(str(tiny_model), progress=progress)
    assert store.models() == [model]
    assert (str(model.name), model.source, model.license) == ("tiny", f"file:{tiny_model}", "apache-2.0")
    assert model.files == (StoredFile("weights", digest, tiny_model.stat().st_size, "tiny.gguf"),)
    facts = model.facts
    assert (facts.architecture, facts.quantization, facts.context_length) == ("llama", "F32", 256)
    assert facts.has_template and facts.parameters is not None and facts.parameters > 100_000
    assert store.paths(model)[0].samefile(tiny_model)
    assert "trying the file, since nobody vouches for it" in progress.lines
    assert progress.done == sorted(progress.done)


@pytest.mark.parametrize("asked", ["", "tiny.gguf"])
def test_the_same_path_again_is_a_no_op(tmp_path: Path, tiny_model: Path, asked: str):
    (tmp_path / "models").mkdir()
    os.link(tiny_model, tmp_path / "models" / "tiny.gguf")
    first, again = Recorder(), Recorder()
    model = pull(str(tmp_path / "models" / asked), progress=first)
    assert pull(str(tmp_path / "models" / asked), progress=again) == model
    assert (first.lines != [], again.lines) == (True, [])


def test_a_file_name_need_not_be_text(store: ModelStore, tmp_path: Path, tiny_model: Path):
    path = tmp_path / os.fsdecode(b"m\xff.gguf")
    os.link(tiny_model, path)
    model = pull(str(path), name="odd")
    assert (store.get("odd"), model.files[0].file_name) == (model, path.name)


def test_a_licence_that_is_no_text_is_left_out(tmp_path: Path, tiny_model: Path):
    text, numbers = struct.pack("<IQ10s", 8, 10, b"apache-2.0"), struct.pack("<IIQ6x", 9, 0, 6)
    (tmp_path / "x.gguf").write_bytes(tiny_model.read_bytes().replace(text, numbers))
    assert pull(str(tmp_path / "x.gguf")).license is None


# Names.


def test_a_model_gets_the_name_that_is_asked_for(store: ModelStore, tiny_model: Path):
    model = pull(str(tiny_model), name="My/Toy:F32")
    assert store.get("my/toy:f32") == model
    with pytest.raises(UsageError, match="is not a name"):
        pull(str(tiny_model), name="no name")


def test_a_name_that_is_taken_by_another_source_stays_with_it(store: ModelStore, tiny_model: Path, url: str):
    model = pull(str(tiny_model))
    with pytest.raises(NameTakenError, match=f"the name `tiny` belongs to a model from file:{tiny_model}") as error:
        pull(url)
    assert "--as NAME" in str(error.value.hint)
    assert store.models() == [model]


def test_a_stored_name_that_no_catalogue_knows_is_there(store: ModelStore, tiny_model: Path):
    model = pull(str(tiny_model), name="mine")
    assert pull("mine", offline=True) == model
    assert pull("mine", name="yours").files == model.files
    assert [str(each.name) for each in store.models()] == ["mine", "yours"]


def test_an_unknown_name_tells_which_look_like_it(store: ModelStore, tiny_model: Path):
    pull(str(tiny_model), name="smollm3")
    with pytest.raises(ModelNotFoundError, match="there is no model `smolm2`") as error:
        pull("smolm2")
    assert {"smollm2", "smollm3"} <= set(error.value.near)


COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB_SOURCE = f"hf:Org/X:Q4_K_M@{COMMIT}"


@pytest.mark.parametrize(
    ("source", "asked", "is_same"),
    [
        (HUB_SOURCE, "org/x", True),
        (HUB_SOURCE, "hf:Org/X:q4_k_m", True),
        (HUB_SOURCE, "hf:org/x@main", True),
        (HUB_SOURCE, f"hf:org/x@{COMMIT[:8]}", True),
        (HUB_SOURCE, f"hf:org/x@{COMMIT[::-1]}", False),
        (HUB_SOURCE, "hf:org/x:Q8_0", False),
        ("pypi:llm-x==1.0", "pypi:llm-x", True),
        ("ollama:library/x:latest@sha256:1234", "ollama:x", True),
        ("ollama:library/x:latest@sha256:1234", "ollama:x:1b", False),
        ("https://host/x.gguf", "https://me:secret@host/x.gguf", True),
        ("https://host/x.gguf", "https://host/x.gguf?id=2", False),
        ("https://host/x.gguf", "https://host/X.gguf", False),
        ("file:/a/x.gguf", "/a/X.gguf", False),
    ],
)
def test_a_stored_model_serves_whoever_asks_for_its_source_with_less_said(
    store: ModelStore, source: str, asked: str, is_same: bool
):
    path = store.home.incoming / "x"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    file = StoredFile("weights", f"sha256:{hashlib.sha256(b'x').hexdigest()}", 1)
    store.blobs.adopt(path, file.digest)
    model = store.add(Manifest(Name("", "x"), (file,), source))
    with nullcontext() if is_same else pytest.raises(NameTakenError):
        assert pull(asked, name="x", offline=True) == model


# Files from elsewhere.


def test_a_file_is_fetched_once_and_nothing_is_left_of_the_fetching(hub: StandInHub, url: str, store: ModelStore):
    progress = Recorder()
    model = pull(f"{url}?token=secret", progress=progress)
    assert (str(model.name), store.models()) == ("tiny", [model])
    assert model.source.startswith(f"{url}#") and "secret" not in model.source
    assert list(store.home.incoming.iterdir()) == []
    assert progress.lines[:2] == [f"pulling tiny from {url}", "finished"]
    hub.reset_requests()
    assert pull(f"{url}?token=secret") == pull(f"{url}?token=secret", offline=True) == model
    assert hub.requests == []


def test_offline_only_what_is_here_can_be_had(hub: StandInHub, url: str, tiny_model: Path):
    with pytest.raises(ModelNotFoundError, match="the network is off limits") as error:
        pull(url, offline=True)
    assert (error.value.exit_code, "--offline" in str(error.value.hint)) == (3, True)
    assert hub.requests == []
    assert pull(str(tiny_model), offline=True).source == f"file:{tiny_model}"


@pytest.mark.parametrize("content", [b"<html>sign in</html>" * 9, b"GGUF\x03\0\0\0" + b"\xff" * 40])
def test_a_corrupt_file_leaves_nothing(hub: StandInHub, store: ModelStore, content: bytes):
    hub.add_file("corrupt.gguf", content)
    with pytest.raises(BadInputError, match="is not a usable GGUF file"):
        pull(f"{hub.url}/files/corrupt.gguf")
    assert nothing_is_stored(store)
    assert list(store.home.incoming.iterdir()) == []


def test_a_file_that_the_engine_refuses_is_not_stored(hub: StandInHub, store: ModelStore, tiny_model: Path):
    hub.add_file("strange.gguf", tiny_model.read_bytes().replace(b"llama", b"lIama"))
    with pytest.raises(BadInputError, match="can't be used: .*lIama"):
        pull(f"{hub.url}/files/strange.gguf")
    assert nothing_is_stored(store)


# The catalogue's sources.


def test_a_digest_that_is_pinned_vouches_for_the_file(
    hub: StandInHub, url: str, digest: str, store: ModelStore, write_catalogue: Callable[..., None]
):
    write_catalogue(f'reference = "{url}", digest = "{digest}", file = "known.gguf"')
    progress = Recorder()
    model = pull("toy", progress=progress)
    assert (str(model.name), model.license, model.files[0].file_name) == ("toy", "MIT", "known.gguf")
    assert progress.lines == [f"pulling toy from {url}", "finished"]


@pytest.mark.parametrize("pinned", [f'digest = "sha256:{"0" * 64}"', 'digest = "{digest}", size = 7'])
def test_a_file_that_is_not_what_was_pinned_is_refused_and_not_kept(
    hub: StandInHub, url: str, digest: str, store: ModelStore, write_catalogue: Callable[..., None], pinned: str
):
    other = f'reference = "{hub.url}/files/other.gguf"'
    write_catalogue(f'reference = "{url}", {pinned.format(digest=digest)}', other)
    with pytest.raises(BadInputError) as error:
        pull("toy")
    assert error.value.exit_code == 5
    assert nothing_is_stored(store)
    assert list(store.home.incoming.glob("*.partial")) == []
    assert not [request for request in hub.requests if "other" in request.path]  # damage is told, not gone around


@pytest.mark.parametrize(
    "first", ["http://127.0.0.1:9/tiny.gguf", "{hub}/files/missing.gguf", "{hub}/files/gated.gguf"]
)
def test_the_second_source_serves_when_the_first_does_not(
    hub: StandInHub, url: str, write_catalogue: Callable[..., None], first: str
):
    hub.fault("gated.gguf", Fault(status=403))
    first = first.format(hub=hub.url)
    write_catalogue(f'reference = "{first}", quantization = "Q4_K_M"', f'reference = "{url}", quantization = "F32"')
    progress = Recorder()
    assert pull("toy", progress=progress).source == url
    assert any(line.startswith(f"{first}: ") and line.endswith(f"; trying {url}") for line in progress.lines)
    assert progress.lines[-1] == "toy is F32 here; at its first source it is Q4_K_M"


def test_when_no_source_serves_a_network_that_fails_is_the_reason(
    hub: StandInHub, store: ModelStore, write_catalogue: Callable[..., None]
):
    write_catalogue('reference = "http://127.0.0.1:9/x.gguf"', f'reference = "{hub.url}/files/missing.gguf"')
    with pytest.raises(NetworkError) as error:
        pull("toy")
    assert error.value.exit_code == 75
    write_catalogue(f'reference = "{hub.url}/files/missing.gguf"')
    with pytest.raises(ModelNotFoundError):
        pull("toy")
    assert nothing_is_stored(store)


# Several at once, and kills.


def test_two_threads_fetch_a_file_once(hub: StandInHub, url: str, tiny_model: Path):
    is_tried, waits = Event(), Event()
    waiting = Recorder(waits.set)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(pull, url, progress=Recorder(lambda: (is_tried.set(), waits.wait(60))))
        assert is_tried.wait(60)
        second = pool.submit(pull, url, progress=waiting)
        assert first.result() == second.result()
    assert hub.sent_bytes("tiny.gguf") == tiny_model.stat().st_size
    assert waiting.lines == ["another llmasos is pulling tiny; waiting for it"]


def test_two_names_for_one_file_wait_for_each_other(
    hub: StandInHub, url: str, digest: str, store: ModelStore, write_catalogue: Callable[..., None]
):
    write_catalogue(f'reference = "{url}", digest = "{digest}"')
    with ThreadPoolExecutor(2) as pool:
        models = list(pool.map(lambda name: pull("toy", name=name), ["a", "b"]))
    assert store.models() == models
    assert len([request for request in hub.requests if request.method == "GET"]) == 1


def start_pull(text: str) -> subprocess.Popen[bytes]:
    program = f"from llmasos.pull import pull; pull({text!r})"
    return subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT)


def test_two_processes_fetch_a_file_once_and_what_a_killed_one_left_is_gone_on_with(
    hub: StandInHub, url: str, tiny_model: Path, store: ModelStore
):
    hub.fault("tiny.gguf", Fault(stall_seconds=60, stall_after=300_000))
    killed = start_pull(url)
    while not any(path.stat().st_size >= 200_000 for path in store.home.incoming.glob("*.partial")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    [left] = store.home.incoming.glob("*.partial")
    begin = f"bytes={left.stat().st_size}-"
    assert nothing_is_stored(store)
    both = [start_pull(url), start_pull(url)]
    assert [each.wait() for each in both] == [0, 0]
    assert len(store.models()) == 1
    assert [request.range for request in hub.requests] == [None, begin]


def test_what_was_stored_without_its_name_before_a_kill_is_not_fetched_again(
    hub: StandInHub, url: str, digest: str, store: ModelStore, write_catalogue: Callable[..., None]
):
    write_catalogue(f'reference = "{url}", digest = "{digest}"')
    model = pull("toy")
    (store.home.manifests / "_" / "toy" / "latest.json").unlink()
    hub.reset_requests()
    assert pull("toy").files == model.files
    assert hub.requests == []


def test_a_model_whose_file_was_cut_off_is_healed(
    url: str, digest: str, store: ModelStore, write_catalogue: Callable[..., None]
):
    write_catalogue(f'reference = "{url}", digest = "{digest}"')
    model = pull("toy")
    store.blobs.path(digest).write_bytes(b"GGUF")
    assert store.find(model.name) is None
    assert pull("toy").files == model.files
    assert store.verify(store.get("toy")) == []


def test_a_prune_takes_nothing_from_a_running_pull(url: str, store: ModelStore):
    pruned = []
    model = pull(url, progress=Recorder(lambda: pruned.append(store.prune())))
    assert pruned[0].partial_files == ()
    assert store.models() == [model]


def test_a_file_that_a_running_pull_counts_on_outlives_the_model_it_belonged_to(
    url: str, digest: str, store: ModelStore, write_catalogue: Callable[..., None]
):
    write_catalogue(f'reference = "{url}", digest = "{digest}"')
    pull("toy")

    class Remover(Recorder):
        def finish(self) -> None:
            assert (store.remove(Name("", "toy")), store.prune().blobs) == (0, ())

    model = pull("toy", name="other", progress=Remover())
    assert store.models() == [model]
    assert (store.remove(model.name) > 0, list(store.blobs.all())) == (True, [])
