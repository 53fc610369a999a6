"""Tiny checkpoints as Hugging Face repositories hold them, of every architecture that llmasos converts.

Configuration, tensors' names and shapes, and the vocabulary's files are those of the family's real repositories; the
numbers are random, each tensor's from its own seed, so that nothing here needs PyTorch or transformers.
`tests/real/test_checkpoints.py` holds every checkpoint against transformers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from doubles.checkpoints_configs import CONFIGS, E, specials
from doubles.checkpoints_files import Array, write_pickled, write_safetensors, write_shards
from doubles.checkpoints_more_configs import MORE_CONFIGS
from doubles.checkpoints_shapes import Shapes, gpt2_as_saved, shapes
from doubles.vocabularies import write_vocabulary
from llmasos.formats.floats import as_bfloat16

Layout = Literal["safetensors", "shards", "pickle", "pickle-shards"]
POOLING = "1_Pooling"


@dataclass(frozen=True)
class TinyCheckpoint:
    """One repository: what its files say, but for the numbers in its tensors."""

    name: str
    config: dict[str, Any]
    vocabulary: str  # a kind of doubles.vocabularies
    dtype: str = "F32"  # how floating-point tensors are stored: F32, F16, BF16
    shapes: Shapes = field(default_factory=dict)
    generation_config: dict[str, Any] | None = None
    pooling: str | None = None  # mean or cls, in the files of sentence-transformers
    values_of: str | None = None  # the checkpoint whose numbers this one holds in another layout
    without: tuple[str, ...] = ()  # files of the vocabulary that the repository lacks
    readable_as: str | None = None  # the checkpoint with these numbers that transformers reads, where not this one

    @property
    def is_encoder(self) -> bool:
        """True for models that give embeddings and no logits."""
        return "Bert" in self.config["architectures"][0]

    @property
    def is_classifier(self) -> bool:
        """True for encoders with a head of scores."""
        return self.config["architectures"][0].endswith("ForSequenceClassification")


def _checkpoint(name: str, vocabulary: str, dtype: str = "F32", **more: Any) -> TinyCheckpoint:
    config = {**CONFIGS, **MORE_CONFIGS}[name]
    return TinyCheckpoint(name, config, vocabulary, dtype, **{"shapes": shapes(config), **more})


_LLAMA3_ENDS = CONFIGS["llama3"]["eos_token_id"]
CHECKPOINTS: dict[str, TinyCheckpoint] = {
    checkpoint.name: checkpoint
    for checkpoint in (
        _checkpoint("gpt2", "gpt2", generation_config={"_from_model_config": True, **specials("gpt2", bos=E, eos=E)}),
        _checkpoint("gpt2-saved", "gpt2", shapes=gpt2_as_saved(CONFIGS["gpt2"]), values_of="gpt2"),
        _checkpoint("llama2", "llama2", "F16"),
        _checkpoint("llama2-json", "llama2", "F16", values_of="llama2", without=("tokenizer.model",)),
        _checkpoint(
            "llama3",
            "llama3",
            "BF16",
            generation_config={
                **specials("llama3", bos="<|begin_of_text|>"),
                "do_sample": True,
                "eos_token_id": _LLAMA3_ENDS,
                "temperature": 0.6,
                "top_p": 0.9,
            },
        ),
        _checkpoint("smollm2", "smollm", "BF16"),
        _checkpoint("mistral", "llama2", "BF16"),
        _checkpoint("mistral-nemo", "tekken", "BF16"),
        _checkpoint("mixtral", "mistral", "BF16"),
        _checkpoint(
            "qwen2",
            "qwen2",
            "BF16",
            generation_config={
                **specials("qwen2", bos=E, pad=E),
                "do_sample": True,
                "eos_token_id": list(specials("qwen2", a="<|im_end|>", b=E).values()),
                "repetition_penalty": 1.1,
                "temperature": 0.7,
                "top_k": 20,
                "top_p": 0.8,
            },
        ),
        _checkpoint("qwen2-untied", "qwen2", "BF16"),
        _checkpoint("qwen2-moe", "qwen2"),
        _checkpoint("qwen3", "qwen3", "BF16"),
        _checkpoint("qwen3-moe", "qwen3"),
        _checkpoint("gemma", "gemma", "BF16"),
        _checkpoint("gemma2", "gemma"),
        _checkpoint(
            "gemma3",
            "gemma",
            "BF16",
            generation_config={"cache_implementation": "hybrid", "do_sample": True, "top_k": 64, "top_p": 0.95},
        ),
        _checkpoint("gemma3-vision", "gemma", "BF16"),
        _checkpoint("phi2", "phi-2", "F16"),
        _checkpoint("phi3", "phi3", "BF16"),
        _checkpoint("phi4-mini", "gpt-4o", "BF16"),
        _checkpoint("pythia", "gpt-neox", "F16"),
        _checkpoint("gpt-neox-sequential", "gpt-neox"),
        _checkpoint("falcon-7b", "falcon", "BF16"),
        _checkpoint("falcon-40b", "falcon", "BF16"),
        _checkpoint("starcoder2", "starcoder2"),
        _checkpoint("olmo2", "olmo2"),
        _checkpoint("stablelm", "stablelm2", "F16"),
        _checkpoint("stablelm-12b", "stablelm2", "BF16"),
        _checkpoint("bert", "bert", pooling="mean"),
        _checkpoint("bert-cls", "bert", pooling="cls"),
        _checkpoint("bert-classifier", "bert"),
        _checkpoint("bert-reranker", "bert"),
        _checkpoint("nomic-bert", "bert", pooling="mean", readable_as="nomic-bert-saved"),
        _checkpoint("nomic-bert-saved", "bert", pooling="mean", values_of="nomic-bert"),
    )
}


def write_checkpoint(folder: Path, name: str, *, layout: Layout = "safetensors") -> Path:
    """Writes the files of checkpoint `name` into `folder`, and returns the folder.

    The layout `shards` splits the tensors over three files with an index; `pickle` and `pickle-shards` write
    `pytorch_model.bin` and its shards, as PyTorch saves them.
    """
    checkpoint = CHECKPOINTS[name]
    write_vocabulary(folder, checkpoint.vocabulary)
    for file in checkpoint.without:
        (folder / file).unlink(missing_ok=True)
    _write(folder / "config.json", checkpoint.config)
    if checkpoint.generation_config is not None:
        _write(folder / "generation_config.json", checkpoint.generation_config)
    if checkpoint.pooling is not None:
        _write_pooling(folder, checkpoint)
    writers = {"safetensors": _write_one, "shards": _write_three, "pickle": _pickle_one, "pickle-shards": _pickle_three}
    writers[layout](folder, tensors(checkpoint))
    return folder


def tensors(checkpoint: TinyCheckpoint) -> dict[str, Array]:
    """The checkpoint's tensors by name, in its dtype; BF16 as bits in uint16, as llmasos.formats.floats has it."""
    return {name: _values(checkpoint, name, shape) for name, shape in checkpoint.shapes.items()}


def _values(checkpoint: TinyCheckpoint, name: str, shape: tuple[int, ...]) -> Array:
    if name.endswith(".attn.bias") and len(shape) == 4:
        return np.tril(np.ones(shape, np.float32))  # GPT-2's causal mask
    owner = checkpoint.values_of or checkpoint.name
    seeded = "word_embeddings.weight" if _is_falcons_head(checkpoint, name) else name.removeprefix("transformer.")
    generator = np.random.default_rng([*owner.encode(), 0, *seeded.encode()])
    values = generator.standard_normal(shape, np.float32) * _spread(name, shape)
    if len(shape) == 1 and name.endswith("weight") and "gemma" not in checkpoint.config["model_type"]:
        values += 1  # a norm's weights lie around 1, save that Gemma adds the 1 itself
    values = values.astype(np.float32)
    stored = {"F32": values, "F16": values.astype(np.float16), "BF16": as_bfloat16(values)}
    return stored[checkpoint.dtype]


def _is_falcons_head(checkpoint: TinyCheckpoint, name: str) -> bool:
    return checkpoint.config["model_type"] == "falcon" and name == "lm_head.weight"


def _spread(name: str, shape: tuple[int, ...]) -> float:
    """The standard deviation: activations keep their size through the layers, and logits are neither flat nor spiky."""
    if len(shape) == 1:
        return 0.2 if name.endswith("weight") else 0.1
    return float(min(0.2, shape[-1] ** -0.5))


def _write_pooling(folder: Path, checkpoint: TinyCheckpoint) -> None:
    kinds = ("Transformer", "Pooling", "Normalize")
    paths = ("", POOLING, "2_Normalize")
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    modes = {"cls_token": False, "mean_tokens": False, "max_tokens": False, "mean_sqrt_len_tokens": False}
    chosen = {"mean": "mean_tokens", "cls": "cls_token"}[checkpoint.pooling or "mean"]
    switches = {f"pooling_mode_{mode}": mode == chosen for mode in modes}
    width = checkpoint.config.get("hidden_size") or checkpoint.config["n_embd"]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2), "utf-8")
    (folder / POOLING).mkdir(exist_ok=True)
    _write(folder / POOLING / "config.json", {"word_embedding_dimension": width, **switches})


def _write_one(folder: Path, arrays: dict[str, Array]) -> None:
    write_safetensors(folder / "model.safetensors", arrays)


def _write_three(folder: Path, arrays: dict[str, Array]) -> None:
    write_shards(folder, arrays, 3, "model", ".safetensors", write_safetensors)


def _pickle_one(folder: Path, arrays: dict[str, Array]) -> None:
    write_pickled(folder / "pytorch_model.bin", arrays)


def _pickle_three(folder: Path, arrays: dict[str, Array]) -> None:
    write_shards(folder, arrays, 3, "pytorch_model", ".bin", write_pickled)


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2, sort_keys=True) + "\n", "utf-8")
