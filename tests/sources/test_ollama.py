"""An Ollama registry as a source: the weights and all that belongs to them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from doubles.hub import Fault, StandInHub
from llmasos.errors import AccessDeniedError, BadInputError, ModelNotFoundError, NetworkError
from llmasos.sources.ollama import OllamaSource, parse_manifest
from llmasos.sources.source import Fetched, Listing, RemoteFile
from llmasos.store.references import parse_reference

WEIGHTS = b"GGUF" + bytes(range(256)) * 400
DIGEST = f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"


def list_files(text: str) -> Listing:
    return OllamaSource().list_files(parse_reference(text))


def fetch(file: RemoteFile, incoming: Path) -> Fetched:
    return OllamaSource().fetch(file, incoming, lambda done: None)


def layer(kind: str, digest: str = DIGEST, size: object = len(WEIGHTS)) -> dict[str, object]:
    return {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest, "size": size}


def parse(*layers: object) -> tuple[RemoteFile, ...]:
    return parse_manifest(json.dumps({"layers": layers}).encode(), "tiny:latest", lambda digest: digest)


def test_a_model_is_listed_with_all_that_belongs_to_it(hub: StandInHub):
    hub.add_ollama(
        "library/tiny",
        "1b",
        model=WEIGHTS,
        projector=b"GGUF projector",
        adapter=b"GGUF adapter",
        template="{{ .Prompt }}",
        system="Be brief.",
        params={"stop": ["<|end|>"]},
        messages=[{"role": "user", "content": "Hello"}],
        license=["Apache-2.0", "and another"],
    )
    files = list_files("ollama:tiny:1b").files
    assert [(file.role, file.file_name) for file in files] == [
        ("weights", "tiny-1b.gguf"),
        ("projector", "tiny-1b-projector.gguf"),
        ("adapter", "tiny-1b-adapter.gguf"),
        ("template", "tiny-1b-template.txt"),
        ("system", "tiny-1b-system.txt"),
        ("license", "tiny-1b-license.txt"),
        ("license", "tiny-1b-license-2.txt"),
        ("parameters", "tiny-1b-parameters.json"),
        ("messages", "tiny-1b-messages.json"),
    ]
    assert (files[0].digest, files[0].size) == (DIGEST, len(WEIGHTS))
    assert files[0].location == f"{hub.url}/v2/library/tiny/blobs/{DIGEST}"


def test_the_source_names_the_manifest_as_ollama_does(hub: StandInHub):
    manifest = hub.add_ollama("library/tiny", model=WEIGHTS)
    assert list_files("ollama:tiny").source == f"ollama:library/tiny:latest@sha256:{manifest[:12]}"


def test_people_have_namespaces(hub: StandInHub):
    manifest = hub.add_ollama("ann/tiny", "q8", model=WEIGHTS)
    assert list_files("ollama:ann/tiny:q8").source == f"ollama:ann/tiny:q8@sha256:{manifest[:12]}"


def test_files_are_fetched_and_checked(hub: StandInHub, incoming: Path):
    hub.add_ollama("library/tiny", model=WEIGHTS, system="Be brief.")
    weights, system = list_files("ollama:tiny").files
    assert fetch(weights, incoming).path.read_bytes() == WEIGHTS
    assert fetch(system, incoming).path.read_text() == "Be brief."
    hub.fault("/cdn/", Fault(flip_byte_at=3))
    (incoming / f"{DIGEST.removeprefix('sha256:')}.partial").unlink()
    with pytest.raises(BadInputError, match="not what was promised"):
        fetch(weights, incoming)


def test_the_old_name_of_a_template_is_known():
    assert [file.role for file in parse(layer("model"), layer("prompt"))] == ["weights", "template"]


def test_layers_of_other_types_are_ignored():
    other = {"mediaType": "application/vnd.other", "digest": DIGEST, "size": 1}
    assert [file.role for file in parse(layer("embed"), layer("model"), layer("news"), other)] == ["weights"]


def test_a_model_in_single_tensors_is_refused():
    with pytest.raises(BadInputError, match="tiny:latest is stored as single tensors"):
        parse(layer("tensor"), layer("tensor"))


def test_a_model_without_weights_is_refused():
    with pytest.raises(BadInputError, match="holds no weights; it may run in Ollama's cloud only"):
        parse(layer("license"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"layers": [1]}',
        json.dumps({"layers": [layer("model", digest="sha256:../../etc")]}).encode(),
        json.dumps({"layers": [layer("model", size="many")]}).encode(),
        json.dumps({"layers": [layer("model", size=-1)]}).encode(),
    ],
)
def test_a_broken_manifest_is_refused(content: bytes):
    with pytest.raises(BadInputError, match="the manifest of tiny can't be read"):
        parse_manifest(content, "tiny", lambda digest: digest)


def test_an_unknown_model(hub: StandInHub):
    with pytest.raises(ModelNotFoundError, match="has no model none:latest") as caught:
        list_files("ollama:none")
    assert caught.value.hint == "check name and tag on https://ollama.com/library"


def test_a_registry_that_wants_a_login(hub: StandInHub):
    hub.fault("/v2/", Fault(status=401))
    with pytest.raises(AccessDeniedError, match="asks for a login to show ann/tiny:latest"):
        list_files("ollama:ann/tiny")


def test_a_registry_that_fails_once_is_asked_again(hub: StandInHub):
    hub.add_ollama("library/tiny", model=WEIGHTS)
    hub.fault("/manifests/", Fault(status=503))
    assert list_files("ollama:tiny").files[0].digest == DIGEST


def test_a_registry_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LLMASOS_OLLAMA_REGISTRY", "http://127.0.0.1:9")
    with pytest.raises(NetworkError, match="can't be reached"):
        list_files("ollama:tiny")


@pytest.mark.parametrize("address", ["http://127.0.0.1:port", "registry.ollama.ai"])
def test_a_registry_whose_address_is_none(monkeypatch: pytest.MonkeyPatch, address: str):
    monkeypatch.setenv("LLMASOS_OLLAMA_REGISTRY", address)
    with pytest.raises(BadInputError, match=f"`{address}` is no address of a server"):
        list_files("ollama:tiny")


def test_what_ollama_holds_here_is_used_where_it_is(
    hub: StandInHub, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    blob = tmp_path / "ollama" / "blobs" / DIGEST.replace(":", "-")
    blob.parent.mkdir(parents=True)
    blob.write_bytes(WEIGHTS)
    hub.add_ollama("library/tiny", model=WEIGHTS)
    fetched = fetch(list_files("ollama:tiny").files[0], incoming)
    assert fetched == Fetched(blob, DIGEST, len(WEIGHTS), is_ours=False)
    assert hub.sent_bytes("/blobs/") + hub.sent_bytes("/cdn/") == 0
