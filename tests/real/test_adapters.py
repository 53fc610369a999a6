"""Adapters trained with PEFT: the model with our adapter, in llama.cpp, is the model that PEFT has merged it into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubles.checkpoints import write_checkpoint
from doubles.logits import largest_relative_difference, logits_of_checkpoint, logits_of_gguf, sample_tokens
from llmasos.conversion.adapter import base_of_gguf, convert_adapter
from llmasos.conversion.convert import convert
from llmasos.engine.adapter import load_adapter
from llmasos.engine.context import Context, ContextOptions, Reading, logits_at
from llmasos.engine.model import ModelOptions, load_model
from llmasos.formats.gguf import read_header
from llmasos.formats.lora import require_adapter, require_same_model

pytestmark = [pytest.mark.real, pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore")]
CLOSE_ENOUGH = 2e-3

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
ADAPTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "every layer of a llama": ("llama3", {"target_modules": [*ATTENTION, "gate_proj", "up_proj", "down_proj"]}),
    "rank-stabilised": ("llama2", {"target_modules": ATTENTION, "use_rslora": True}),
    "each module its own": (
        "gpt2",
        {
            "target_modules": ["c_attn", "c_proj", "c_fc"],
            "fan_in_fan_out": True,
            "rank_pattern": {"h.0.attn.c_proj": 6},
            "alpha_pattern": {"mlp.c_proj": 3},
        },
    ),
    "embedding and output": ("qwen2-untied", {"target_modules": ["q_proj", "embed_tokens", "lm_head"]}),
    "fused and regrouped": ("falcon-40b", {"target_modules": ["query_key_value", "dense", "dense_h_to_4h"]}),
    "fused": ("phi3", {"target_modules": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]}),
    "another base of the rotation": ("gemma3", {"target_modules": ["q_proj", "k_proj", "down_proj"]}),
}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_model_with_an_adapter_is_the_merged_model(kind: str, tmp_path: Path):
    name, config = ADAPTERS[kind]
    base = write_checkpoint(tmp_path / "base", name)
    merged = train_and_merge(base, tmp_path, {"r": 4, "lora_alpha": 8, **config})
    [model] = convert(base, tmp_path / "base.gguf", "F32")
    adapter = convert_adapter(tmp_path / "peft", base_of_gguf([model]), tmp_path / "adapter.gguf")
    header = read_header(adapter)
    require_adapter(header, "it")
    require_same_model(header, "it", [read_header(model)], "the model")
    tokens = sample_tokens(base)
    expected = logits_of_checkpoint(merged, tokens)
    assert largest_relative_difference(logits_with(model, adapter, tokens), expected) < CLOSE_ENOUGH
    assert largest_relative_difference(logits_of_gguf(model, tokens), expected) > 0.1


def train_and_merge(base: Path, folder: Path, config: dict[str, Any]) -> Path:
    """Lets PEFT write `folder/peft`, with random factors, and the checkpoint that it merges them into."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**config))
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, 0, 0.15)
    model.save_pretrained(folder / "peft")
    model.merge_and_unload().save_pretrained(folder / "merged")
    return folder / "merged"


def logits_with(model_path: Path, adapter_path: Path, tokens: list[int]) -> np.ndarray:
    """llama.cpp's logits (positions, vocabulary), in float32 and without flash attention."""
    model = load_model([model_path], ModelOptions())
    adapter = load_adapter(model, adapter_path, adapter_path.name)
    options = ContextOptions(len(tokens), threads=1, kv_type="f32", flash_attention=False)
    context = Context(model, options, [adapter])
    rows = []
    for position, token in enumerate(tokens):
        [index] = context.decode([Reading(0, [token], position)])
        rows.append(np.array(logits_at(context, index, model.vocabulary_size)))
    context.close()
    adapter.close()
    model.close()
    return np.stack(rows)
