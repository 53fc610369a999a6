"""What a model was made for, by what its header says."""

from __future__ import annotations

from typing import Any

import pytest

from llmasos.formats.gguf import GgufHeader, TensorInfo
from llmasos.formats.purpose import Purpose, purpose_of, reads_in_pieces

HEAD = ("token_embd.weight", "cls.output.weight")


def header(*tensors: str, **stated: Any) -> GgufHeader:
    metadata = {"general.architecture": "bert", **{f"bert.{key}": value for key, value in stated.items()}}
    return GgufHeader(3, metadata, tuple(TensorInfo(name, (8,), 0, 0) for name in tensors), 0, 0)


BOTH_WAYS = {"attention.causal": False}


@pytest.mark.parametrize(
    ("found", "purpose"),
    [
        (header("output.weight"), Purpose.TEXT),
        (header("output.weight", pooling_type=0), Purpose.TEXT),
        (header("token_embd.weight", pooling_type=3), Purpose.EMBEDDING),
        (header("token_embd.weight", **BOTH_WAYS), Purpose.EMBEDDING),
        (header(*HEAD, pooling_type=4), Purpose.RANKING),
        (header(*HEAD, **BOTH_WAYS), Purpose.RANKING),
        (header("cls.weight", **BOTH_WAYS), Purpose.RANKING),
        (header(*HEAD, pooling_type=1, **BOTH_WAYS), Purpose.EMBEDDING),
        (header("token_embd.weight", pooling_type=4), Purpose.EMBEDDING),
        (header("token_embd.weight", pooling_type="rank"), Purpose.TEXT),
    ],
)
def test_a_purpose_is_read_off_the_header(found: GgufHeader, purpose: Purpose):
    assert purpose_of([found]) == purpose


def test_the_head_may_lie_in_any_part():
    assert purpose_of([header("token_embd.weight"), header("cls.output.weight")]) == Purpose.RANKING


def test_what_reads_forward_to_its_last_token_reads_in_pieces():
    assert reads_in_pieces(header(pooling_type=3)) and reads_in_pieces(header(pooling_type=4))
    assert not reads_in_pieces(header(pooling_type=1)) and not reads_in_pieces(header(pooling_type=4, **BOTH_WAYS))
