"""The tensors of a checkpoint by its configuration: names as repositories write them, shapes as PyTorch has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Config = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]
BERT_CLASSIFIER = "BertForSequenceClassification"
TIED_UNLESS_TOLD = {"gemma", "gemma2", "gemma3_text", "starcoder2", "falcon"}


def shapes(config: Config) -> Shapes:
    """Name and shape of every tensor of the model that `config` describes."""
    return ARCHITECTURES[config["model_type"]](config)


def linear(name: str, out: int, width: int, *, bias: bool = False) -> Shapes:
    return {f"{name}.weight": (out, width), **({f"{name}.bias": (out,)} if bias else {})}


def norm(name: str, width: int, *, bias: bool = False) -> Shapes:
    return {f"{name}.weight": (width,), **({f"{name}.bias": (width,)} if bias else {})}


def heads(config: Config) -> tuple[int, int, int]:
    """Heads, heads of keys and values, and a head's width."""
    count = config["num_attention_heads"]
    width = config.get("head_dim") or config["hidden_size"] // count
    return count, config.get("num_key_value_heads") or count, width


def decoder(config: Config, layer: Callable[[Config], Shapes], *, bias: bool = False, final: str = "norm") -> Shapes:
    """`model.` with embeddings, layers and a last norm, and a head unless it is tied to the embeddings."""
    width, words = config["hidden_size"], config["vocab_size"]
    found = {"model.embed_tokens.weight": (words, width)}
    for number in range(config["num_hidden_layers"]):
        found |= {f"model.layers.{number}.{name}": shape for name, shape in layer(config).items()}
    found |= norm(f"model.{final}", width, bias=bias)
    if not config.get("tie_word_embeddings", config["model_type"] in TIED_UNLESS_TOLD):
        found |= {"lm_head.weight": (words, width)}
    return found


def attention(config: Config, *, qkv_bias: bool = False, out_bias: bool = False, out: str = "o_proj") -> Shapes:
    width, (count, kv_count, head) = config["hidden_size"], heads(config)
    return {
        **linear("self_attn.q_proj", count * head, width, bias=qkv_bias),
        **linear("self_attn.k_proj", kv_count * head, width, bias=qkv_bias),
        **linear("self_attn.v_proj", kv_count * head, width, bias=qkv_bias),
        **linear(f"self_attn.{out}", width, count * head, bias=out_bias),
    }


def gated(name: str, width: int, feed: int) -> Shapes:
    sides = {"gate_proj": (feed, width), "up_proj": (feed, width), "down_proj": (width, feed)}
    return {f"{name}.{side}.weight": shape for side, shape in sides.items()}


def two_norms(config: Config, *, bias: bool = False) -> Shapes:
    width = config["hidden_size"]
    return norm("input_layernorm", width, bias=bias) | norm("post_attention_layernorm", width, bias=bias)


def llama_layer(config: Config, *, qkv_bias: bool = False) -> Shapes:
    feed_forward = gated("mlp", config["hidden_size"], config["intermediate_size"])
    return two_norms(config) | attention(config, qkv_bias=qkv_bias) | feed_forward


def head_norms(config: Config) -> Shapes:
    head = heads(config)[2]
    return norm("self_attn.q_norm", head) | norm("self_attn.k_norm", head)


def mixtral_layer(config: Config) -> Shapes:
    width, feed = config["hidden_size"], config["intermediate_size"]
    found = two_norms(config) | attention(config)
    found |= linear("block_sparse_moe.gate", config["num_local_experts"], width)
    for expert in range(config["num_local_experts"]):
        name = f"block_sparse_moe.experts.{expert}"
        found |= {f"{name}.w1.weight": (feed, width), f"{name}.w2.weight": (width, feed)}
        found |= {f"{name}.w3.weight": (feed, width)}
    return found


def experts(config: Config) -> Shapes:
    width, feed = config["hidden_size"], config["moe_intermediate_size"]
    found = linear("mlp.gate", config["num_experts"], width)
    for expert in range(config["num_experts"]):
        found |= gated(f"mlp.experts.{expert}", width, feed)
    return found


def qwen2_moe_layer(config: Config) -> Shapes:
    width = config["hidden_size"]
    shared = gated("mlp.shared_expert", width, config["shared_expert_intermediate_size"])
    shared |= linear("mlp.shared_expert_gate", 1, width)
    return two_norms(config) | attention(config, qkv_bias=True) | experts(config) | shared


def gemma2_layer(config: Config) -> Shapes:
    width = config["hidden_size"]
    around = norm("pre_feedforward_layernorm", width) | norm("post_feedforward_layernorm", width)
    return llama_layer(config) | around


def phi_layer(config: Config) -> Shapes:
    width, feed = config["hidden_size"], config["intermediate_size"]
    found = norm("input_layernorm", width, bias=True)
    found |= attention(config, qkv_bias=True, out_bias=True, out="dense")
    return found | linear("mlp.fc1", feed, width, bias=True) | linear("mlp.fc2", width, feed, bias=True)


def phi(config: Config) -> Shapes:
    found = decoder(config, phi_layer, bias=True, final="final_layernorm")
    return found | {"lm_head.bias": (config["vocab_size"],)}


def phi3_layer(config: Config) -> Shapes:
    width, feed, (count, kv_count, head) = config["hidden_size"], config["intermediate_size"], heads(config)
    return {
        **two_norms(config),
        "self_attn.qkv_proj.weight": ((count + 2 * kv_count) * head, width),
        "self_attn.o_proj.weight": (width, count * head),
        "mlp.gate_up_proj.weight": (2 * feed, width),
        "mlp.down_proj.weight": (width, feed),
    }


def starcoder2_layer(config: Config) -> Shapes:
    width, feed, bias = config["hidden_size"], config["intermediate_size"], config["use_bias"]
    found = two_norms(config, bias=True) | attention(config, qkv_bias=bias, out_bias=bias)
    return found | linear("mlp.c_fc", feed, width, bias=bias) | linear("mlp.c_proj", width, feed, bias=bias)


def olmo2_layer(config: Config) -> Shapes:
    width, (count, kv_count, head) = config["hidden_size"], heads(config)
    found = norm("post_attention_layernorm", width) | norm("post_feedforward_layernorm", width)
    found |= norm("self_attn.q_norm", count * head) | norm("self_attn.k_norm", kv_count * head)
    return found | attention(config) | gated("mlp", width, config["intermediate_size"])


def stablelm_layer(config: Config) -> Shapes:
    width, (count, kv_count, head) = config["hidden_size"], heads(config)
    found = norm("input_layernorm", width, bias=True)
    if not config["use_parallel_residual"]:
        found |= norm("post_attention_layernorm", width, bias=True)
    if config["qk_layernorm"]:
        for name, number in (("q_layernorm", count), ("k_layernorm", kv_count)):
            found |= {f"self_attn.{name}.norms.{index}.weight": (head,) for index in range(number)}
    return found | attention(config, qkv_bias=config["use_qkv_bias"]) | gated("mlp", width, config["intermediate_size"])


def gpt2(config: Config) -> Shapes:
    """`openai-community/gpt2` has no `transformer.` before its names and carries its causal masks along."""
    width, places = config["n_embd"], config["n_ctx"]
    found = {"wte.weight": (config["vocab_size"], width), "wpe.weight": (config["n_positions"], width)}
    for number in range(config["n_layer"]):
        layer = {
            "attn.bias": (1, 1, places, places),
            **norm("ln_1", width, bias=True),
            **norm("ln_2", width, bias=True),
        }
        for name, taken, given in (
            ("attn.c_attn", width, 3 * width),
            ("attn.c_proj", width, width),
            ("mlp.c_fc", width, 4 * width),
            ("mlp.c_proj", 4 * width, width),
        ):
            layer |= {f"{name}.weight": (taken, given), f"{name}.bias": (given,)}
        found |= {f"h.{number}.{name}": shape for name, shape in layer.items()}
    return found | norm("ln_f", width, bias=True)


def gpt2_as_saved(config: Config) -> Shapes:
    """What transformers writes today: names below `transformer.`, no masks."""
    masks = {f"h.{number}.attn.bias" for number in range(config["n_layer"])}
    return {f"transformer.{name}": shape for name, shape in gpt2(config).items() if name not in masks}


def gpt_neox(config: Config) -> Shapes:
    width, feed, words = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    found: Shapes = {"gpt_neox.embed_in.weight": (words, width)}
    for number in range(config["num_hidden_layers"]):
        layer = two_norms(config, bias=True)
        layer |= linear("attention.query_key_value", 3 * width, width, bias=True)
        layer |= linear("attention.dense", width, width, bias=True)
        layer |= linear("mlp.dense_h_to_4h", feed, width, bias=True) | linear(
            "mlp.dense_4h_to_h", width, feed, bias=True
        )
        found |= {f"gpt_neox.layers.{number}.{name}": shape for name, shape in layer.items()}
    return found | norm("gpt_neox.final_layer_norm", width, bias=True) | {"embed_out.weight": (words, width)}


def falcon(config: Config) -> Shapes:
    width, count, new = config["hidden_size"], config["num_attention_heads"], config["new_decoder_architecture"]
    kv_count = config["num_kv_heads"] if new else 1
    norms = ("ln_attn", "ln_mlp") if new else ("input_layernorm",)
    layer: Shapes = {}
    for name in norms:
        layer |= norm(name, width, bias=True)
    layer |= linear("self_attention.query_key_value", width // count * (count + 2 * kv_count), width)
    layer |= linear("self_attention.dense", width, width)
    layer |= linear("mlp.dense_h_to_4h", 4 * width, width) | linear("mlp.dense_4h_to_h", width, 4 * width)
    found: Shapes = {"transformer.word_embeddings.weight": (config["vocab_size"], width)}
    for number in range(config["num_hidden_layers"]):
        found |= {f"transformer.h.{number}.{name}": shape for name, shape in layer.items()}
    found |= norm("transformer.ln_f", width, bias=True)
    # falcon-7b carries the embeddings along a second time
    return found if new else found | {"lm_head.weight": (config["vocab_size"], width)}


def bert(config: Config) -> Shapes:
    width, feed = config["hidden_size"], config["intermediate_size"]
    found: Shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
        **norm("embeddings.LayerNorm", width, bias=True),
    }
    for number in range(config["num_hidden_layers"]):
        layer: Shapes = {}
        for name in ("query", "key", "value"):
            layer |= linear(f"attention.self.{name}", width, width, bias=True)
        layer |= linear("attention.output.dense", width, width, bias=True)
        layer |= norm("attention.output.LayerNorm", width, bias=True)
        layer |= linear("intermediate.dense", feed, width, bias=True) | linear("output.dense", width, feed, bias=True)
        layer |= norm("output.LayerNorm", width, bias=True)
        found |= {f"encoder.layer.{number}.{name}": shape for name, shape in layer.items()}
    found |= linear("pooler.dense", width, width, bias=True)
    return below_a_classifier(found, config) if config["architectures"] == [BERT_CLASSIFIER] else found


def below_a_classifier(body: Shapes, config: Config) -> Shapes:
    head = linear("classifier", len(config["id2label"]), config["hidden_size"], bias=True)
    return {f"bert.{name}": shape for name, shape in body.items()} | head


def nomic_bert(config: Config) -> Shapes:
    width, feed = config["n_embd"], config["n_inner"]
    found: Shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
        **norm("emb_ln", width, bias=True),
    }
    for number in range(config["n_layer"]):
        layer = linear("attn.Wqkv", 3 * width, width) | linear("attn.out_proj", width, width)
        layer |= linear("mlp.fc11", feed, width) | linear("mlp.fc12", feed, width) | linear("mlp.fc2", width, feed)
        layer |= norm("norm1", width, bias=True) | norm("norm2", width, bias=True)
        found |= {f"encoder.layers.{number}.{name}": shape for name, shape in layer.items()}
    return found


def gemma3_vision(config: Config) -> Shapes:
    """The text model below `language_model.`, beside a tower and a projector of which a converter takes nothing."""
    text, vision = config["text_config"], config["vision_config"]
    width, seen = text["hidden_size"], vision["hidden_size"]
    found = {f"language_model.{name}": shape for name, shape in decoder(text, gemma3_layer).items()}
    found |= {"multi_modal_projector.mm_input_projection_weight": (seen, width)}
    found |= norm("multi_modal_projector.mm_soft_emb_norm", seen)
    tower: Shapes = {
        "embeddings.patch_embedding.weight": (seen, 3, vision["patch_size"], vision["patch_size"]),
        "embeddings.patch_embedding.bias": (seen,),
        "embeddings.position_embedding.weight": ((vision["image_size"] // vision["patch_size"]) ** 2, seen),
        **norm("post_layernorm", seen, bias=True),
    }
    for number in range(vision["num_hidden_layers"]):
        layer = norm("layer_norm1", seen, bias=True) | norm("layer_norm2", seen, bias=True)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            layer |= linear(f"self_attn.{name}", seen, seen, bias=True)
        feed = vision["intermediate_size"]
        layer |= linear("mlp.fc1", feed, seen, bias=True) | linear("mlp.fc2", seen, feed, bias=True)
        tower |= {f"encoder.layers.{number}.{name}": shape for name, shape in layer.items()}
    return found | {f"vision_tower.vision_model.{name}": shape for name, shape in tower.items()}


def gemma3_layer(config: Config) -> Shapes:
    return gemma2_layer(config) | head_norms(config)


ARCHITECTURES: dict[str, Callable[[Config], Shapes]] = {
    "bert": bert,
    "falcon": falcon,
    "gemma": lambda config: decoder(config, llama_layer),
    "gemma2": lambda config: decoder(config, gemma2_layer),
    "gemma3": gemma3_vision,
    "gemma3_text": lambda config: decoder(config, gemma3_layer),
    "gpt2": gpt2,
    "gpt_neox": gpt_neox,
    "llama": lambda config: decoder(config, llama_layer),
    "mistral": lambda config: decoder(config, llama_layer),
    "mixtral": lambda config: decoder(config, mixtral_layer),
    "nomic_bert": nomic_bert,
    "olmo2": lambda config: decoder(config, olmo2_layer),
    "phi": phi,
    "phi3": lambda config: decoder(config, phi3_layer),
    "qwen2": lambda config: decoder(config, lambda layer: llama_layer(layer, qkv_bias=True)),
    "qwen2_moe": lambda config: decoder(config, qwen2_moe_layer),
    "qwen3": lambda config: decoder(config, lambda layer: llama_layer(layer) | head_norms(layer)),
    "qwen3_moe": lambda config: decoder(
        config, lambda layer: two_norms(layer) | attention(layer) | head_norms(layer) | experts(layer)
    ),
    "stablelm": lambda config: decoder(config, stablelm_layer, bias=True),
    "starcoder2": lambda config: decoder(config, starcoder2_layer, bias=True),
}
