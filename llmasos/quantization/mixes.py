"""The type of every tensor of a model in a mix: llama.cpp's choices (src/llama-quant.cpp), decision for decision."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmasos.errors import BadInputError, CorruptModelError, UnsuitableTypeError
from llmasos.quantization import rules
from llmasos.quantization.choices import Choices
from llmasos.quantization.encode import ONLY_WITH_IMPORTANCE
from llmasos.quantization.rules import ModelFacts, Place, Table
from llmasos.quantization.types import FLOAT_TYPES, TYPES, find_mix, main_type

LAYERS_EMBEDDING = "per_layer_token_embd.weight"
EMBEDDINGS = ("token_embd.weight", LAYERS_EMBEDDING)
OUTPUT = "output.weight"
VALUE_KINDS = ("attn_qkv.weight", "attn_kv_b.weight", "attn_v.weight")

# A tensor's kind is the first of these that its name holds.
KINDS = (*VALUE_KINDS, "attn_k.weight", "attn_q.weight", "attn_output.weight", "ffn_up", "ffn_gate", "ffn_down")
TABLES: Mapping[str, Table] = {
    **dict.fromkeys(VALUE_KINDS, rules.ATTENTION_VALUE),
    "attn_k.weight": rules.ATTENTION_KEY,
    "attn_q.weight": rules.ATTENTION_QUERY,
    "attn_output.weight": rules.ATTENTION_OUTPUT,
    "ffn_up": rules.FEED_FORWARD_IN,
    "ffn_gate": rules.FEED_FORWARD_IN,
    "ffn_down": rules.FEED_FORWARD_DOWN,
}
FALCON_TABLES: Mapping[str, Table] = {
    **TABLES,
    "attn_output.weight": rules.FALCON_ATTENTION_OUTPUT,
    "ffn_down": rules.FALCON_DOWN,
}

# Types that come out as noise unless the weights' importance is known, and a mix of about the size that does without.
NEED_IMPORTANCE = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS")
INSTEAD = {"IQ3_XS": "Q3_K_S"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor before it is quantized. The shape's slowest-running dimension stands first, as in NumPy.

    `kept_type` is the type that it keeps if the mix leaves it alone: its own in a GGUF that holds floats.
    """

    name: str
    shape: tuple[int, ...]
    kept_type: str


def choose_types(
    choices: Choices,
    tensors: Iterable[Tensor],
    facts: ModelFacts,
    *,
    has_importance: bool = False,
    are_ordered: bool = False,
) -> dict[str, str]:
    """The type of every tensor by its name, in the order in which llama.cpp writes them, as llama-quantize chooses it.

    `tensors` must be all tensors of the model: counts of them, and whether there is an `output.weight`, decide. They
    are put into order first unless `are_ordered`. Raises BadInputError for an unknown mix, one that needs an importance
    matrix where there is none, or one that can't hold rows of some tensor's width.
    """
    mix = find_mix(choices.mix)
    ordered = list(tensors) if are_ordered else sorted(tensors, key=lambda tensor: layer_then_name(tensor.name))
    chooser = _Chooser(replace(choices, mix=mix), facts, has_importance, [tensor.name for tensor in ordered])
    chosen = {tensor.name: chooser.choose(tensor) for tensor in ordered}
    if not has_importance:
        _require_no_importance(mix, chosen, [each.name for each in ordered if is_quantizable(each, facts.architecture)])
    return chosen


def model_facts(metadata: Mapping[str, Any]) -> ModelFacts:
    """The facts from a GGUF's metadata, or from what will be its metadata; lists hold a number for each layer.

    Raises CorruptModelError where something else than a number stands.
    """
    architecture = str(metadata["general.architecture"])

    def number(key: str, default: int = 0) -> int:
        value = metadata.get(f"{architecture}.{key}", default)
        first = value[0] if isinstance(value, (list, tuple)) and value else value
        if not isinstance(first, int):
            raise CorruptModelError(f"the model is broken: its {architecture}.{key} is {first!r}")
        return first

    heads = number("attention.head_count")
    return ModelFacts(
        architecture,
        number("block_count"),
        heads,
        number("attention.head_count_kv", heads),
        number("expert_count"),
        number("nextn_predict_layers"),
    )


def layer_then_name(name: str) -> tuple[int, str]:
    """Sorts tensors as llama.cpp does: those outside of layers, then layer by layer, each by name."""
    layer = _layer(name)
    return (-1 if layer is None else layer), name


def is_quantizable(tensor: Tensor, architecture: str) -> bool:
    """True for a matrix, or a stack of them, that a mix may change: not for norms, routers and the like."""
    leading = next((axis for axis, length in enumerate(tensor.shape) if length > 1), len(tensor.shape))
    if len(tensor.shape) - leading < 2 or not tensor.name.endswith("weight"):
        return False
    parts = rules.NEVER_QUANTIZED
    if architecture == "glm5-next":
        parts += rules.NEVER_QUANTIZED_IN_GLM5_NEXT
    return tensor.name not in rules.NEVER_QUANTIZED_NAMES and not any(part in tensor.name for part in parts)


class _Chooser:
    """Walks over a model's tensors in order and counts, since the rules go by how many of a kind there were."""

    def __init__(self, choices: Choices, facts: ModelFacts, has_importance: bool, names: Sequence[str]) -> None:
        self.choices, self.facts, self.has_importance = choices, facts, has_importance
        self.mix = mix = choices.mix
        self.main = main_type(mix)
        self.tables = FALCON_TABLES if facts.architecture == "falcon" and mix not in rules.TINY else TABLES
        self.is_tied = OUTPUT not in names
        self.value_count = sum(_kind(name) in VALUE_KINDS for name in names)
        self.seen: dict[str, int] = {}

    def choose(self, tensor: Tensor) -> str:
        if not is_quantizable(tensor, self.facts.architecture):
            return tensor.kept_type
        if self.choices.types:
            return self.choices.types.get(tensor.name, tensor.kept_type)
        if fixed := self._fixed(tensor.name):
            return _require_whole_blocks(fixed, tensor)
        if self.main.name in FLOAT_TYPES:
            return self.main.name
        chosen = self.choices.type_for(tensor.name) or (self.main.name if self.choices.pure else self._wanted(tensor))
        return _fall_back(chosen, tensor)

    def _fixed(self, name: str) -> str | None:
        """The type that was chosen for the output or the embeddings; of the latter, one may be named by itself."""
        if name == OUTPUT:
            return self.choices.output_type
        is_meant = name in EMBEDDINGS and not (name == LAYERS_EMBEDDING and self.choices.type_for(name))
        return self.choices.embedding_type if is_meant else None

    def _wanted(self, tensor: Tensor) -> str:
        """The type regardless of the rows' width."""
        name, is_embedding = tensor.name, tensor.name in EMBEDDINGS
        if self.facts.architecture == "glm5-next" and any(part in name for part in rules.EIGHT_BITS_IN_GLM5_NEXT):
            return "Q8_0"
        if name == OUTPUT or (is_embedding and self.is_tied):
            return self._output_type(tensor)
        if self.mix == "MXFP4_MOE":
            return "MXFP4" if self._is_expert(tensor) else "Q8_0"
        if is_embedding:
            return self._first(rules.TOKEN_EMBEDDING, Place(0, 1, self.facts, self.has_importance))
        kind = _kind(name)
        return self._by_kind(kind, name) if kind else self.main.name

    def _output_type(self, tensor: Tensor) -> str:
        if self.choices.output_type:
            return self.choices.output_type
        is_awkward = self.facts.architecture == "falcon" or not self.main.divides(tensor.shape[-1])
        if self.mix in ("MXFP4_MOE", "Q8_0") or is_awkward:
            return "Q8_0"
        return rules.OUTPUT[self.mix][0][1] if self.mix in rules.OUTPUT else "Q6_K"

    def _is_expert(self, tensor: Tensor) -> bool:
        is_stack = len(tensor.shape) > 2 and tensor.shape[-3] > 1
        return is_stack and (self.facts.architecture != "bailingmoe3" or (_kind(tensor.name) or "").startswith("ffn"))

    def _by_kind(self, kind: str, name: str) -> str:
        counted = "values" if kind in VALUE_KINDS else kind
        index = self.seen.get(counted, 0)
        self.seen[counted] = index + 1
        if kind.startswith("ffn") and self.facts.expert_count > 1 and self.mix not in rules.TINY:
            index = self._layer_of(name)  # experts in tensors of their own would be counted once each
        count = self.value_count if counted == "values" else self.facts.layer_count
        chosen = self._first(self.tables[kind], Place(index, count, self.facts, self.has_importance))
        return chosen if self.mix in rules.TINY else self._raised(kind, chosen)

    def _raised(self, kind: str, chosen: str) -> str:
        """More bits for keys and values where they are a small part of the model."""
        is_value = kind in VALUE_KINDS
        if (is_value or kind == "attn_k.weight") and self.facts.expert_count == 8:
            return "Q8_0"
        return "Q5_K" if is_value and self.facts.is_70b and chosen in ("Q3_K", "Q4_K") else chosen

    def _first(self, table: Table, place: Place) -> str:
        cases = table.get(self.mix, ())
        return next((name for holds, name in cases if holds(place)), self.main.name)

    def _layer_of(self, name: str) -> int:
        layer = _layer(name)
        if layer is None or layer >= self.facts.layer_count:
            raise BadInputError(f"the tensor `{name}` is in none of the model's {self.facts.layer_count} layers")
        return layer


def _kind(name: str) -> str | None:
    return None if name == OUTPUT or name in EMBEDDINGS else next((kind for kind in KINDS if kind in name), None)


def _layer(name: str) -> int | None:
    found = re.match(r"blk\.(\d+)", name)
    return int(found[1]) if found else None


def _fall_back(wanted: str, tensor: Tensor) -> str:
    """The wanted type, or the one that takes its place where its blocks don't divide the rows."""
    width = tensor.shape[-1]
    if TYPES[wanted].divides(width):
        return wanted
    if wanted not in rules.FALL_BACKS and TYPES[wanted].block_weights > 32:
        _require_whole_blocks(wanted, tensor)
    instead = rules.FALL_BACKS.get(wanted, wanted)
    return instead if TYPES[instead].divides(width) else "F16"


def _require_whole_blocks(wanted: str, tensor: Tensor) -> str:
    width = tensor.shape[-1]
    if not TYPES[wanted].divides(width):
        raise BadInputError(
            f"{wanted} can't hold the tensor `{tensor.name}`: its rows of {width} weights are not whole blocks",
            hint="another type can, such as " + ("Q8_0" if width % 32 == 0 else "F16"),
        )
    return wanted


def refuse_needy(mix: str) -> None:
    """Raises UnsuitableTypeError for a mix that needs an importance matrix whatever the model."""
    if mix == "Q2_K_S" or main_type(mix).name in NEED_IMPORTANCE:
        raise _needy(mix, "")


def _needy(mix: str, why: str) -> UnsuitableTypeError:
    hint = f"`quantize --imatrix auto` makes one; {INSTEAD.get(mix, 'Q2_K')} is about as small and needs none"
    return UnsuitableTypeError(f"{mix} needs an importance matrix{why}", hint=hint)


def _require_no_importance(mix: str, chosen: Mapping[str, str], quantized: Iterable[str]) -> None:
    for name in quantized:
        if needs_importance(mix, name, chosen[name]):
            raise _needy(mix, f" here: `{name}` would be stored as {chosen[name]}")


def needs_importance(mix: str, name: str, tensor_type: str) -> bool:
    """Whether a tensor can't have a type in a mix, or should not, unless its importance is known."""
    if name == OUTPUT or name in EMBEDDINGS:
        return tensor_type in ONLY_WITH_IMPORTANCE
    return tensor_type in NEED_IMPORTANCE or (mix == "Q2_K_S" and tensor_type == "Q2_K")
