"""Adapters from PEFT: what the factors give as a GGUF is what the whole weights would give, and nothing gets lost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest

from doubles.adapters import WRAPPER, random_factors, write_peft
from doubles.checkpoints import write_checkpoint
from doubles.checkpoints_files import write_pickled
from doubles.tensor_files import write_safetensors
from llmasos.conversion.adapter import Base, base_of_folder, base_of_gguf, convert_adapter, transform_factors
from llmasos.conversion.convert import convert
from llmasos.conversion.rules import KEEP, AddOne, FirstRows, PairRotated, Part, Regrouped, Transform, Transpose
from llmasos.errors import BadInputError

SIZES = {"heads": 4, "kv_heads": 2, "head_dim": 6, "keys": 12, "some": 20}
# Queries, keys and values of four heads of six rows in two groups; as wide as some transforms need.
OUTPUTS, INPUTS, RANK = 48, 10, 3
Q_PROJ = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return base_of_folder(write_checkpoint(tmp_path_factory.mktemp("llama"), "llama2"))


@pytest.fixture
def q_factors(llama: Base) -> tuple[np.ndarray, np.ndarray]:
    return random_factors(llama.sizes["queries"], llama.sizes["hidden"], RANK)


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}


def alpha_of(path: Path) -> float:
    return float(gguf.GGUFReader(path).fields["adapter.lora.alpha"].contents())


def added(path: Path, target: str) -> np.ndarray:
    """What llama.cpp adds to a weight, in float64."""
    tensors = tensors_of(path)
    a, b = (tensors[f"{target}.lora_{side}"].astype(np.float64) for side in "ab")
    return alpha_of(path) / b.shape[-1] * (b @ a)


@pytest.mark.parametrize(
    "transform",
    [KEEP, PairRotated("heads"), Regrouped(), FirstRows("some"), Part(1, 3), Part(1, 2, axis=1), Transpose()],
    ids=lambda transform: type(transform).__name__,
)
def test_factors_transformed_are_the_factors_of_the_transformed_weight(transform: Transform):
    weight = np.random.default_rng(1).normal(size=(OUTPUTS, INPUTS))
    a, b = (each.astype(np.float64) for each in random_factors(OUTPUTS, INPUTS, RANK))
    product = (b @ a).T if isinstance(transform, Transpose) else b @ a
    weight = weight.T if isinstance(transform, Transpose) else weight
    rows, columns = transform_factors(transform, b, a, SIZES)
    expected = transform.apply(weight + 0.5 * product, SIZES)
    np.testing.assert_allclose(transform.apply(weight, SIZES) + 0.5 * (rows @ columns), expected, rtol=1e-12)


def test_what_can_not_be_done_to_factors_is_refused():
    a, b = random_factors(OUTPUTS, INPUTS, RANK)
    with pytest.raises(BadInputError, match="AddOne"):
        transform_factors(AddOne(), b, a, SIZES)


def test_queries_are_put_in_llamacpps_order_and_nothing_else_is_changed(llama: Base, q_factors, tmp_path: Path):
    down = random_factors(llama.sizes["hidden"], llama.sizes["feed_forward"], RANK)
    folder = write_peft(tmp_path / "peft", {Q_PROJ: q_factors, "model.layers.1.mlp.down_proj": down})
    path = convert_adapter(folder, llama, tmp_path / "adapter.gguf")
    tensors = tensors_of(path)
    assert sorted(tensors) == [
        "blk.0.attn_q.weight.lora_a",
        "blk.0.attn_q.weight.lora_b",
        "blk.1.ffn_down.weight.lora_a",
        "blk.1.ffn_down.weight.lora_b",
    ]
    np.testing.assert_array_equal(tensors["blk.0.attn_q.weight.lora_a"], q_factors[0])
    rotated = PairRotated("heads").apply(q_factors[1], llama.sizes)
    np.testing.assert_array_equal(tensors["blk.0.attn_q.weight.lora_b"], rotated)
    np.testing.assert_array_equal(tensors["blk.1.ffn_down.weight.lora_b"], down[1])
    assert alpha_of(path) == 8


def test_a_gguf_file_as_the_base_gives_the_same_adapter(tmp_path: Path, q_factors):
    checkpoint = write_checkpoint(tmp_path / "base", "llama2")
    [model] = convert(checkpoint, tmp_path / "base.gguf", "F16")
    folder = write_peft(tmp_path / "peft", {Q_PROJ: q_factors})
    one, other = (
        convert_adapter(folder, base, tmp_path / f"{index}.gguf")
        for index, base in enumerate((base_of_folder(checkpoint), base_of_gguf([model])))
    )
    assert one.read_bytes() == other.read_bytes()


def test_a_folder_with_nothing_but_a_configuration_is_base_enough(tmp_path: Path, q_factors):
    checkpoint = write_checkpoint(tmp_path / "base", "llama2")
    (checkpoint / "model.safetensors").unlink()
    path = convert_adapter(
        write_peft(tmp_path / "peft", {Q_PROJ: q_factors}), base_of_folder(checkpoint), tmp_path / "adapter.gguf"
    )
    assert "blk.0.attn_q.weight.lora_a" in tensors_of(path)


def test_pytorchs_own_format_gives_the_same_adapter(llama: Base, q_factors, tmp_path: Path):
    folder = write_peft(tmp_path / "peft", {Q_PROJ: q_factors})
    one = convert_adapter(folder, llama, tmp_path / "one.gguf")
    (folder / "adapter_model.safetensors").unlink()
    tensors = {f"{WRAPPER}{Q_PROJ}.lora_{side}.weight": each for side, each in zip("AB", q_factors, strict=True)}
    write_pickled(folder / "adapter_model.bin", tensors)
    assert convert_adapter(folder, llama, tmp_path / "other.gguf").read_bytes() == one.read_bytes()


def test_gpt2s_factors_are_those_of_the_function_not_of_the_stored_matrix(tmp_path: Path):
    gpt2 = base_of_folder(write_checkpoint(tmp_path / "base", "gpt2"))
    hidden = gpt2.sizes["hidden"]
    a, b = random_factors(3 * hidden, hidden, RANK)
    folder = write_peft(tmp_path / "peft", {"transformer.h.0.attn.c_attn": (a, b)}, fan_in_fan_out=True)
    tensors = tensors_of(convert_adapter(folder, gpt2, tmp_path / "adapter.gguf"))
    np.testing.assert_array_equal(tensors["blk.0.attn_qkv.weight.lora_a"], a)
    np.testing.assert_array_equal(tensors["blk.0.attn_qkv.weight.lora_b"], b)


@pytest.mark.parametrize(
    ("config", "strength"),
    [
        ({"lora_alpha": 6}, 6 / RANK),
        ({"lora_alpha": -6}, -6 / RANK),
        ({"lora_alpha": 6, "use_rslora": True}, 6 / math.sqrt(RANK)),
        ({"lora_alpha": 6, "alpha_pattern": {"q_proj": 9}}, 9 / RANK),
        ({"lora_alpha": 6, "alpha_pattern": {"layers.0.self_attn.q_proj": 9, "q_proj": 5}}, 9 / RANK),
        ({"lora_alpha": 6, "alpha_pattern": {"proj": 9}}, 6 / RANK),  # a pattern begins at a dot
        ({"lora_alpha": 6, "r": 64, "rank_pattern": {".*q_proj": RANK}}, 6 / RANK),
        ({"lora_alpha": 6, "r": 4, "rank_pattern": {"q_proj": RANK}, "use_rslora": True}, 6 / math.sqrt(RANK)),
    ],
)
def test_the_strength_is_pefts(config: Mapping[str, object], strength: float, llama: Base, q_factors, tmp_path: Path):
    path = convert_adapter(write_peft(tmp_path / "peft", {Q_PROJ: q_factors}, **config), llama, tmp_path / "a.gguf")
    a, b = (each.astype(np.float64) for each in q_factors)
    expected = PairRotated("heads").apply(strength * (b @ a), llama.sizes)
    np.testing.assert_allclose(added(path, "blk.0.attn_q.weight"), expected, rtol=1e-6, atol=1e-9)


def test_modules_of_different_strength_share_one_alpha(llama: Base, tmp_path: Path):
    hidden, feed = llama.sizes["hidden"], llama.sizes["feed_forward"]
    factors = {
        f"model.layers.{layer}.mlp.{name}_proj": random_factors(*shape, rank)
        for layer in (0, 1)
        for name, shape, rank in (("up", (feed, hidden), 3), ("down", (hidden, feed), 5))
    }
    config = {"r": 3, "lora_alpha": 6, "rank_pattern": {"down_proj": 5}, "alpha_pattern": {"layers.1.mlp.down_proj": 2}}
    path = convert_adapter(write_peft(tmp_path / "peft", factors, **config), llama, tmp_path / "adapter.gguf")
    assert alpha_of(path) == 6  # of three of the four, whose factors stay as they are
    for (module, (a, b)), strength in zip(factors.items(), (6 / 3, 6 / 5, 6 / 3, 2 / 5), strict=True):
        target = f"blk.{module.split('.')[2]}.ffn_{module.split('.')[4].removesuffix('_proj')}.weight"
        np.testing.assert_allclose(added(path, target), strength * (b @ a), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(
        tensors_of(path)["blk.0.ffn_down.weight.lora_b"], factors["model.layers.0.mlp.down_proj"][1]
    )


def test_experts_are_stacked_whatever_their_ranks_and_those_without_an_adapter_stay_as_they_are(tmp_path: Path):
    mixtral = base_of_folder(write_checkpoint(tmp_path / "base", "mixtral"))
    hidden, feed = mixtral.sizes["hidden"], mixtral.sizes["expert_feed_forward"]
    ranks = {0: 3, 2: 5}
    factors = {
        f"model.layers.1.block_sparse_moe.experts.{expert}.w2": random_factors(hidden, feed, rank, expert)
        for expert, rank in ranks.items()
    }
    folder = write_peft(tmp_path / "peft", factors, r=3, lora_alpha=6, rank_pattern={"experts.2.w2": 5})
    path = convert_adapter(folder, mixtral, tmp_path / "adapter.gguf")
    found = added(path, "blk.1.ffn_down_exps.weight")
    assert found.shape == (mixtral.sizes["experts"], hidden, feed)
    for expert in range(mixtral.sizes["experts"]):
        if expert in ranks:
            a, b = factors[f"model.layers.1.block_sparse_moe.experts.{expert}.w2"]
            np.testing.assert_allclose(found[expert], 6 / ranks[expert] * (b @ a), rtol=1e-4, atol=1e-6)
        else:
            assert not found[expert].any()


def test_an_embeddings_factors_stand_so_that_rows_can_be_picked(tmp_path: Path):
    untied = base_of_folder(write_checkpoint(tmp_path / "base", "qwen2-untied"))
    vocab, hidden = untied.sizes["vocab"], untied.sizes["hidden"]
    a, b = random_factors(hidden, vocab, RANK)
    folder = write_peft(tmp_path / "peft", {}, r=RANK)
    tensors = {
        f"{WRAPPER}model.embed_tokens.lora_embedding_A": a,
        f"{WRAPPER}model.embed_tokens.lora_embedding_B": b,
        f"{WRAPPER}model.embed_tokens.base_layer.weight": np.zeros((vocab, hidden), np.float32),
    }
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    found = tensors_of(convert_adapter(folder, untied, tmp_path / "adapter.gguf"))
    np.testing.assert_array_equal(found["token_embd.weight.lora_a"], a.T)
    np.testing.assert_array_equal(found["token_embd.weight.lora_b"], b)


@pytest.mark.parametrize("type_name", ["F16", "bf16"])
def test_a_smaller_type_rounds_the_factors(type_name: str, llama: Base, q_factors, tmp_path: Path):
    folder = write_peft(tmp_path / "peft", {Q_PROJ: q_factors})
    path = convert_adapter(folder, llama, tmp_path / "adapter.gguf", type_name)
    types = {tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    assert types == {type_name.upper()}


def test_other_types_are_refused(llama: Base, q_factors, tmp_path: Path):
    with pytest.raises(BadInputError, match="an adapter can't be Q4_K_M"):
        convert_adapter(write_peft(tmp_path / "p", {Q_PROJ: q_factors}), llama, tmp_path / "a.gguf", "Q4_K_M")


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"use_dora": True}, r"weight decomposition \(DoRA\)"),
        ({"bias": "lora_only"}, "trained biases"),
        ({"lora_bias": True}, "biases of its own"),
        ({"modules_to_save": ["lm_head"]}, "whole modules of its own"),
        ({"trainable_token_indices": [1]}, "tokens of its own"),
        ({"target_parameters": ["mlp.experts.down_proj"]}, "parameters that no layer holds alone"),
        ({"layer_replication": [[0, 1]]}, "layers that occur several times"),
        ({"alora_invocation_tokens": [1]}, "aLoRA"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed before training"),
        ({"r": 4}, "factors of rank 3, and adapter_config.json says 4"),
        ({"lora_alpha": 0}, "`lora_alpha` = 0"),
        ({"lora_alpha": "much"}, "`lora_alpha` = 'much'"),
        ({"alpha_pattern": {"(": 3}}, "which is no pattern"),
        ({"rank_pattern": [3]}, "`rank_pattern` that is no object"),
        ({"peft_type": "IA3"}, "an adapter of type IA3"),
    ],
)
def test_what_a_gguf_adapter_can_not_hold_is_refused(config, problem: str, llama: Base, q_factors, tmp_path: Path):
    folder = write_peft(tmp_path / "peft", {Q_PROJ: q_factors}, **config)
    with pytest.raises(BadInputError, match=problem):
        convert_adapter(folder, llama, tmp_path / "adapter.gguf")
    assert not (tmp_path / "adapter.gguf").exists()


def test_all_that_is_wrong_is_told_at_once(llama: Base, q_factors, tmp_path: Path):
    a, b = q_factors
    tensors = {
        f"{WRAPPER}{Q_PROJ}.lora_A.weight": a,
        f"{WRAPPER}model.layers.0.self_attn.k_proj.lora_A.weight": a,
        f"{WRAPPER}model.layers.0.self_attn.k_proj.lora_B.weight": b[:7],
        f"{WRAPPER}model.layers.0.self_attn.w_proj.lora_A.weight": a,
        f"{WRAPPER}model.layers.0.self_attn.w_proj.lora_B.weight": b,
        f"{WRAPPER}model.layers.1.self_attn.v_proj.lora_A.weight": a,
        f"{WRAPPER}model.layers.1.self_attn.v_proj.lora_B.weight": b[:, :2],
        f"{WRAPPER}model.layers.1.input_layernorm.lora_A.weight": a,
        f"{WRAPPER}model.layers.1.input_layernorm.lora_B.weight": b,
        f"{WRAPPER}model.layers.1.self_attn.q_proj.bias": b[:, 0],
    }
    folder = write_peft(tmp_path / "peft", {}, r=RANK, use_dora=True)
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    with pytest.raises(BadInputError) as caught:
        convert_adapter(folder, llama, tmp_path / "adapter.gguf")
    for part in (
        "weight decomposition (DoRA)",
        "no place in a GGUF adapter for base_model.model.model.layers.1.self_attn.q_proj.bias",
        f"{Q_PROJ} has no lora_B",
        "model.layers.1.self_attn.v_proj has factors that can't be multiplied: A 3 x 64, B 64 x 2",
        "model.layers.0.self_attn.k_proj is 7 x 64, and the model makes it 64 x 64",
        "the model has no place for model.layers.0.self_attn.w_proj",
        "llama.cpp adds nothing to `blk.1.attn_norm.weight` as it runs",
    ):
        assert part in caught.value.message


def test_the_output_of_a_model_that_has_none_of_its_own_is_no_place(tmp_path: Path):
    tied = base_of_folder(write_checkpoint(tmp_path / "base", "qwen2"))
    vocab, hidden = tied.sizes["vocab"], tied.sizes["hidden"]
    for module, problem in (
        ("lm_head", "no tensor `output.weight`; its output is the embedding"),
        ("model.embed_tokens", "llama.cpp can't add to `token_embd.weight` alone"),
    ):
        folder = write_peft(tmp_path / module, {module: random_factors(vocab, hidden, RANK)})
        with pytest.raises(BadInputError, match=problem):
            convert_adapter(folder, tied, tmp_path / "adapter.gguf")


def test_a_folder_without_an_adapter_is_refused(llama: Base, q_factors, tmp_path: Path):
    with pytest.raises(BadInputError, match="has no adapter_config.json"):
        convert_adapter(tmp_path, llama, tmp_path / "adapter.gguf")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 3}))
    with pytest.raises(BadInputError, match="neither adapter_model.safetensors nor adapter_model.bin"):
        convert_adapter(tmp_path, llama, tmp_path / "adapter.gguf")
