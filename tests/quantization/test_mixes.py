"""Which type each tensor gets. The numbers are llama-quantize's own; tests/real compares many more with the library."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmasos.errors import BadInputError
from llmasos.quantization.choices import Choices
from llmasos.quantization.mixes import Tensor, choose_types, is_quantizable, layer_then_name, model_facts
from llmasos.quantization.rules import ModelFacts

LLAMA = ModelFacts("llama", 8, 32, 8)


def llama_tensors(layers: int, width: int = 512, *, tied: bool = True) -> Iterator[Tensor]:
    yield Tensor("token_embd.weight", (1000, width), "BF16")
    yield Tensor("output_norm.weight", (width,), "F32")
    if not tied:
        yield Tensor("output.weight", (1000, width), "BF16")
    for layer in range(layers):
        yield Tensor(f"blk.{layer}.attn_norm.weight", (width,), "F32")
        for kind in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_gate", "ffn_down"):
            yield Tensor(f"blk.{layer}.{kind}.weight", (width, width), "BF16")


def types_of(kind: str, chosen: dict[str, str]) -> list[str]:
    return [chosen[name] for name in chosen if name.endswith(f"{kind}.weight")]


@pytest.mark.parametrize(
    ("mix", "embedding", "values", "downs", "others"),
    [
        ("Q4_0", "Q6_K", "Q4_0", "Q4_0", "Q4_0"),
        ("Q8_0", "Q8_0", "Q8_0", "Q8_0", "Q8_0"),
        ("F16", "F16", "F16", "F16", "F16"),
        ("Q2_K", "Q6_K", "Q4_K", "Q3_K", "Q2_K"),
        ("Q3_K_M", "Q6_K", "Q5_K Q5_K Q4_K Q4_K Q4_K Q4_K Q4_K Q4_K", "Q4_K", "Q3_K"),
        ("Q4_K_S", "Q6_K", "Q5_K Q5_K Q5_K Q5_K Q4_K Q4_K Q4_K Q4_K", "Q5_K" + " Q4_K" * 7, "Q4_K"),
        (
            "Q4_K_M",
            "Q6_K",
            "Q6_K Q4_K Q4_K Q6_K Q4_K Q4_K Q6_K Q6_K",
            "Q6_K Q4_K Q4_K Q6_K Q4_K Q4_K Q6_K Q6_K",
            "Q4_K",
        ),
        (
            "Q5_K_M",
            "Q6_K",
            "Q6_K Q5_K Q5_K Q6_K Q5_K Q5_K Q6_K Q6_K",
            "Q6_K Q5_K Q5_K Q6_K Q5_K Q5_K Q6_K Q6_K",
            "Q5_K",
        ),
        ("IQ4_XS", "Q6_K", "Q5_K", "Q5_K" + " IQ4_XS" * 7, "IQ4_XS"),
        ("MXFP4_MOE", "Q8_0", "Q8_0", "Q8_0", "Q8_0"),
    ],
)
def test_a_llama_of_eight_layers(mix, embedding, values, downs, others):
    chosen = choose_types(Choices(mix), llama_tensors(8), LLAMA)
    assert chosen["token_embd.weight"] == embedding
    assert types_of("attn_v", chosen) == (values.split() * 8)[:8]
    assert types_of("ffn_down", chosen) == (downs.split() * 8)[:8]
    assert set(types_of("ffn_up", chosen)) == {others}
    assert set(types_of("attn_norm", chosen)) == {"F32"}


def test_only_a_tied_embedding_is_treated_as_the_output():
    chosen = choose_types(Choices("Q4_K_M"), llama_tensors(8, tied=False), LLAMA)
    assert (chosen["token_embd.weight"], chosen["output.weight"]) == ("Q4_K", "Q6_K")


@pytest.mark.parametrize(
    ("mix", "width", "expected"),
    [("Q4_K_M", 576, {"Q5_0", "Q8_0", "F32"}), ("Q5_K_S", 576, {"Q5_1", "Q8_0", "F32"}),
     ("IQ4_XS", 100, {"F16", "F32"}), ("Q8_0", 100, {"F16", "F32"}), ("Q3_K_S", 576, {"Q4_0", "Q8_0", "F32"})],
)  # fmt: skip
def test_rows_that_blocks_do_not_divide_get_another_type(mix, width, expected):
    facts = ModelFacts("llama", 8, 9, 9)
    assert set(choose_types(Choices(mix), llama_tensors(8, width), facts).values()) == expected


def test_rows_that_no_other_type_is_known_for_are_refused():
    with pytest.raises(
        BadInputError, match=r"Q1_0 can't hold the tensor `blk.0.attn_k.weight`: its rows of 96 weights"
    ):
        choose_types(Choices("Q1_0"), llama_tensors(8, 96), LLAMA)


def test_values_of_seventy_billion_weights_get_more_bits():
    shared = choose_types(Choices("Q3_K_S"), llama_tensors(80), ModelFacts("llama", 80, 64, 8))
    alone = choose_types(Choices("Q3_K_S"), llama_tensors(80), ModelFacts("llama", 80, 64, 64))
    assert (types_of("attn_v", shared)[9], types_of("attn_v", alone)[9]) == ("Q5_K", "Q3_K")


def test_eight_experts_keep_their_attention():
    chosen = choose_types(Choices("Q4_K_M"), llama_tensors(8), ModelFacts("llama", 8, 32, 8, expert_count=8))
    assert [types_of(kind, chosen)[1] for kind in ("attn_k", "attn_v", "attn_output")] == ["Q8_0", "Q8_0", "Q5_K"]


def test_experts_are_placed_by_the_layer_in_their_names():
    experts = [Tensor(f"blk.{layer}.ffn_down.{n}.weight", (512, 512), "BF16") for layer in range(8) for n in range(2)]
    chosen = choose_types(Choices("Q4_K_M"), experts, ModelFacts("llama", 8, 32, 8, expert_count=2))
    assert [chosen[f"blk.{layer}.ffn_down.1.weight"] for layer in range(4)] == ["Q6_K", "Q4_K", "Q4_K", "Q6_K"]
    with pytest.raises(BadInputError, match="in none of the model's 3 layers"):
        choose_types(Choices("Q4_K_M"), experts, ModelFacts("llama", 3, 32, 8, expert_count=2))


@pytest.mark.parametrize(
    ("mix", "instead"),
    [("IQ2_XXS", "Q2_K"), ("IQ1_S", "Q2_K"), ("IQ2_M", "Q2_K"), ("Q2_K_S", "Q2_K"), ("IQ3_XXS", "Q2_K"),
     ("iq3_xs", "Q3_K_S")],
)  # fmt: skip
def test_a_mix_that_needs_an_importance_matrix_says_what_does_not(mix, instead):
    with pytest.raises(BadInputError, match=f"{mix.upper()} needs an importance matrix") as refusal:
        choose_types(Choices(mix), llama_tensors(8), LLAMA)
    assert f"{instead} is about as small" in str(refusal.value.hint)
    choose_types(Choices(instead), llama_tensors(8), LLAMA)
    choose_types(Choices(mix), llama_tensors(8), LLAMA, has_importance=True)


@pytest.mark.parametrize(
    ("name", "shape", "is_changed"),
    [
        ("blk.0.ffn_up.weight", (64, 32), True),
        ("blk.0.ffn_up_exps.weight", (4, 64, 32), True),
        ("blk.0.attn_q.bias", (64,), False),
        ("blk.0.attn_q.weight", (1, 64), False),  # one row is a vector to ggml
        ("blk.0.attn_q_norm.weight", (64, 32), False),
        ("blk.0.ffn_gate_inp.weight", (8, 64), False),
        ("position_embd.weight", (512, 64), False),
        ("token_types.weight", (2, 64), False),
        ("blk.0.attn_rel_b.weight", (32, 8), False),
    ],
)
def test_only_matrices_that_bear_it_are_quantized(name, shape, is_changed):
    assert is_quantizable(Tensor(name, shape, "F32"), "llama") is is_changed


def test_tensors_come_back_layer_by_layer_and_then_by_name():
    names = ["blk.10.a", "output.weight", "blk.2.b", "token_embd.weight", "blk.2.a"]
    assert sorted(names, key=layer_then_name) == [
        "output.weight",
        "token_embd.weight",
        "blk.2.a",
        "blk.2.b",
        "blk.10.a",
    ]


def test_facts_are_read_from_metadata_with_a_number_for_each_layer_or_one_for_all():
    metadata = {
        "general.architecture": "deci", "deci.block_count": 3, "deci.attention.head_count": [64, 64, 0],
        "deci.attention.head_count_kv": [8, 4, 0], "deci.expert_count": 4, "deci.nextn_predict_layers": 1,
    }  # fmt: skip
    assert model_facts(metadata) == ModelFacts("deci", 3, 64, 8, 4, 1)
    assert model_facts({"general.architecture": "gpt2", "gpt2.block_count": 12, "gpt2.attention.head_count": 12}) == (
        ModelFacts("gpt2", 12, 12, 12)
    )
