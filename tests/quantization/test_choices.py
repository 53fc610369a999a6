"""What a person chooses of a quantization, and what it does to the types of a model's tensors."""

from __future__ import annotations

import pytest

from llmasos.errors import BadInputError
from llmasos.quantization.choices import Choices, find_tensor_type, make_choices
from llmasos.quantization.mixes import Tensor, choose_types
from llmasos.quantization.rules import ModelFacts

FACTS = ModelFacts("llama", 4, 8, 8)
KINDS = ("attn_k", "attn_v", "ffn_down")


def tensors(*, tied: bool = False, width: int = 256, also: tuple[str, ...] = ()) -> list[Tensor]:
    names = ["token_embd.weight", *([] if tied else ["output.weight"]), *also]
    names += [f"blk.{layer}.{kind}.weight" for layer in range(4) for kind in KINDS]
    return [Tensor("output_norm.weight", (width,), "F32"), *(Tensor(name, (64, width), "BF16") for name in names)]


def types(choices: Choices, given: list[Tensor] | None = None) -> dict[str, str]:
    return choose_types(choices, given or tensors(), FACTS)


def test_names_may_be_written_in_any_way():
    choices = make_choices("q4-k-m", tensor_types=[("attn_v", "q6-k")], output_type="bf16", embedding_type="Q5_K")
    assert choices == Choices("Q4_K_M", (("attn_v", "Q6_K"),), "BF16", "Q5_K")


@pytest.mark.parametrize(("name", "hint"), [("Q4_K_M", "`Q4_K`"), ("Q8_K", "`Q8_0`"), ("zzz", "types: F32")])
def test_what_is_no_type_of_a_tensor_is_told_with_near_ones(name, hint):
    with pytest.raises(BadInputError, match=f"can't have the type `{name}`") as refusal:
        find_tensor_type(name)
    assert hint in str(refusal.value.hint)


@pytest.mark.parametrize("pattern", ["(", "a**", "[z-a]"])
def test_what_is_no_regular_expression_is_told(pattern):
    with pytest.raises(BadInputError, match="is no regular expression"):
        make_choices("Q4_K_M", tensor_types=[(pattern, "Q8_0")])


def test_a_plain_type_leaves_no_room_for_others():
    with pytest.raises(BadInputError, match="single tensors can't be given a type in F16"):
        make_choices("F16", tensor_types=[("attn_v", "Q8_0")])


def test_layers_are_told_once_and_in_order():
    assert make_choices("Q8_0", pruned_layers=[5, 3, 5]).pruned_layers == (3, 5)


def test_the_first_expression_that_is_found_in_a_name_counts():
    overrides = ((r"^blk\.[01]\.attn_v", "Q8_0"), ("attn_v|ffn", "Q5_1"), ("ffn_down", "F16"))
    chosen = types(Choices("Q4_K_M", overrides))
    assert [chosen[f"blk.{layer}.attn_v.weight"] for layer in range(4)] == ["Q8_0", "Q8_0", "Q5_1", "Q5_1"]
    assert {chosen[f"blk.{layer}.ffn_down.weight"] for layer in range(4)} == {"Q5_1"}
    assert chosen["blk.0.attn_k.weight"] == "Q4_K"


def test_an_overridden_tensor_is_not_counted_by_the_rules_of_the_mix():
    alone = types(Choices("Q3_K_M"))
    assert [alone[f"blk.{layer}.attn_v.weight"] for layer in range(4)] == ["Q5_K", "Q5_K", "Q4_K", "Q4_K"]
    chosen = types(Choices("Q3_K_M", ((r"blk\.0\.attn_v", "Q8_0"),)))
    assert [chosen[f"blk.{layer}.attn_v.weight"] for layer in range(4)] == ["Q8_0", "Q5_K", "Q5_K", "Q4_K"]


def test_pure_leaves_one_type():
    assert set(types(Choices("Q4_K_M", pure=True)).values()) == {"F32", "Q4_K"}
    assert types(Choices("Q4_K_M", (("attn_v", "Q8_0"),), pure=True))["blk.2.attn_v.weight"] == "Q8_0"


def test_output_and_embeddings_go_before_all_else():
    chosen = types(Choices("Q4_K_M", (("output|token", "Q8_0"),), "Q5_0", "F16", pure=True))
    assert (chosen["output.weight"], chosen["token_embd.weight"]) == ("Q5_0", "F16")
    chosen = types(Choices("F16", output_type="Q8_0"))
    assert (chosen["output.weight"], chosen["token_embd.weight"]) == ("Q8_0", "F16")


def test_an_embedding_that_is_the_output_too_has_the_outputs_type():
    assert types(Choices("Q4_K_M", output_type="Q5_1"), tensors(tied=True))["token_embd.weight"] == "Q5_1"
    both = Choices("Q4_K_M", output_type="Q5_1", embedding_type="Q8_0")
    assert types(both, tensors(tied=True))["token_embd.weight"] == "Q8_0"


def test_the_embeddings_of_layers_follow_unless_they_are_named():
    given = tensors(also=("per_layer_token_embd.weight",))
    assert types(Choices("Q4_K_M", embedding_type="Q8_0"), given)["per_layer_token_embd.weight"] == "Q8_0"
    named = Choices("Q4_K_M", (("per_layer", "Q5_1"),), embedding_type="Q8_0")
    assert types(named, given)["per_layer_token_embd.weight"] == "Q5_1"
    assert types(named, given)["token_embd.weight"] == "Q8_0"


def test_an_overridden_type_falls_back_and_a_fixed_one_does_not():
    narrow = tensors(width=96)
    assert types(Choices("Q8_0", (("attn_v", "Q6_K"),)), narrow)["blk.0.attn_v.weight"] == "Q8_0"
    assert types(Choices("Q8_0", (("attn_v", "Q4_K"),)), narrow)["blk.0.attn_v.weight"] == "Q5_0"
    with pytest.raises(BadInputError, match=r"Q6_K can't hold the tensor `output.weight`: its rows of 96"):
        types(Choices("Q8_0", output_type="Q6_K"), narrow)


@pytest.mark.parametrize(
    "choices",
    [
        Choices("Q4_K_M", (("attn_v", "IQ2_S"),)),
        Choices("Q4_K_M", output_type="IQ2_XS"),
        Choices("Q4_K_M", embedding_type="IQ1_S"),
    ],
)
def test_types_that_need_an_importance_matrix_are_refused_for_single_tensors_too(choices):
    with pytest.raises(BadInputError, match="needs an importance matrix here"):
        types(choices)


def test_tensors_may_be_counted_in_the_order_that_they_have():
    backwards = tensors()[::-1]
    assert types(Choices("Q3_K_M"), backwards)["blk.3.attn_v.weight"] == "Q4_K"
    chosen = choose_types(Choices("Q3_K_M"), backwards, FACTS, are_ordered=True)
    assert chosen["blk.3.attn_v.weight"] == "Q5_K"
    assert list(chosen) == [tensor.name for tensor in backwards]
