"""Checkpoints in Llama's shape of any size, over several files: of holes, which take no disk, or of random numbers."""

from __future__ import annotations

import json
import math
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from doubles.checkpoints import write_checkpoint

LAYERS_A_FILE = 4
DIFFERENT_NUMBERS = 2**22  # of random ones; a tensor takes them again and again, from somewhere among them
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class LargeLlama:
    """Sizes as config.json has them; the vocabulary is that of the tiny `llama3`."""

    hidden: int = 3072
    feed_forward: int = 8192
    layers: int = 30
    heads: int = 24
    kv_heads: int = 8

    def files(self, vocabulary: int) -> Iterator[Shapes]:
        """Names and shapes of the tensors, file by file."""
        yield {
            "model.embed_tokens.weight": (vocabulary, self.hidden),
            "model.norm.weight": (self.hidden,),
            "lm_head.weight": (vocabulary, self.hidden),
        }
        for first in range(0, self.layers, LAYERS_A_FILE):
            numbers = range(first, min(first + LAYERS_A_FILE, self.layers))
            yield {name: shape for number in numbers for name, shape in self._layer(number).items()}

    def _layer(self, number: int) -> Shapes:
        keys = self.hidden // self.heads * self.kv_heads
        shapes: Shapes = {
            "input_layernorm": (self.hidden,),
            "post_attention_layernorm": (self.hidden,),
            "self_attn.q_proj": (self.hidden, self.hidden),
            "self_attn.k_proj": (keys, self.hidden),
            "self_attn.v_proj": (keys, self.hidden),
            "self_attn.o_proj": (self.hidden, self.hidden),
            "mlp.gate_proj": (self.feed_forward, self.hidden),
            "mlp.up_proj": (self.feed_forward, self.hidden),
            "mlp.down_proj": (self.hidden, self.feed_forward),
        }
        return {f"model.layers.{number}.{name}.weight": shape for name, shape in shapes.items()}


def write_large(folder: Path, model: LargeLlama, *, random: bool = False, like: Path | None = None) -> int:
    """Writes a checkpoint in bfloat16, of zeros unless it is to be random, and returns how many weights it has.

    Configuration and tokenizer are those of the checkpoint `like`, or of the tiny `llama3`.
    """
    if like is None:
        write_checkpoint(folder, "llama3")
        (folder / "model.safetensors").unlink()
    else:
        shutil.copytree(like, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"hidden_size": model.hidden, "intermediate_size": model.feed_forward, "num_hidden_layers": model.layers}
    config |= {"num_attention_heads": model.heads, "num_key_value_heads": model.kv_heads}
    config |= {"head_dim": model.hidden // model.heads, "tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    files = list(model.files(config["vocab_size"]))
    names = [f"model-{index:05}-of-{len(files):05}.safetensors" for index in range(1, len(files) + 1)]
    for name, shapes in zip(names, files, strict=True):
        _write(folder / name, shapes, random=random)
    places = {tensor: name for name, shapes in zip(names, files, strict=True) for tensor in shapes}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}), "utf-8")
    return sum(math.prod(shape) for shapes in files for shape in shapes.values())


def _write(path: Path, shapes: Shapes, *, random: bool) -> None:
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if random:
            for part in _random_weights(len(text), end // 2):
                file.write(part.data)
        file.truncate(8 + len(text) + end)


def _random_weights(seed: int, count: int) -> Iterator[np.ndarray]:
    """So many weights in bfloat16, part by part: random numbers are made a few million at a time."""
    generator = np.random.default_rng(seed)
    numbers = generator.standard_normal(min(count, DIFFERENT_NUMBERS), np.float32) * np.float32(0.05)
    weights = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    while count:
        start = int(generator.integers(len(weights)))
        part = weights[start : start + count]
        count -= len(part)
        yield part
