"""Converted rerankers give the scores of transformers, over text, both token types and templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubles.checkpoints import write_checkpoint
from doubles.logits import logits_of_checkpoint
from doubles.rerankers import NO, TEMPLATE, YES, write_bert_reranker, write_qwen3_reranker
from llmasos import LLM

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]

QUERY = "the cat sat on a mat"
DOCUMENTS = [f"{text} {number}" for number in range(8) for text in ("a dog ran", "the cat", "one, two; three", "x")]
ERROR = 2e-3  # llama.cpp's table of GELU in float16 alone makes 5e-4
PLAIN: dict[str, Any] = {"threads": 1, "flash_attention": False, "kv_type": "f32"}


def ranked_scores(path: Path, **loading: Any) -> np.ndarray:
    """Scores in the order of the documents."""
    with LLM.from_pretrained(str(path), **{**PLAIN, **loading}) as model:
        return np.array([each.score for each in sorted(model.rank(QUERY, DOCUMENTS), key=lambda each: each.index)])


def logits_of_pairs(folder: Path, *, types: bool = True) -> np.ndarray:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    found = []
    for document in DOCUMENTS:
        pair = tokenizer(QUERY, document, return_tensors="pt")
        pair["token_type_ids"] *= types
        with torch.inference_mode():
            found.append(model.eval()(**pair).logits[0].numpy())
    return np.stack(found)


@pytest.mark.parametrize("type_name", ["F32", "F16"])
def test_a_cross_encoder_scores_as_in_transformers(type_name: str, tmp_path: Path):
    path = write_bert_reranker(tmp_path, type_name)
    expected = logits_of_pairs(tmp_path / "bert")[:, 0]
    found = ranked_scores(path)
    np.testing.assert_allclose(found, expected, atol=ERROR)
    clear = np.abs(expected[:, None] - expected[None, :]) > 2 * ERROR
    assert (((found[:, None] > found[None, :]) == (expected[:, None] > expected[None, :])) | ~clear).all()
    without_types = logits_of_pairs(tmp_path / "bert", types=False)[:, 0]
    assert np.abs(expected - without_types).max() > 50 * ERROR  # so they do matter


def test_together_or_one_by_one_the_scores_are_the_same(tmp_path: Path):
    path = write_bert_reranker(tmp_path)
    np.testing.assert_allclose(ranked_scores(path), ranked_scores(path, deterministic=True), atol=5e-4)
    assert (ranked_scores(path, deterministic=True) == ranked_scores(path, deterministic=True)).all()


def test_yes_or_no_is_as_likely_as_in_transformers(tmp_path: Path):
    path = write_qwen3_reranker(tmp_path)
    found = ranked_scores(path)
    folder = write_checkpoint(tmp_path / "again", "qwen3")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    for document, score in zip(DOCUMENTS[:6], found, strict=False):
        text = TEMPLATE.replace("{query}", QUERY).replace("{document}", document)
        yes, no = logits_of_checkpoint(folder, tokenizer.encode(text, add_special_tokens=False))[-1, [YES, NO]]
        assert score == pytest.approx(1 / (1 + np.exp(no - yes)), abs=1e-4)
