"""What a GGUF file with a LoRA adapter has to be before llama.cpp is given it, and which models it is for.

llmasos decides from headers alone: llama.cpp checks two of a tensor's dimensions, says little, and ends the process
where it checks nothing. Facts: llama.cpp's `src/llama-adapter.cpp` and `src/llama-graph.cpp`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.gguf import GgufHeader, TensorInfo

FACTORS = (".lora_a", ".lora_b")
TOKEN_EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"
UNREACHED = ("position_embd.weight", "token_types.weight", "_norm.weight", ".bias")  # to which nothing is ever added
NO_WEIGHTS = ("I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K")  # types that llama.cpp can't multiply with
NORM = "_norm.weight"  # llama.cpp passes over those that some tools put into an adapter
SHOWN = 3

Shape = tuple[int, ...]


def is_adapter(header: GgufHeader) -> bool:
    return header.metadata.get("general.type") == "adapter"


def require_adapter(header: GgufHeader, name: str) -> None:
    """Raises BadInputError for a file that is no LoRA adapter, CorruptModelError for one that is broken."""
    if not is_adapter(header):
        kind = header.metadata.get("general.type", "model")
        raise BadInputError(f"{name} is no adapter: it says that it is `{kind}`")
    kind = header.metadata.get("adapter.type")
    if kind != "lora":
        raise BadInputError(f"{name} is an adapter of the type `{kind}`; only LoRA can be used")
    if "adapter.alora.invocation_tokens" in header.metadata:
        raise BadInputError(f"{name} is an adapter that words switch on (aLoRA), which llmasos can't run")
    alpha = header.metadata.get("adapter.lora.alpha", 0.0)
    if not isinstance(alpha, float) or not math.isfinite(alpha):
        raise CorruptModelError(f"{name} is broken: its alpha is no number")
    _raise_first([*_pair_problems(header)], f"{name} is broken", CorruptModelError)


def require_same_model(adapter: GgufHeader, name: str, model: Sequence[GgufHeader], model_name: str) -> None:
    """Raises BadInputError if an adapter, sound by itself, does not fit a model; `model` are its shards' headers."""
    if adapter.architecture != model[0].architecture:
        raise BadInputError(
            f"{name} is an adapter for {adapter.architecture}, and {model_name} is {model[0].architecture}",
            hint="use it with the model that it was trained on",
        )
    shapes = {tensor.name: tensor.shape for header in model for tensor in header.tensors}
    _raise_first(
        [problem for target, pair in _pairs(adapter).items() if (problem := _misfit(target, pair, shapes))],
        f"{name} is an adapter for another model than {model_name}",
        BadInputError,
        hint="use it with the model that it was trained on",
    )


def _raise_first(problems: Sequence[str], what: str, kind: type[BadInputError], *, hint: str | None = None) -> None:
    if problems:
        more = f" (and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
        raise kind(f"{what}: {'; '.join(problems[:SHOWN])}{more}", hint=hint)


def _pairs(header: GgufHeader) -> dict[str, dict[str, TensorInfo]]:
    """The factors of each tensor that the adapter adds to, by their endings."""
    pairs: dict[str, dict[str, TensorInfo]] = {}
    for tensor in header.tensors:
        target, ending = tensor.name[: -len(FACTORS[0])], tensor.name[-len(FACTORS[0]) :]
        if ending in FACTORS:
            pairs.setdefault(target, {})[ending] = tensor
    return pairs


def _pair_problems(header: GgufHeader) -> Iterator[str]:
    pairs = _pairs(header)
    if not pairs:
        yield "it holds no factors"
    for tensor in header.tensors:
        if not tensor.name.endswith((*FACTORS, NORM)):
            yield f"`{tensor.name}` is no factor"
        if tensor.type_name in NO_WEIGHTS:
            yield f"`{tensor.name}` is {tensor.type_name}"
    for target, pair in pairs.items():
        yield from (f"`{target}` has no{ending}" for ending in FACTORS if ending not in pair)


def _misfit(target: str, pair: Mapping[str, TensorInfo], shapes: Mapping[str, Shape]) -> str | None:
    """Shapes have their fastest-running dimension first, as in ggml."""
    if target == TOKEN_EMBEDDING and OUTPUT not in shapes:
        return f"it adds to `{target}`, which is this model's output too"
    if target not in shapes:
        return f"the model has no tensor `{target}`"
    if target.endswith(UNREACHED) or len(shapes[target]) < 2:
        return f"nothing can be added to `{target}`"
    inputs, outputs, *stack = shapes[target]
    a, b = (_padded(pair[ending].shape) for ending in FACTORS)
    rank = b[0]
    wanted = ((rank, outputs), (rank, inputs)) if target == TOKEN_EMBEDDING else ((inputs, rank), (rank, outputs))
    if (a, b) != tuple(_padded((*shape, *stack)) for shape in wanted):
        found = " and ".join(_by(pair[ending].shape) for ending in FACTORS)
        return f"`{target}` is {_by(shapes[target])}, and its factors are {found}"
    return None


def _padded(shape: Iterable[int]) -> Shape:
    """ggml's four dimensions."""
    return (*shape, 1, 1, 1, 1)[:4]


def _by(shape: Shape) -> str:
    return " x ".join(map(str, shape))
