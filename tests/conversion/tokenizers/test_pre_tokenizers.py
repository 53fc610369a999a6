"""llama.cpp's name for a rule of cutting text: from its description, and where that is unknown from what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.vocabularies import BYTE_LEVEL_KINDS, pre_name, token_ids, tokenizer_json
from llmasos.conversion.tokenizers import pre_tokenizer_trial as trial
from llmasos.conversion.tokenizers.pre_tokenizers import (
    DIGIT,
    FAMILIES,
    GPT_2,
    GPT_4O,
    LLAMA_3,
    PUNCTUATION,
    QWEN_2,
    Traits,
    find_name,
    steps_of,
)
from llmasos.errors import BadInputError

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}

# Where llama.cpp does not cut as the family's tokenizer.json asks: the first four letters of the texts.
KNOWN_DIFFERENCES = {
    "tekken": {"ÉCOL", "हिन्", "x\u0303y "},  # capitals are ASCII's alone; a mark is no part of a word
    "llama4": {"ÉCOL", "हिन्", "x\u0303y "},  # as all of GPT-4o's
    "falcon": {"1 22", "3.14", "²³ ½", "_und"},  # a space stays with the number behind it
    "deepseek-llm": {"1 22", "3.14", "²³ ½", "我想在a", "---=", "_und", "x\u0303y "},  # a number is not cut
    "deepseek-coder": {"x\u0303y "},  # wide spaces
    "superbpe": {"²³ ½"},  # digits of other scripts are not put in threes
    "cohere2moe": {"Mixe", "我想在a"},
}


def split(regex: str, **changes: Any) -> dict[str, Any]:
    if regex == PUNCTUATION:
        return {"type": "Punctuation", "behavior": "Contiguous"}
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False, **changes}


def described(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [*parts, BYTES]}, **more}


def names_of_rules() -> list[str]:
    """A name for every rule in the table: the first family that has it."""
    firsts: dict[Any, str] = {}
    for family in FAMILIES:
        firsts.setdefault(family.steps, family.name)
    return list(firsts.values())


@pytest.fixture(scope="module")
def made_vocabulary() -> tuple[list[str], list[tuple[str, str]]]:
    return trial._vocabulary()


@pytest.fixture(scope="module")
def llama_cpp_cuts(made_vocabulary) -> dict[str, list[list[int]]]:
    return dict(trial.cuts(names_of_rules(), *made_vocabulary))


@pytest.mark.parametrize("kind", BYTE_LEVEL_KINDS)
def test_a_family_is_known_by_its_description(kind: str):
    tokenizer = tokenizer_json(kind)
    traits = Traits(
        token_ids(kind),
        ignores_merges=tokenizer["model"].get("ignore_merges", False),
        adds_bos=kind in ("llama3", "tekken"),
    )
    assert find_name(steps_of(tokenizer), traits) == pre_name(kind)


@pytest.mark.parametrize(
    ("description", "steps"),
    [
        pytest.param({"pre_tokenizer": {"type": "ByteLevel"}}, (GPT_2,), id="byte-level-cuts-unless-told-not-to"),
        pytest.param(described(split(QWEN_2)), (QWEN_2,), id="isolated"),
        pytest.param(
            described(split(QWEN_2, behavior="Removed", invert=True)), (QWEN_2,), id="all-but-matches-removed"
        ),
        pytest.param(described({"type": "Digits", "individual_digits": True}), (DIGIT,), id="digits"),
        pytest.param(described(split("[\r\n]")), (r"[\r\n]",), id="line-ends-as-they-are"),
        pytest.param(
            described(split(LLAMA_3.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "(?i:'s|'t|'re|'ve|'m|'d|'ll)"))),
            (LLAMA_3,),
            id="endings-in-another-order",
        ),
        pytest.param(described(split(QWEN_2), normalizer={"type": "NFC"}), (QWEN_2,), id="nfc-is-left-out"),
        pytest.param(described(described(split(QWEN_2))["pre_tokenizer"]), (QWEN_2,), id="sequences-in-sequences"),
        pytest.param(described(split(QWEN_2), normalizer={"type": "Lowercase"}), None, id="other-normalizers-matter"),
        pytest.param(described(split(r"\p{N}", behavior="Removed", invert=True)), None, id="text-removed"),
        pytest.param(described({"type": "Metaspace"}), None, id="another-kind"),
        pytest.param({"pre_tokenizer": {**BYTES, "add_prefix_space": True}}, None, id="a-space-in-front"),
    ],
)
def test_a_description_is_reduced_to_its_steps(description: dict[str, Any], steps: tuple[str, ...] | None):
    assert steps_of(description) == steps


@pytest.mark.parametrize(
    ("steps", "traits", "name"),
    [
        ((LLAMA_3,), Traits((), ignores_merges=True, adds_bos=True), "llama-bpe"),
        ((LLAMA_3,), Traits(("<|begin_of_text|>",), ignores_merges=True), "smaug-bpe"),
        ((LLAMA_3,), Traits(("[gMASK]",), ignores_merges=True), "glm4"),
        ((LLAMA_3,), Traits(()), "dbrx"),
        ((QWEN_2,), Traits(("<|reg0|>",)), "stablelm2"),
        ((QWEN_2,), Traits(("<｜begin▁of▁sentence｜>",), adds_bos=True), "deepseek-r1-qwen"),
        ((DIGIT, GPT_2), Traits(("<repo_name>", "<reponame>")), "smollm"),
        ((DIGIT, GPT_2), Traits(("<repo_name>",)), "starcoder"),
        ((DIGIT, GPT_2), Traits(("<reponame>",)), "refact"),
        ((DIGIT, GPT_2), Traits(("<|START_OF_TURN_TOKEN|>",)), "command-r"),
        ((GPT_2,), Traits((), adds_separators=True), "roberta-bpe"),
        ((GPT_4O,), Traits(("<|header_start|>",), adds_bos=True), "llama4"),
        ((GPT_4O,), Traits((), model_type="minimax_m2"), "minimax-m2"),
        (("unknown",), Traits(()), None),
        (None, Traits(()), None),
    ],
)
def test_families_whose_rules_are_alike_are_told_apart(steps, traits: Traits, name: str | None):
    assert find_name(steps, traits) == name


@pytest.mark.parametrize("name", names_of_rules())
def test_under_a_name_llama_cpp_cuts_as_the_rule_in_the_table_says(name: str, made_vocabulary, llama_cpp_cuts):
    steps = next(family.steps for family in FAMILIES if family.name == name)
    expected = trial._expected_ids(described(*map(split, steps)), *made_vocabulary, Path("tokenizer.json"))
    different = {
        text[:4] for text, *ids in zip(trial.TEXTS, llama_cpp_cuts[name], expected, strict=True) if ids[0] != ids[1]
    }
    assert different == KNOWN_DIFFERENCES.get(name, set())


def test_every_name_in_the_table_and_in_the_trial_is_one_of_llama_cpps(made_vocabulary):
    names = {family.name for family in FAMILIES} | {*trial.TRIED_TAKING_MERGES, *trial.TRIED_IGNORING_MERGES}
    assert names == {name for name, _ in trial.cuts(sorted(names), *made_vocabulary)}


def test_a_name_that_llama_cpp_refuses_is_passed_over(made_vocabulary):
    tried = dict(trial.cuts(["no-such-rule", "gpt-2", "nor-this", "qwen2", "nor-that"], *made_vocabulary))
    assert list(tried) == ["gpt-2", "qwen2"]


@pytest.mark.parametrize(
    ("regex", "ignores_merges", "name"),
    [
        pytest.param(QWEN_2.replace("|\\p{N}|", "|\\p{N}{1}|"), False, "qwen2", id="another-spelling"),
        pytest.param(f"(?:{LLAMA_3})", False, "dbrx", id="in-parentheses"),
        pytest.param(f"(?:{LLAMA_3})", True, "glm4", id="words-that-are-one-token"),
        pytest.param(r"\p{L}+|\p{N}{5}|.", False, None, id="nobodys"),
    ],
)
def test_an_unknown_rule_is_named_by_what_it_does(regex: str, ignores_merges: bool, name: str | None):
    found = trial.find_by_behaviour(described(split(regex)), Path("tokenizer.json"), ignores_merges=ignores_merges)
    assert found == name


def test_a_rule_that_cannot_be_followed_names_the_file():
    with pytest.raises(BadInputError, match=r"^folder/tokenizer\.json describes no way to cut texts"):
        trial.find_by_behaviour(described(split("(unclosed")), Path("folder/tokenizer.json"), ignores_merges=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["Sequence", "Split", "ByteLevel", "NFC", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "pattern", "Regex", "behavior", "pretokenizers", "normalizers"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON, JSON)
def test_no_description_is_too_strange(normalizer: Any, pre_tokenizer: Any):
    steps = steps_of({"normalizer": normalizer, "pre_tokenizer": pre_tokenizer})
    assert steps is None or all(isinstance(step, str) for step in steps)
