"""What an architecture is to the conversion: names, tensor map, metadata. One file each in `architectures/`.

`find_architecture` looks through those files for the class that a checkpoint's `config.json` names; a file is found
because it is there and has an `ARCHITECTURE` (or several, as `ARCHITECTURES`).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from llmasos.conversion import architectures
from llmasos.conversion.config import Config
from llmasos.conversion.exporting.described import Described
from llmasos.conversion.rules import Rule, Sizes
from llmasos.errors import BadInputError
from llmasos.formats.floats import Array

Metadata = dict[str, Any]  # values as `quantization.writer` takes them

HOW_TO_ADD = "ARCHITECTURE.md says how to add one: a file in llmasos/conversion/architectures/"

# Buffers that old checkpoints carry along, which every model makes anew.
BUFFERS = ("*.rotary_emb.inv_freq", "*.attention.bias", "*.attention.masked_bias", "*.attn.bias", "*.attn.masked_bias")


def no_extra_tensors(config: Config, sizes: Sizes) -> dict[str, Array]:
    return {}


def suits_all(config: Config) -> bool:
    return True


def no_sentences(config: Config) -> list[str]:
    return []


def common_sizes(config: Config) -> dict[str, int]:
    """The sizes that most architectures' shapes are made of."""
    heads, head_dim = config.integer("num_attention_heads", "n_head"), config.head_dim
    kv_heads = config.integer("num_key_value_heads") if config.get("num_key_value_heads") else heads
    return {
        "layers": config.integer("num_hidden_layers", "n_layer"),
        "hidden": config.integer("hidden_size", "n_embd"),
        "vocab": config.integer("vocab_size"),
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "queries": heads * head_dim,
        "keys": kv_heads * head_dim,
        "feed_forward": config.integer("intermediate_size", "n_inner")
        if config.get("intermediate_size", "n_inner")
        else 0,
    }


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one family of checkpoints becomes GGUF.

    `metadata` gives the hyper-parameters; keys without a dot at the front belong to the architecture, `context_length`
    becomes `llama.context_length`. `defaults` are what the family's configuration takes for granted. `suits` tells
    architectures of one class apart. `prefixes` rename tensors of other layouts before the rules see them: the first
    whose old beginning fits is applied; `suffixes` do so for ends. `ignored` are shell-like patterns of tensors that
    have no place in the GGUF. `problems` says, in sentences, what llama.cpp would not compute as the original does and
    what is therefore refused; `notes` says what differs so little, or so seldom, that people are only told.
    `folder_metadata` gives hyper-parameters from files other than `config.json`. `adjust_vocabulary` has the last word
    on the tokenizer's metadata. `config_of` is the way back, for export: from what a GGUF says to `config.json`, types
    of weights and special tokens aside; it raises BadInputError for what no such checkpoint can be.
    """

    name: str  # llama.cpp's
    classes: tuple[str, ...]  # in config.json's `architectures`
    rules: tuple[Rule, ...]
    metadata: Callable[[Config, Sizes], Metadata]
    sizes: Callable[[Config], dict[str, int]] = common_sizes
    defaults: Mapping[str, Any] = field(default_factory=dict)
    suits: Callable[[Config], bool] = suits_all
    prefixes: Mapping[str, str] = field(default_factory=dict)
    suffixes: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    extra_tensors: Callable[[Config, Sizes], dict[str, Array]] = no_extra_tensors
    rules_for: Callable[[Config], Sequence[Rule]] | None = None  # where the map depends on the configuration
    problems: Callable[[Config], list[str]] = no_sentences
    notes: Callable[[Config], list[str]] = no_sentences
    folder_metadata: Callable[[Path], Metadata] | None = None
    adjust_vocabulary: Callable[[Config, Metadata], Metadata] | None = None
    model_name: Callable[[str, Mapping[str, Any]], str] | None = None  # where llama.cpp goes by what a model is called
    config_of: Callable[[Described], dict[str, Any]] | None = None

    def tensor_map(self, config: Config) -> Sequence[Rule]:
        return self.rules if self.rules_for is None else self.rules_for(config)

    def canonical(self, name: str) -> str:
        """A tensor's name as the rules have it."""
        for old, new in self.prefixes.items():
            if name.startswith(old):
                name = new + name.removeprefix(old)
                break
        for old, new in self.suffixes.items():
            if name.endswith(old):
                return name.removesuffix(old) + new
        return name

    def ignores(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in (*BUFFERS, *self.ignored))

    def key(self, name: str) -> str:
        """A metadata key in full."""
        return name if "." in name and name.partition(".")[0] in ("general", "tokenizer") else f"{self.name}.{name}"


def all_architectures() -> Iterator[Architecture]:
    for found in pkgutil.iter_modules(architectures.__path__):
        module = importlib.import_module(f"{architectures.__name__}.{found.name}")
        yield from getattr(module, "ARCHITECTURES", ()) or (module.ARCHITECTURE,)


def find_architecture(config: Config) -> Architecture:
    """The architecture of a checkpoint. Raises BadInputError, with the list of those there are, if it has none."""
    if not config.classes:
        raise BadInputError("config.json names no architecture", hint="`architectures` should hold the model's class")
    there_are = list(all_architectures())
    for name in config.classes:
        for each in there_are:
            if name in each.classes and each.suits(config):
                return each
    known = {name for each in there_are for name in each.classes}
    raise BadInputError(
        f"there is no conversion for {' or '.join(config.classes)}; there are: {', '.join(sorted(known))}",
        hint=HOW_TO_ADD,
    )
