"""What a GGUF file is in the terms of the conversion: its architecture, and the sizes that the tensor map names.

Read off the header alone: a few sizes are in the metadata, the others follow from the shapes of the tensors, since the
map says of what each shape is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmasos.conversion.architecture import Architecture, all_architectures
from llmasos.conversion.rules import FirstRows, Part, Rule, Shape, Sizes, Transpose
from llmasos.errors import BadInputError
from llmasos.formats.gguf import GgufHeader


def find_gguf_architecture(headers: Sequence[GgufHeader]) -> tuple[Architecture, dict[str, int]]:
    """The architecture and the sizes of a model, from the headers of its shards.

    Where several families are one architecture to llama.cpp it is the one whose map has a place for most of the
    tensors. Raises BadInputError if there is no such architecture, or if the shapes contradict each other.
    """
    header = headers[0]
    candidates = [each for each in all_architectures() if each.name == header.architecture]
    if not candidates:
        known = ", ".join(sorted({each.name for each in all_architectures()}))
        raise BadInputError(f"llmasos knows no tensors of the architecture {header.architecture}; it knows {known}")
    shapes = tensor_shapes(headers)
    architecture = max(candidates, key=lambda each: sum(rule.target.format(layer=0) in shapes for rule in each.rules))
    return architecture, sizes_of_shapes(architecture, _stated_sizes(header), shapes)


def tensor_shapes(headers: Sequence[GgufHeader]) -> dict[str, Shape]:
    """The shape of each tensor of all shards, its slowest-running dimension first."""
    return {tensor.name: tensor.shape[::-1] for header in headers for tensor in header.tensors}


def sizes_of_shapes(architecture: Architecture, stated: Sizes, shapes: Mapping[str, Shape]) -> dict[str, int]:
    """All the sizes that follow from those `stated` and from the shapes of a GGUF's tensors.

    Raises BadInputError if two of them contradict each other.
    """
    sizes = dict(stated)
    for name, text, number in _equations(architecture, sizes["layers"], shapes):
        factors = text.split("*")
        unknown = [each for each in factors if not each.isdecimal() and each not in sizes]
        known = 1
        for each in factors:
            known *= int(each) if each.isdecimal() else sizes.get(each, 1)
        if len(unknown) == 1 and number % known == 0:
            sizes[unknown[0]] = number // known
        elif not unknown and number != known:
            raise BadInputError(f"the tensor `{name}` has a dimension of {number} where {text} = {known} is expected")
    return sizes


def _stated_sizes(header: GgufHeader) -> dict[str, int]:
    """What only the metadata tells: how many layers and heads there are."""
    heads = header.number("attention.head_count") or 1
    kv_heads = header.number("attention.head_count_kv") or heads
    head_dim = header.number("attention.key_length") or (header.number("embedding_length") or 0) // heads
    experts = header.number("expert_count")
    return {
        "layers": header.number("block_count") or 0,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "queries": heads * head_dim,
        "keys": kv_heads * head_dim,
        "rotated": header.number("rope.dimension_count") or head_dim,
        **({"experts": experts} if experts else {}),
    }


def _equations(architecture: Architecture, layers: int, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, str, int]]:
    """A tensor's name, a product of sizes, and the number that its shape says this is."""
    for rule in architecture.rules:
        for layer in range(layers) if "{layer}" in rule.target else range(1):
            name = rule.target.format(layer=layer)
            texts = rule.shape.split()
            source = _source_shape(rule, shapes[name], len(texts)) if name in shapes else None
            if source is not None:
                yield from ((name, text, number) for text, number in zip(texts, source, strict=True))


def _source_shape(rule: Rule, shape: Shape, dimensions: int) -> Shape | None:
    """The shape of one source of a tensor with that shape; None if another rule of the same target made it."""
    own = shape[1:] if rule.parts else shape
    if len(own) != dimensions:
        return None
    if isinstance(rule.transform, Transpose):
        return own[::-1]
    if isinstance(rule.transform, Part):
        axis = rule.transform.axis % len(own)
        return (*own[:axis], own[axis] * rule.transform.count, *own[axis + 1 :])
    return None if isinstance(rule.transform, FirstRows) else own
