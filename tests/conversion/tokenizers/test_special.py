"""Special tokens and chat templates: as llama.cpp's own converter finds them, and never a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmasos.conversion.tokenizers.special import special_metadata
from llmasos.conversion.tokenizers.tokenizer_files import read_tokenizer_files
from llmasos.errors import BadInputError

BOS, EOS, UNK = "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.unknown_token_id"
SEP, PAD, MASK = "tokenizer.ggml.seperator_token_id", "tokenizer.ggml.padding_token_id", "tokenizer.ggml.mask_token_id"
EOT, EOM = "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"
ADD_BOS, ADD_EOS, ADD_SEP = (f"tokenizer.ggml.add_{kind}_token" for kind in ("bos", "eos", "sep"))
LOWERCASE, STRIP = "tokenizer.ggml.normalizer.lowercase", "tokenizer.ggml.normalizer.strip_accents"
TEMPLATE, NAMES = "tokenizer.chat_template", "tokenizer.chat_templates"

ADDED = [
    {"id": number, "content": text} for number, text in enumerate(["<s>", "</s>", "<unk>", "[CLS]", "[SEP]", "<end>"])
]


def special(folder: Path, *, vocabulary_size: int | None = None, **files: Any) -> dict[str, Any]:
    """What is found in a folder with those files; text is written as it is, all else as JSON."""
    for name, content in files.items():
        stem, _, kind = name.rpartition("_")
        path = folder / f"{stem}.{kind}"
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return special_metadata(read_tokenizer_files(folder), vocabulary_size=vocabulary_size)


def tokenizer(post_processor: Any = None, **more: Any) -> dict[str, Any]:
    return {"added_tokens": ADDED, "post_processor": post_processor, **more}


def template(single: str, pair: str = "") -> dict[str, Any]:
    """From `<s> A </s>`: capitals stand for texts."""

    def pieces(text: str) -> list[dict[str, Any]]:
        return [{"Sequence" if each in "AB" else "SpecialToken": {"id": each, "type_id": 0}} for each in text.split()]

    return {"type": "TemplateProcessing", "single": pieces(single), "pair": pieces(pair), "special_tokens": {}}


def test_ids_are_those_of_the_tokens_that_the_configuration_names(tmp_path: Path):
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "unk_token": "<unk>", "pad_token": None}
    found = special(tmp_path, tokenizer_json=tokenizer(), tokenizer_config_json=config)
    assert found == {BOS: 0, EOS: 1, UNK: 2}


def test_config_json_fills_up_what_the_tokenizer_leaves_open(tmp_path: Path):
    config = {"bos_token_id": 9, "eos_token_id": [7, 8], "pad_token_id": -1, "text_config": {"mask_token_id": 4}}
    found = special(
        tmp_path, tokenizer_json=tokenizer(), tokenizer_config_json={"bos_token": "<s>"}, config_json=config
    )
    assert found == {BOS: 0, MASK: 4}  # several ends are none, and so is -1


def test_ids_beyond_the_vocabulary_are_left_out_where_its_size_is_given(tmp_path: Path):
    files = {
        "tokenizer_json": tokenizer(),
        "tokenizer_config_json": {"bos_token": "<s>", "eos_token": "</s>"},
        "config_json": {"eos_token_id": 0, "pad_token_id": 6},
    }
    assert special(tmp_path, **files, vocabulary_size=1) == {BOS: 0, EOS: 0}


@pytest.mark.parametrize(
    ("post_processor", "config", "expected"),
    [
        pytest.param({"type": "ByteLevel"}, {}, {ADD_BOS: False, ADD_EOS: False}, id="byte-level-adds-nothing"),
        pytest.param(
            template("<s> A"), {"bos_token": "<s>", "add_bos_token": False}, {BOS: 0, ADD_BOS: True}, id="template-wins"
        ),
        pytest.param(
            {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template("<s> A")]},
            {"bos_token": {"content": "<s>"}},
            {BOS: 0, ADD_BOS: True, ADD_EOS: False},
            id="sequence",
        ),
        pytest.param(template("A </s>"), {"eos_token": "</s>"}, {EOS: 1, ADD_EOS: True}, id="behind-a-text"),
        pytest.param(
            template("A </s>"), {"eos_token": "<end>"}, {EOS: 1, EOT: 5, ADD_EOS: True}, id="another-end-becomes-eot"
        ),
        pytest.param(template("<s> A"), {}, {BOS: 0, ADD_BOS: True}, id="the-first-is-bos-if-none-is-named"),
        pytest.param(
            template("[CLS] A"), {"bos_token": "<s>", "cls_token": "</s>"}, {BOS: 0, ADD_BOS: False}, id="another-first"
        ),
        pytest.param(
            template("[CLS] A [SEP]", "[CLS] A [SEP] B [SEP]"),
            {"cls_token": "[CLS]", "sep_token": "[SEP]"},
            {BOS: 3, EOS: 4, SEP: 4, ADD_BOS: True, ADD_EOS: True, ADD_SEP: False},
            id="bert",
        ),
        pytest.param(
            template("<s> A </s>", "<s> A </s> </s> B </s>"),
            {"bos_token": "<s>", "eos_token": "</s>"},
            {BOS: 0, EOS: 1, SEP: 1, ADD_BOS: True, ADD_EOS: True, ADD_SEP: True},
            id="two-separators",
        ),
        pytest.param(
            {"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 1]},
            {"mask_token": "<unk>"},
            {MASK: 2, SEP: 1, ADD_BOS: True, ADD_EOS: True, ADD_SEP: True},
            id="roberta",
        ),
        pytest.param(None, {"add_bos_token": True, "add_eos_token": "yes"}, {ADD_BOS: True}, id="only-the-flags"),
    ],
)
def test_what_is_put_around_a_text(tmp_path: Path, post_processor: Any, config: dict[str, Any], expected: Any):
    named = config or {"model_max_length": 8}
    assert special(tmp_path, tokenizer_json=tokenizer(post_processor), tokenizer_config_json=named) == expected


def test_without_a_tokenizer_config_the_post_processor_still_counts(tmp_path: Path):
    assert special(tmp_path, tokenizer_json=tokenizer(template("<s> A"))) == {ADD_BOS: True}


@pytest.mark.parametrize(
    ("normalizer", "flags"),
    [
        ({"type": "Lowercase"}, {LOWERCASE: True}),
        ({"type": "BertNormalizer", "lowercase": False, "strip_accents": None}, {LOWERCASE: False}),
        (
            {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "StripAccents"}]},
            {LOWERCASE: True, STRIP: True},
        ),
        ({"type": "NFC"}, {}),
    ],
)
def test_what_is_done_to_letters(tmp_path: Path, normalizer: dict[str, Any], flags: dict[str, bool]):
    assert special(tmp_path, tokenizer_json=tokenizer(normalizer=normalizer)) == flags


CONFIG = {"model_max_length": 8}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"tokenizer_config_json": {"chat_template": "a"}, "chat_template_jinja": "b"}, "a", id="config-first"
        ),
        pytest.param(
            {"tokenizer_config_json": CONFIG, "chat_template_jinja": "b", "chat_template_json": {"chat_template": "c"}},
            "b",
            id="then-jinja",
        ),
        pytest.param(
            {"tokenizer_config_json": CONFIG, "chat_template_json": {"chat_template": "c"}}, "c", id="then-json"
        ),
        pytest.param(
            {"tokenizer_config_json": {"chat_template": None}, "chat_template_jinja": "b"}, None, id="none-said"
        ),
        pytest.param({"chat_template_jinja": "b"}, None, id="nobody-asks-without-a-config"),
    ],
)
def test_a_chat_template_is_taken_from_the_first_place_that_has_one(tmp_path: Path, files: Any, expected: str | None):
    assert special(tmp_path, **files).get(TEMPLATE) == expected


def test_several_chat_templates_have_names(tmp_path: Path):
    listed = [{"name": "default", "template": "d"}, {"name": "tool use", "template": "t"}, {"name": "empty"}]
    assert special(tmp_path, tokenizer_config_json={"chat_template": listed}) == {
        "tokenizer.chat_template.tool_use": "t",
        NAMES: ["tool_use"],
        TEMPLATE: "d",
    }


def test_more_chat_templates_stand_in_a_folder(tmp_path: Path):
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "rag.jinja").write_text("r")
    assert special(tmp_path, tokenizer_config_json=CONFIG, chat_template_jinja="d") == {
        "tokenizer.chat_template.rag": "r",
        NAMES: ["rag"],
        TEMPLATE: "d",
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer_json": "{"}, "tokenizer.json is no JSON"),
        ({"tokenizer_json": "[]"}, "tokenizer.json holds no JSON object"),
        ({"tokenizer_json": tokenizer([])}, "tokenizer.json has `post_processor` that is no object"),
        ({"tokenizer_json": tokenizer({"type": "Sequence", "processors": [1]})}, "a post-processor that is no object"),
        ({"tokenizer_json": tokenizer({"type": "TemplateProcessing", "single": [{}]})}, "with a piece"),
        ({"tokenizer_config_json": {"chat_template": 7}}, "has a chat template that is no text"),
        ({"tokenizer_config_json": {"chat_template": [7]}}, "an entry that is none"),
        ({"tokenizer_config_json": CONFIG, "chat_template_json": "{"}, "chat_template.json is no JSON"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, files: dict[str, Any], message: str):
    with pytest.raises(BadInputError) as error:
        special(tmp_path, **files)
    assert message in error.value.message
    assert str(tmp_path) in error.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**33) | st.sampled_from(["<s>", "TemplateProcessing", "Sequence", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "single", "pair", "processors", "SpecialToken", "id", "content", "name", "template"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(post=JSON, normalizer=JSON, added=JSON, chat=JSON, name=JSON, number=JSON)
def test_whatever_the_files_hold_they_are_read_or_refused(
    tmp_path: Path, post: Any, normalizer: Any, added: Any, chat: Any, name: Any, number: Any
):
    try:
        found = special(
            tmp_path,
            tokenizer_json={"post_processor": post, "normalizer": normalizer, "added_tokens": added},
            tokenizer_config_json={"chat_template": chat, "bos_token": name, "eos_token": name},
            config_json={"bos_token_id": number, "text_config": number},
        )
    except BadInputError as error:
        assert str(tmp_path) in error.message
    else:
        assert all(isinstance(value, (int, str, list)) for value in found.values())
