"""Models from an address: which files it means, and what is kept of the address."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from doubles.hub import Fault, StandInHub
from llmasos.errors import AccessDeniedError, BadInputError, ModelNotFoundError, NetworkError
from llmasos.sources import download
from llmasos.sources.source import Listing, RemoteFile
from llmasos.sources.url import UrlSource
from llmasos.store.references import parse_reference

SOURCE = UrlSource()


def listing(address: str) -> Listing:
    return SOURCE.list_files(parse_reference(address))


# Listing asks nobody.


def test_an_address_is_one_file():
    address = "https://host/a/x.gguf"
    assert listing(address) == Listing(address, (RemoteFile("weights", "x.gguf", address),))


def test_secrets_are_sent_but_not_kept():
    address = "https://me:secret@host/x.gguf?token=secret"
    found = listing(address)
    assert found.files == (RemoteFile("weights", "x.gguf", address),)
    assert found.source.startswith("https://host/x.gguf#") and "secret" not in found.source
    assert found.source != listing("https://host/x.gguf?token=other").source


def test_a_part_of_a_split_model_means_all_of_it():
    files = listing("https://host/my%20models/x-00002-of-00002.gguf?download=true").files
    assert [file.location for file in files] == [
        "https://host/my%20models/x-00001-of-00002.gguf?download=true",
        "https://host/my%20models/x-00002-of-00002.gguf?download=true",
    ]
    assert [file.file_name for file in files] == ["x-00001-of-00002.gguf", "x-00002-of-00002.gguf"]


def test_only_the_last_part_of_the_address_is_the_file():
    files = listing("https://host/x-00001-of-00002.gguf/my%20x-00001-of-00002.GGUF").files
    assert [file.location for file in files] == [
        "https://host/x-00001-of-00002.gguf/my%20x-00001-of-00002.GGUF",
        "https://host/x-00001-of-00002.gguf/my%20x-00002-of-00002.GGUF",
    ]


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("https://host/models/", "https://host/models/ is not a GGUF file by its name"),
        ("https://host/model.safetensors?x=y.gguf", "https://host/model.safetensors is not a GGUF file by its name"),
        ("https://host/a%2F..%2F..%2Fx.gguf", "leads out of the model's folder"),
        ("https://host/a%00x.gguf", "leads out of the model's folder|is not a GGUF file"),
        ("https://host/x-00001-of-00000.gguf", "is no part of 0"),
        ("https://host/x-00003-of-00002.gguf", "is no part of 2"),
    ],
)
def test_an_address_that_is_no_file_of_a_model_is_refused(address: str, complaint: str):
    with pytest.raises(BadInputError, match=complaint):
        listing(address)


# Fetching.


def test_every_part_is_fetched(hub: StandInHub, incoming: Path):
    contents = {f"x-0000{index}-of-00002.gguf": b"GGUF" + bytes([index]) * 1000 for index in (1, 2)}
    for name, content in contents.items():
        hub.add_file(f"my models/{name}", content)
    files = listing(f"{hub.url}/files/my%20models/x-00001-of-00002.gguf").files
    for file in files:
        fetched = SOURCE.fetch(file, incoming, lambda done: None)
        content = contents[file.file_name]
        assert (fetched.path.read_bytes(), fetched.size, fetched.is_ours) == (content, len(content), True)
        assert fetched.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert fetched.path == incoming / f"{file.key}.partial"


def test_a_missing_file_is_not_found(hub: StandInHub, incoming: Path):
    [file] = listing(f"{hub.url}/files/missing.gguf").files
    with pytest.raises(ModelNotFoundError, match=r"missing\.gguf is not there \(404\)"):
        SOURCE.fetch(file, incoming, lambda done: None)


def test_a_refusal_is_no_missing_file(hub: StandInHub, incoming: Path):
    hub.add_file("x.gguf", b"GGUF")
    hub.fault("x.gguf", Fault(status=403))
    [file] = listing(f"{hub.url}/files/x.gguf").files
    with pytest.raises(AccessDeniedError, match=r"access to x\.gguf is refused \(403\)"):
        SOURCE.fetch(file, incoming, lambda done: None)


def test_a_server_that_is_not_there_is_a_network_error_without_secrets(incoming: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download, "MOST_TRIES", 2)
    [file] = listing("http://me:secret@127.0.0.1:9/x.gguf?token=secret").files
    with pytest.raises(NetworkError) as error:
        UrlSource(hurried=True).fetch(file, incoming, lambda done: None)
    assert "secret" not in f"{error.value.message} {error.value.hint}"
    assert error.value.exit_code == 75
