"""A folder that PEFT has written, with a LoRA adapter: its configuration and the pairs of factors in its file.

What a layer learned is the product of two small matrices, B·A. `adapter_config.json` says by what it is multiplied, and
whether there is more to the adapter than such products. Source: LoRA, arXiv 2106.09685; rank-stabilised, 2312.03732.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmasos.conversion.config import read_json_object
from llmasos.conversion.plan import WEIGHT_TYPES, by, named
from llmasos.errors import BadInputError
from llmasos.formats.checkpoint import Checkpoint
from llmasos.formats.safetensors import read_safetensors_header
from llmasos.formats.stored import StoredTensor
from llmasos.formats.torch_archive import read_torch_archive

COPY = ".base_layer.weight"  # the model's own embedding, which PEFT saves beside the factors of one
CONFIG_FILE = "adapter_config.json"
WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
WRAPPER = "base_model.model."  # what PEFT puts before the names of the model that it wraps
FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(?:\.default)?(?:\.weight)?")

# Settings that make more of an adapter than products of two factors, with what they are called.
BEYOND_FACTORS = {
    "use_dora": "weight decomposition (DoRA)",
    "lora_bias": "biases of its own",
    "modules_to_save": "whole modules of its own",
    "trainable_token_indices": "tokens of its own",
    "alora_invocation_tokens": "words that switch it on (aLoRA)",
    "layer_replication": "layers that occur several times",
    "target_parameters": "parameters that no layer holds alone",
    "use_qalora": "pooled inputs (QA-LoRA)",
    "use_bdlora": "factors in blocks (BD-LoRA)",
    "monteclora_config": "random factors (MonteCLoRA)",
    "arrow_config": "a choice among adapters (Arrow)",
}
# Ways to begin training that leave the model as it is; others (PiSSA, OLoRA, LoftQ …) train against a changed one.
HARMLESS_BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True, slots=True)
class LoraModule:
    """One layer's pair of factors: `alpha` / `rank` times their product is added to the layer's weight.

    A linear layer has A (rank, inputs) and B (outputs, rank), whichever way its own weight is stored; an embedding has
    A (rank, tokens) and B (width, rank), and the transposed product is added.
    """

    name: str  # of the module, as the model has it
    a: StoredTensor
    b: StoredTensor
    is_embedding: bool
    alpha: float

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Of what is added: outputs and inputs, or tokens and width."""
        return (self.a.shape[1], self.b.shape[0]) if self.is_embedding else (self.b.shape[0], self.a.shape[1])


@dataclass(frozen=True, slots=True)
class PeftAdapter:
    """What could be read of a folder; `problems` are sentences about the rest."""

    weights: Checkpoint
    modules: Mapping[str, LoraModule]
    base_model: str | None
    problems: tuple[str, ...]


def read_peft(folder: Path) -> PeftAdapter:
    """Reads configuration and names; no weights. Raises BadInputError for a folder that holds no LoRA adapter."""
    if not folder.is_dir():
        raise BadInputError(f"there is no folder {folder}", hint="--lora takes the folder that PEFT wrote")
    config = read_json_object(folder / CONFIG_FILE)
    if str(config.get("peft_type", "LORA")).upper() != "LORA":
        raise BadInputError(f"{folder} holds an adapter of type {config['peft_type']}; only LoRA can be converted")
    weights = _open_weights(folder)
    found = _pair(weights.tensors)
    problems = [*_config_problems(config), *found.problems]
    modules = {}
    for name, (a, b, is_embedding) in found.pairs.items():
        try:
            alpha = _alpha(config, name, a.shape[0])
        except BadInputError as error:
            problems.append(error.message)
            continue
        modules[name] = LoraModule(name, a, b, is_embedding, alpha)
    if not found.pairs and not problems:
        problems.append(f"{folder} holds no pairs of lora_A and lora_B")
    base_model = config.get("base_model_name_or_path")
    return PeftAdapter(weights, modules, str(base_model) if base_model else None, tuple(dict.fromkeys(problems)))


def _open_weights(folder: Path) -> Checkpoint:
    for name in WEIGHT_FILES:
        if (path := folder / name).is_file():
            is_safetensors = path.suffix == ".safetensors"
            tensors = read_safetensors_header(path).tensors if is_safetensors else read_torch_archive(path)
            return Checkpoint(folder, (path,), path.stat().st_size, tensors, {})
    raise BadInputError(f"{folder} has neither {' nor '.join(WEIGHT_FILES)}")


def _config_problems(config: Mapping[str, Any]) -> list[str]:
    problems = [
        f"the adapter has {what} (`{name}`), which a GGUF adapter can't hold"
        for name, what in BEYOND_FACTORS.items()
        if config.get(name)
    ]
    if config.get("bias", "none") != "none":
        problems.append(f"the adapter trained biases (`bias` = {config['bias']!r}), which a GGUF adapter can't hold")
    beginning = config.get("init_lora_weights")
    if beginning not in HARMLESS_BEGINNINGS:
        problems.append(
            f"the adapter belongs to a model that was changed before training (`init_lora_weights` = {beginning!r});"
            " PEFT can save it for the original with `path_initial_model_for_weight_conversion`"
        )
    return problems


@dataclass(frozen=True, slots=True)
class _Found:
    """Pairs by module, each with whether it is an embedding's."""

    pairs: Mapping[str, tuple[StoredTensor, StoredTensor, bool]]
    problems: list[str]


def _pair(tensors: Mapping[str, StoredTensor]) -> _Found:
    sides: dict[str, dict[str, StoredTensor]] = {}
    embeddings, others = set[str](), list[str]()
    for name, tensor in tensors.items():
        match = FACTOR.fullmatch(name.removeprefix(WRAPPER))
        if match is None:
            others.append(name)
            continue
        sides.setdefault(match["module"], {})[match["side"]] = tensor
        if match["embedding"]:
            embeddings.add(match["module"])
    copies = {f"{WRAPPER}{module}{COPY}" for module in sides}
    others = [name for name in others if name not in copies]
    problems = named("there is no place in a GGUF adapter for", others)
    pairs = {}
    for module, found in sides.items():
        trouble = _pair_trouble(module, found)
        if trouble is None:
            pairs[module] = (found["A"], found["B"], module in embeddings)
        else:
            problems.append(trouble)
    return _Found(pairs, problems)


def _pair_trouble(module: str, found: Mapping[str, StoredTensor]) -> str | None:
    if missing := [f"lora_{side}" for side in "AB" if side not in found]:
        return f"{module} has no {missing[0]}"
    a, b = found["A"], found["B"]
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1] or 0 in (*a.shape, *b.shape):
        return f"{module} has factors that can't be multiplied: A {by(a.shape)}, B {by(b.shape)}"
    if a.dtype not in WEIGHT_TYPES or b.dtype not in WEIGHT_TYPES:
        return f"{module} has factors of {a.dtype} and {b.dtype}, which are no weights"
    return None


def _alpha(config: Mapping[str, Any], module: str, rank: int) -> float:
    """What llama.cpp, which divides by the rank, has to be told. Raises BadInputError for a configuration in error."""
    stated = _of_module(config, "rank_pattern", module, config.get("r"))
    if stated != rank:
        raise BadInputError(f"{module} has factors of rank {rank}, and {CONFIG_FILE} says {stated!r}")
    alpha = _of_module(config, "alpha_pattern", module, config.get("lora_alpha"))
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool) or not math.isfinite(alpha) or alpha == 0:
        raise BadInputError(f"{CONFIG_FILE} has `lora_alpha` = {alpha!r} for {module}, which is no factor")
    return alpha * math.sqrt(rank) if config.get("use_rslora") else float(alpha)


def _of_module(config: Mapping[str, Any], key: str, module: str, default: Any) -> Any:
    """The value for a module out of a mapping by patterns, of which PEFT takes the first that fits a name's end."""
    patterns = config.get(key) or {}
    if not isinstance(patterns, dict):
        raise BadInputError(f"{CONFIG_FILE} has a `{key}` that is no object")
    for pattern, value in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        except re.error as error:
            raise BadInputError(f"{CONFIG_FILE} has a `{key}` with {pattern!r}, which is no pattern") from error
    return default
