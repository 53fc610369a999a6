"""Quantizations of a GGUF repository: recognized by file names of every fashion, and chosen by label or preference."""

from __future__ import annotations

import pytest

from llmasos.errors import BadInputError
from llmasos.sources.quantizations import find_variants, pick_variant, read_label


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("model.Q4_K_M.gguf", "Q4_K_M"),
        ("Model-Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("ggml_model_q8_0.gguf", "Q8_0"),
        ("model-IQ4_XS.gguf", "IQ4_XS"),
        ("model-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("model.i1-Q6_K.gguf", "I1-Q6_K"),
        ("model.f16.gguf", "F16"),
        ("model-fp16.gguf", "F16"),
        ("model-BF16.gguf", "BF16"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("Q4_0.GGUF", "Q4_0"),
        ("model-Q5_K_S-00002-of-00003.gguf", "Q5_K_S"),
        ("Q4_K_M/model-00001-of-00002.gguf", "Q4_K_M"),
        ("UD-IQ1_S/DeepSeek-R1-UD-IQ1_S-00001-of-00003.gguf", "UD-IQ1_S"),
        ("model-f16.Q6_K.gguf", "Q6_K"),
        ("Phi-3-mini-4k-instruct-q4.gguf", "Q4"),
        ("model.gguf", None),
        ("Qwen3-8B.gguf", None),
        ("QwQ-32B.gguf", None),
    ],
)
def test_a_name_tells_its_quantization(name: str, label: str | None):
    assert read_label(name) == label


def test_each_quantization_is_one_variant():
    names = ["README.md", "model.Q4_K_M.gguf", "model.Q8_0.gguf", "config.json"]
    assert find_variants(names) == {"Q4_K_M": ("model.Q4_K_M.gguf",), "Q8_0": ("model.Q8_0.gguf",)}


def test_the_files_of_a_split_model_stand_in_order():
    names = ["m-Q8_0-00003-of-00003.gguf", "m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00002-of-00003.gguf", "m-Q4_0.gguf"]
    assert find_variants(names)["Q8_0"] == (
        "m-Q8_0-00001-of-00003.gguf",
        "m-Q8_0-00002-of-00003.gguf",
        "m-Q8_0-00003-of-00003.gguf",
    )


def test_split_models_in_folders_are_told_apart():
    names = ["BF16/m-00001-of-00002.gguf", "BF16/m-00002-of-00002.gguf", "Q2_K/m-00001-of-00001.gguf"]
    variants = find_variants(names)
    assert variants["BF16"] == ("BF16/m-00001-of-00002.gguf", "BF16/m-00002-of-00002.gguf")
    assert variants["Q2_K"] == ("Q2_K/m-00001-of-00001.gguf",)


@pytest.mark.parametrize(
    "name",
    [
        "mmproj-model-f16.gguf",
        "Model-mmproj-BF16.gguf",
        "imatrix.gguf",
        "imatrix_unsloth.gguf",
        "model.imatrix.gguf",
        "ggml-lora-f16.gguf",
        "french-adapter.gguf",
        "model.safetensors",
    ],
)
def test_what_is_no_language_model_is_left_out(name: str):
    assert find_variants([name]) == {}


@pytest.mark.parametrize("name", ["m-imatrix-Q4_K_M.gguf", "m-lora-merged.Q4_K_M.gguf", "Explora-7B-Q4_K_M.gguf"])
def test_what_only_sounds_like_it_is_kept(name: str):
    assert find_variants([name]) == {"Q4_K_M": (name,)}


def test_two_models_of_one_quantization_are_told_apart_by_name():
    variants = find_variants(["tiny Q4_0.gguf", "tiny (draft) Q4_0.gguf"])
    assert variants == {"Q4_0": ("tiny Q4_0.gguf",), "tiny-draft-Q4_0": ("tiny (draft) Q4_0.gguf",)}


def test_a_name_that_tells_nothing_is_the_label():
    assert find_variants(["model.gguf"]) == {"model": ("model.gguf",)}


def pick(wanted: str | None, *labels: str) -> str:
    return pick_variant({label: [f"m-{label}.gguf"] for label in labels}, wanted, "hf:org/name")


@pytest.mark.parametrize(
    ("labels", "best"),
    [
        (("F16", "Q2_K", "Q4_K_M", "Q8_0"), "Q4_K_M"),
        (("Q4_K_S", "Q5_K_M"), "Q4_K_S"),
        (("UD-Q4_K_XL", "IQ4_XS"), "UD-Q4_K_XL"),
        (("UD-Q4_K_M", "Q4_K_M"), "Q4_K_M"),
        (("Q4_0", "Q4_1", "Q8_0"), "Q4_0"),
        (("BF16", "F16", "F32", "Q8_0"), "Q8_0"),
        (("Q3_K_M", "Q8_0"), "Q8_0"),
        (("F32", "BF16", "F16"), "BF16"),
        (("model", "F16"), "F16"),
        (("model",), "model"),
    ],
)
def test_without_a_wish_the_usual_best_is_taken(labels: tuple[str, ...], best: str):
    assert pick(None, *labels) == best


def test_a_wish_counts_whatever_its_case():
    assert pick("q8_0", "Q4_K_M", "Q8_0") == "Q8_0"
    assert pick("fp16", "Q4_K_M", "F16") == "F16"


def test_an_exact_label_comes_before_one_with_a_prefix():
    assert pick("Q4_K_XL", "UD-Q4_K_XL", "Q4_K_XL") == "Q4_K_XL"
    assert pick("Q4_K_XL", "UD-Q4_K_XL", "Q8_0") == "UD-Q4_K_XL"
    assert pick("ud-q4_k_xl", "UD-Q4_K_XL", "Q4_K_XL") == "UD-Q4_K_XL"


def test_an_unknown_wish_is_answered_with_what_there_is():
    with pytest.raises(BadInputError, match="hf:org/name has no quantization Q9_0") as caught:
        pick("Q9_0", "F16", "Q4_K_M")
    assert caught.value.hint == "it has Q4_K_M, F16"


def test_a_part_of_a_name_is_no_wish():
    with pytest.raises(BadInputError):
        pick("K_M", "Q4_K_M")


def test_a_split_model_with_a_part_missing_is_refused():
    variants = find_variants(["m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00003-of-00003.gguf"])
    with pytest.raises(BadInputError, match="not complete"):
        pick_variant(variants, None, "hf:org/name")
