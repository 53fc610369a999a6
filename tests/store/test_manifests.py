"""Manifests: what is written comes back, and a file that holds anything else is refused, never believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmasos.errors import CorruptModelError
from llmasos.store.manifests import ROLES, Facts, Manifest, StoredFile, manifest_text, parse_manifest
from llmasos.store.references import Name

unhurried = settings(deadline=None)
DIGEST = f"sha256:{'ab' * 32}"
GOOD = Manifest(Name("", "x"), (StoredFile("weights", DIGEST, 10, "x.gguf"),), "hf:org/x@abc", created_at=1.0)

parts = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
names = st.builds(Name, st.just("") | parts, parts, parts)
any_text = st.text() | st.just("model\udcff.gguf")  # the name of a file that is no UTF-8
digests = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
files = st.builds(StoredFile, st.sampled_from(ROLES), digests, st.integers(0, 2**60), any_text)
facts = st.builds(
    Facts, st.text(), st.text(), st.none() | st.integers(), st.none() | st.integers(), st.booleans()
)  # fmt: skip
manifests = st.builds(
    Manifest,
    names,
    st.lists(files, min_size=1, max_size=3).map(tuple),
    any_text,
    facts,
    st.none() | st.text(),
    st.lists(st.text()).map(tuple),
    st.floats(0, 10**12),
)


@unhurried
@given(manifests)
def test_a_manifest_comes_back_from_its_text(manifest: Manifest):
    text = manifest_text(manifest)
    assert parse_manifest(text) == manifest
    assert parse_manifest(text.encode().decode()) == manifest


def test_what_a_manifest_knows_of_its_files():
    template = StoredFile("template", f"sha256:{'cd' * 32}", 5)
    shards = (StoredFile("weights", DIGEST, 10), StoredFile("weights", f"sha256:{'ef' * 32}", 20))
    manifest = Manifest(Name("", "x"), (template, *shards), "file:/x")
    assert (manifest.weights, manifest.of_role("template"), manifest.size) == (shards, (template,), 35)
    assert (manifest.digest, manifest.named(Name("", "y")).name) == (DIGEST, Name("", "y"))


def changed(**values: Any) -> str:
    return json.dumps(json.loads(manifest_text(GOOD)) | values)


FILE = {"role": "weights", "digest": DIGEST, "size": 10, "file_name": "x.gguf"}
GARBAGE = {
    "nothing": "",
    "no JSON": "{",
    "a list": "[]",
    "a number": "1",
    "nothing in it": "{}",
    "nesting without end": "[" * 100_000,
    "a newer format": changed(format_version=2),
    "no name": changed(name="../../etc"),
    "a name that is no text": changed(name=7),
    "no files": changed(files=[]),
    "files that are none": changed(files=7),
    "an unknown role": changed(files=[FILE | {"role": "virus"}]),
    "a role that is no text": changed(files=[FILE | {"role": ["weights"]}]),
    "a digest that leads elsewhere": changed(files=[FILE | {"digest": "../../etc/passwd"}]),
    "a digest that is no text": changed(files=[FILE | {"digest": 7}]),
    "a size that is no number": changed(files=[FILE | {"size": "10"}]),
    "a size below nothing": changed(files=[FILE | {"size": -1}]),
    "a field that no file has": changed(files=[FILE | {"colour": "red"}]),
    "a source that is no text": changed(source=None),
    "facts that are none": changed(facts=[]),
    "a count that is a text": changed(facts={"parameters": "many"}),
    "a context length that is a truth": changed(facts={"context_length": True}),
    "a licence that is a list": changed(license=["MIT"]),
    "a time beyond all times": changed(created_at=10**400),
}


@pytest.mark.parametrize("text", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_manifest_is_corrupt(text: str):
    with pytest.raises(CorruptModelError, match="a manifest can't be read"):
        parse_manifest(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(sorted(json.loads(manifest_text(GOOD))))


@unhurried
@given(st.dictionaries(keys, json_values, min_size=1, max_size=2))
@example({"files": [FILE | {"size": 1e400}]})
def test_a_manifest_with_any_values_in_it_is_sound_or_corrupt(values: dict[str, Any]):
    try:
        manifest = parse_manifest(changed(**values))
    except CorruptModelError:
        return
    assert parse_manifest(manifest_text(manifest)).files == manifest.files
    assert hash(manifest) is not None


@unhurried
@given(st.text())
def test_any_text_is_a_manifest_or_corrupt(text: str):
    with pytest.raises(CorruptModelError):
        parse_manifest(text)
