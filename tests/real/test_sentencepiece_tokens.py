"""Vocabularies in their full size: llama.cpp makes of thousands of texts the tokens that their own tokenizers make.

Where it does not, the test says which texts are left out and why.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer

from doubles.real_vocabularies import gemma_vocabulary, real_vocabulary
from doubles.token_ids import bert_can_follow, texts, vocabulary_of
from llmasos.conversion.config import Config
from llmasos.conversion.tokenizers.reading import read_vocabulary
from llmasos.conversion.tokenizers.sentencepiece_file import read_sentencepiece_file
from llmasos.conversion.tokenizers.vocabulary import TokenType, Vocabulary

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
PROJECT = Path(__file__).parents[2]
MISTRALS = ("mistral-v1", "mistral-v3")
Encode = Callable[[str], list[int]]


def disagreements(vocabulary: Vocabulary, folder: Path, encode: Encode, asked: Iterable[str], **how: Any) -> list[str]:
    """The texts of which llama.cpp makes other tokens."""
    how = {"add_special": False, "parse_special": True, "architecture": "llama", **how}
    with vocabulary_of(folder, vocabulary.metadata(), how.pop("architecture")) as model:
        found = {text: list(model.tokenize(text, **how)) for text in asked}
    return [text for text in found if found[text] != encode(text)]


def published_tokenizer(folder: Path, model_file: Path) -> Tokenizer:
    """Writes `tokenizer.json` as repositories of Llama 2 and Mistral have it: merges by the pieces' scores, best first.

    What transformers makes today has them in another order, and puts no space before one.
    """
    model = read_sentencepiece_file(model_file)
    words = {text: number for number, text in enumerate(model.pieces)}
    ranked = sorted(zip(model.pieces, model.scores, strict=True), key=lambda piece: -piece[1])
    merges = [
        sorted(((text[:cut], text[cut:]) for cut in range(1, len(text))), key=lambda pair: words.get(pair[0], -1))
        for text, _ in ranked
    ]
    known = [pair for pairs in merges for pair in pairs if pair[0] in words and pair[1] in words]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    steps = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    whole = {
        "version": "1.0",
        "added_tokens": [{"id": number, "content": model.pieces[number], **flags} for number in range(3)],
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "vocab": words,
                  "merges": [" ".join(pair) for pair in known]},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(whole), "utf-8")
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.mark.parametrize("kind", MISTRALS)
def test_from_tokenizer_model_mistral_s_tokens_are_those_of_sentencepiece(kind, tmp_path):
    folder = real_vocabulary(kind)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    vocabulary = read_vocabulary(folder, Config({}))
    found = disagreements(vocabulary, tmp_path, processor.encode, texts(4000), parse_special=False)
    assert found == []


@pytest.mark.parametrize("kind", MISTRALS)
def test_from_tokenizer_json_mistral_s_tokens_are_those_of_tokenizers(kind, tmp_path):
    tokenizer = published_tokenizer(tmp_path, real_vocabulary(kind) / "tokenizer.model")
    vocabulary = read_vocabulary(tmp_path, Config({}))
    asked = texts(4000, specials=("<s>", "</s>", "<unk>"))
    assert disagreements(vocabulary, tmp_path, lambda text: tokenizer.encode(text).ids, asked) == []


@pytest.mark.parametrize("kind", MISTRALS)
def test_merges_order_mistral_s_pieces_as_their_scores_do(kind, tmp_path):
    """The scores themselves are equal but for pieces of spaces, which Mistral put last by scores of -1e9."""
    published_tokenizer(tmp_path, real_vocabulary(kind) / "tokenizer.model")
    from_pieces, from_merges = read_vocabulary(real_vocabulary(kind), Config({})), read_vocabulary(tmp_path, Config({}))
    normal = [number for number, each in enumerate(from_pieces.types) if each == TokenType.NORMAL]
    made = [number for number in normal if len(from_pieces.tokens[number]) > 1]
    assert from_merges.tokens == from_pieces.tokens
    assert sorted(made, key=lambda number: -from_merges.scores[number]) == sorted(
        made, key=lambda number: -from_pieces.scores[number]
    )


def test_gemma_s_tokens_are_those_of_sentencepiece_and_of_tokenizers(llmasos, tmp_path):
    assert llmasos("pull", "gemma3:270m-base", timeout=250).exit_code == 0
    shown = json.loads(llmasos("show", "gemma3:270m-base", "--json").stdout)
    folder = gemma_vocabulary(Path(shown["path"]))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    (tmp_path / "tokenizer.json").symlink_to(folder / "tokenizer.json")
    assert seconds_to_read(folder / "tokenizer.model") < 1
    # llama.cpp takes a typed U+2581 for a letter; SentencePiece takes it for a space
    asked = [text for text in texts(2000) if "▁" not in text]
    marked = [text for text in texts(2000, specials=("<bos>", "<start_of_turn>", "<table>")) if "▁" not in text]
    for source in (folder, tmp_path):
        vocabulary = read_vocabulary(source, Config({"vocab_size": 262144}))
        assert disagreements(vocabulary, tmp_path, processor.encode, asked, parse_special=False) == []
        # tokenizers cuts more spaces than the 31 of the longest piece in halves, SentencePiece from the left
        differing = disagreements(
            vocabulary, tmp_path, lambda text: tokenizer.encode(text, add_special_tokens=False).ids, marked
        )
        assert [text for text in differing if " " * 32 not in text] == []


def test_bert_s_tokens_are_those_of_tokenizers(tmp_path):
    folder = real_vocabulary("bert")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    vocabulary = read_vocabulary(folder, Config(json.loads((folder / "config.json").read_text("utf-8"))))
    asked = [text for text in texts(6000, specials=("[CLS]", "[SEP]", "[MASK]")) if bert_can_follow(text)]
    found = disagreements(
        vocabulary, tmp_path, lambda text: tokenizer.encode(text).ids, asked, add_special=True, architecture="bert"
    )
    assert len(asked) > 3000
    assert found == []


def test_unigram_s_tokens_are_those_of_sentencepiece(tmp_path):
    """With the whole table of normalization, NFKC and more."""
    sentencepiece.SentencePieceTrainer.train(
        input=str(PROJECT / "README.md"), model_prefix=str(tmp_path / "tokenizer"), model_type="unigram",
        vocab_size=700, hard_vocab_limit=False, character_coverage=0.99, num_threads=1, minloglevel=2,
        normalization_rule_name="nmt_nfkc", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    vocabulary = read_vocabulary(tmp_path, Config({}))
    asked = [text for text in texts(4000) if "▁" not in text]  # to llama.cpp a letter, to SentencePiece a space
    assert disagreements(vocabulary, tmp_path, processor.encode, asked) == []


@pytest.mark.parametrize("kind", MISTRALS)
def test_a_file_is_read_at_once(kind):
    assert seconds_to_read(real_vocabulary(kind) / "tokenizer.model") < 0.1


def seconds_to_read(path: Path) -> float:
    """The best of five, of this process's own time."""
    taken = []
    for _ in range(5):
        begun = time.process_time()
        read_sentencepiece_file(path)
        taken.append(time.process_time() - begun)
    return min(taken)
