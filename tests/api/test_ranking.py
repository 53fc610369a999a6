"""Ranking from Python: the best first, awaited too, and each model by what it was made for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from doubles.checkpoints import write_checkpoint
from doubles.rerankers import write_bert_reranker, write_qwen3_reranker
from llmasos import LLM, Ranked
from llmasos.conversion.convert import convert
from llmasos.errors import BadInputError, UsageError

QUERY, DOCUMENTS = "the cat sat", ["a dog", "some birds sat on a mat", "one"]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert_reranker(tmp_path_factory.mktemp("ranking"))


@pytest.fixture
def model(reranker: Path) -> Iterator[LLM]:
    with LLM.from_pretrained(str(reranker), threads=1, deterministic=True) as model:
        yield model


def test_documents_come_ranked(model: LLM):
    ranked = model.rank(QUERY, DOCUMENTS)
    assert all(isinstance(each, Ranked) and each.text == DOCUMENTS[each.index] for each in ranked)
    assert ranked == sorted(ranked, key=lambda each: -each.score)
    assert model.rank(QUERY, tuple(DOCUMENTS), top=1) == ranked[:1]
    assert model.context_length == 128
    with pytest.raises(FrozenInstanceError):
        ranked[0].score = 0.0  # type: ignore[misc]


def test_ranks_are_awaited(model: LLM):
    async def ask() -> list[list[Ranked]]:
        return await asyncio.gather(*(model.arank(QUERY, DOCUMENTS, top=2) for _ in range(3)))

    assert asyncio.run(ask()) == [model.rank(QUERY, DOCUMENTS)[:2]] * 3


def test_a_reranker_that_reads_a_template_ranks(tmp_path: Path):
    with LLM.from_pretrained(str(write_qwen3_reranker(tmp_path)), threads=1) as model:
        ranked = model.rank(QUERY, DOCUMENTS)
    assert len(ranked) == 3 and all(0 < each.score < 1 for each in ranked)


@pytest.mark.parametrize("method", ["generate", "embed"])
def test_a_reranker_neither_writes_nor_embeds(model: LLM, method: str):
    with pytest.raises(BadInputError, match="is a reranker") as refused:
        getattr(model, method)(QUERY)
    assert refused.value.hint in ("use rank()", "take an embedding model, such as `all-minilm`")


def test_other_models_do_not_rank(tiny_model: Path, tmp_path: Path):
    [embedding] = convert(write_checkpoint(tmp_path / "bert", "bert"), tmp_path / "bert.gguf", "F32")
    for path, told in ((tiny_model, "writes text"), (embedding, "is an embedding model")):
        with LLM.from_pretrained(str(path), threads=1) as model, pytest.raises(BadInputError, match=told):
            model.rank(QUERY, DOCUMENTS)


def test_an_adapter_is_no_part_of_a_reranker(reranker: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="models that write text"):
        LLM.from_pretrained(str(reranker), lora=[str(tmp_path / "none.gguf")])
