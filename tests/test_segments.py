"""The vectors of a BERT's two texts: its own tables, the type of the second text in place of the first's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from doubles.checkpoints import CHECKPOINTS, tensors, write_checkpoint
from doubles.rerankers import write_bert_reranker
from llmasos.conversion.convert import convert
from llmasos.engine.pooled import Text
from llmasos.segments import vectors_of_segments

TABLES = {
    name.split(".")[-2]: array
    for name, array in tensors(CHECKPOINTS["bert-reranker"]).items()
    if name.endswith("_embeddings.weight")
}
WORDS, (FIRST, SECOND) = TABLES["word_embeddings"], TABLES["token_type_embeddings"]
TOKENS = [4, 17, 900, 5, 17, 5]


@pytest.mark.parametrize(("type_name", "error"), [("F32", 0), ("F16", 1e-3), ("BF16", 4e-3), ("Q8_0", 8e-3)])
def test_a_token_of_the_second_text_has_the_second_type(tmp_path: Path, type_name: str, error: float):
    vectors_of = vectors_of_segments([write_bert_reranker(tmp_path, type_name)])
    assert vectors_of is not None
    vectors = vectors_of(Text(TOKENS, second_from=4))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[:4], WORDS[TOKENS[:4]], atol=error + 1e-6)
    np.testing.assert_allclose(vectors[4:] + FIRST, WORDS[TOKENS[4:]] + SECOND, atol=error + 1e-6)


def test_where_there_is_one_text_the_vectors_are_the_tables(tmp_path: Path):
    vectors_of = vectors_of_segments([write_bert_reranker(tmp_path)])
    assert vectors_of is not None
    np.testing.assert_array_equal(vectors_of(Text(TOKENS)), WORDS[TOKENS])


@pytest.mark.parametrize("name", ["gpt2-saved", "nomic-bert"])
def test_only_what_knows_two_types_has_any(tmp_path: Path, name: str):
    [path] = convert(write_checkpoint(tmp_path / name, name), tmp_path / "out.gguf", "F32")
    assert (vectors_of_segments([path]) is None) == (name == "gpt2-saved")
