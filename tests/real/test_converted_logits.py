"""A converted model computes what its checkpoint computes: llama.cpp's logits beside those of transformers."""

from __future__ import annotations

from pathlib import Path

import pytest

from doubles import logits
from doubles.checkpoints import CHECKPOINTS, write_checkpoint
from llmasos.conversion.convert import convert

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]

LARGEST_DIFFERENCE = 2e-3  # of the largest logit; llama.cpp's table of GELU in float16 alone makes 5e-4


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_converted_model_computes_the_same_function(name: str, tmp_path: Path):
    checkpoint = CHECKPOINTS[name]
    folder = write_checkpoint(tmp_path / name, name)
    readable = write_checkpoint(tmp_path / "readable", checkpoint.readable_as) if checkpoint.readable_as else folder
    [converted] = convert(folder, tmp_path / "converted.gguf", "F32")
    tokens = logits.sample_tokens(folder)
    if checkpoint.is_encoder:
        found, expected = (
            logits.embeddings_of_gguf(converted, tokens),
            logits.embeddings_of_checkpoint(readable, tokens),
        )
    else:
        found, expected = logits.logits_of_gguf(converted, tokens), logits.logits_of_checkpoint(readable, tokens)
        assert logits.same_choices(found, expected)
    assert len(tokens) == logits.POSITIONS == 64
    assert logits.largest_relative_difference(found, expected) < LARGEST_DIFFERENCE
