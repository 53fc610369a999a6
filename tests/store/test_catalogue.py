"""The catalogue: each entry can be used as it stands, and each name means one model."""

from __future__ import annotations

from collections import Counter

import pytest

from llmasos.errors import UsageError
from llmasos.formats.gguf import FILE_TYPES
from llmasos.store.blobs import DIGEST
from llmasos.store.catalogue import CatalogueEntry, find_entry, near_names, read_catalogue
from llmasos.store.references import parse_name

ENTRIES = list(read_catalogue().values())
KINDS = {"text", "chat", "embedding", "ranking", "vision"}

each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


@each_entry
def test_an_entry_says_what_it_is(entry: CatalogueEntry):
    assert entry.kind in KINDS
    assert entry.description and entry.license
    assert (entry.parameters or 0) > 10**6 and (entry.context_length or 0) >= 256


@each_entry
def test_a_name_and_its_aliases_are_names_in_their_shortest_form(entry: CatalogueEntry):
    names = [entry.name, *entry.aliases]
    assert [str(parse_name(name)) for name in names] == names


def test_no_name_means_two_models():
    names = Counter(name for entry in ENTRIES for name in (entry.name, *entry.aliases))
    assert [name for name, count in names.items() if count > 1] == []


@each_entry
def test_every_source_can_be_asked(entry: CatalogueEntry):
    assert entry.sources
    assert {source.reference.scheme for source in entry.sources} <= {"hf", "ollama", "pypi", "url"}
    assert len({source.reference for source in entry.sources}) == len(entry.sources)


@each_entry
def test_what_is_known_of_a_file_is_well_formed(entry: CatalogueEntry):
    for source in entry.sources:
        assert source.digest is None or DIGEST.fullmatch(source.digest)
        assert source.size is None or source.size > 10**6
        assert source.quantization is None or source.quantization in {*FILE_TYPES.values(), "Q4_K_XL", "MXFP4"}
        assert source.file is None or source.file.endswith(".gguf")
        if source.reference.quantization:
            assert source.quantization == source.reference.quantization


@each_entry
def test_one_digest_has_one_size(entry: CatalogueEntry):
    sizes = {(source.digest, source.size) for source in entry.sources if source.digest}
    assert len(sizes) == len({digest for digest, _ in sizes})


def test_every_package_of_a_package_index_is_pinned_to_a_version_and_a_digest():
    packages = [source for entry in ENTRIES for source in entry.sources if source.reference.scheme == "pypi"]
    assert packages
    assert all(source.reference.version and source.digest for source in packages)


def test_an_entry_is_found_by_name_alias_and_latest_in_any_case():
    smollm2 = read_catalogue()["smollm2"]
    for name in ("smollm2", "SmolLM2", "smollm2:latest", *smollm2.aliases):
        assert find_entry(name) == smollm2
    assert find_entry("smollm2:no-such-size") is None
    with pytest.raises(UsageError):
        find_entry("no name")


def test_near_names_are_those_that_look_alike_the_likeliest_first():
    assert near_names("smolm2", read_catalogue())[0] == "smollm2"
    assert near_names("QWEN3", ["Qwen3", "llama3.2"]) == ["Qwen3"]
    assert near_names("completely-else", ["qwen3", "llama3.2"]) == []
    assert len(near_names("a", ["a", "a1", "a2", "a3", "a4"])) <= 3
