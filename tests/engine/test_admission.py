"""Among what a grammar admits the same is chosen as if it had been asked about every token."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from doubles.blocks import needs_kernels
from llmasos import kernels
from llmasos.engine import admission, grammar_check, vocabulary
from llmasos.engine.bindings import lib
from llmasos.engine.candidates import AllTokens
from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.engine import Engine
from llmasos.engine.grammar_check import GrammarCheck
from llmasos.engine.model import Model, ModelOptions, load_model
from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions
from llmasos.engine.sampler import Sampler
from llmasos.engine.schema import JSON_GRAMMAR
from llmasos.errors import BadInputError

GRAMMARS = {
    "words": 'root ::= ([a-z]{2,7} " "){2,5} "end"',
    "json": JSON_GRAMMAR,
    "digits": 'root ::= [0-9]{4} "-" [01] [0-9] "-" [0-3] [0-9]',
    "excluding": "root ::= [^é\\x00-\\x1F]{5,20} [é-ü]",
    "several": 'root ::= ([a-z]+ | [a-f] | "_")+ "."',
}
SAMPLINGS = {
    "greedy": SamplingOptions(temperature=0),
    "default": SamplingOptions(seed=1),
    "hot": SamplingOptions(seed=2, temperature=3, top_k=5),
    "penalized": SamplingOptions(seed=3, repeat_penalty=1.5, frequency_penalty=0.3),
    "no cuts": SamplingOptions(seed=4, top_k=0, top_p=1, min_p=0),
    "biased": SamplingOptions(seed=5, logit_bias=("e=2", "x=-inf")),
    "xtc": SamplingOptions(seed=6, xtc_probability=0.5, xtc_threshold=0.05),
    "dry": SamplingOptions(seed=7, dry_multiplier=1, dry_penalty_last_n=32),
    "sigma": SamplingOptions(seed=8, top_n_sigma=1.5),
    "mirostat 2": SamplingOptions(seed=9, mirostat=2),
}


def ask_about_all(self: Sampler, context: Context, index: int) -> int:
    """What llama.cpp's own common sampler does, control tokens left out."""
    everything, grammar = AllTokens(self._model.vocabulary_size), self._grammar
    assert grammar is not None
    token = self._choose(everything.find(context, index))
    if not grammar.admits(token):
        array = everything.find(context, index)
        lib.llama_sampler_apply(grammar._grammar, ctypes.byref(array))
        for entry in array.data[: array.size]:
            if not self._model.piece(entry.id) and not self._model.is_end(entry.id):
                array.data[entry.id].logit = -np.inf
        token = self._choose(array)
    grammar.accept(token)
    lib.llama_sampler_accept(self._chain, token)
    return token


def tokens_of(engine: Engine, sampling: SamplingOptions, grammar: str) -> tuple[int, ...]:
    sequence = engine.submit([72, 101], replace(sampling, grammar=grammar), AnswerOptions(max_tokens=40))
    list(sequence)
    assert sequence.answer is not None
    return sequence.answer.tokens


def ids(model: Model, text: str) -> list[int]:
    return model.tokenize(text, add_special=False, parse_special=True)


@pytest.mark.parametrize("likeliest", [False, True], ids=["by their beginnings", "likeliest"])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("grammar", GRAMMARS)
def test_the_same_is_chosen_as_of_all(engine: Engine, monkeypatch, grammar: str, sampling: str, likeliest: bool):
    monkeypatch.setattr(admission, "MANY", 0 if likeliest else 10_000)
    monkeypatch.setattr(admission, "FEW", 0 if likeliest else 16)
    found = tokens_of(engine, SAMPLINGS[sampling], GRAMMARS[grammar])
    monkeypatch.setattr(Sampler, "sample", ask_about_all)
    assert found == tokens_of(engine, SAMPLINGS[sampling], GRAMMARS[grammar])


@needs_kernels
@pytest.mark.parametrize("sampling", ["greedy", "penalized", "no cuts"])
def test_the_same_is_chosen_without_kernels(engine: Engine, monkeypatch, sampling: str):
    found = [tokens_of(engine, SAMPLINGS[sampling], grammar) for grammar in GRAMMARS.values()]
    monkeypatch.setenv(kernels.VARIABLE, "none")
    assert found == [tokens_of(engine, SAMPLINGS[sampling], grammar) for grammar in GRAMMARS.values()]


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_no_token_is_left_out_that_a_grammar_admits(model: Model, grammar: str):
    check = GrammarCheck(model, GRAMMARS[grammar])
    row = np.zeros(model.vocabulary_size, np.float32)
    for text in (b"h", b"e", b"l", b"0"):
        found = admission.all_admitted(check, row)["id"].tolist()
        assert found == [token for token in range(model.vocabulary_size) if check.admits(token)]
        if check.admits(text[0]):
            check.accept(text[0])
    check.close()


@pytest.mark.parametrize("mirostat", [1, 2])
@pytest.mark.parametrize("typical_p", [0.3, 1.0])
def test_one_admitted_token_is_enough_for_every_sampler(engine: Engine, mirostat: int, typical_p: float):
    sampling = SamplingOptions(seed=1, mirostat=mirostat, typical_p=typical_p)
    assert bytes(tokens_of(engine, sampling, 'root ::= "~~~~"')) == b"~~~~"


def test_a_control_token_is_never_taken_for_its_name(engine: Engine):
    """To llama.cpp's grammar `<|user|>` is eight characters, and in an answer it is none."""
    sampling = SamplingOptions(seed=1, logit_bias=("<|user|>=100",))
    assert len(bytes(tokens_of(engine, sampling, "root ::= [ -~]{8}"))) == 8
    assert list(tokens_of(engine, sampling, 'root ::= <|user|> "a"')) == ids(engine.model, "<|user|>a")


def test_a_grammar_with_too_many_ways_keeps_to_short_tokens(model: Model):
    check = GrammarCheck(model, "root ::= [a-z ]*")
    check.nature = replace(check.nature, longest_piece=1)
    row, [long] = np.zeros(model.vocabulary_size, np.float32), ids(model, "th")
    assert not check.admits(long)
    assert admission.all_admitted(check, row)["id"].tolist() == [32, *range(97, 123), *ids(model, "<|end|>")]
    check.close()


@pytest.mark.parametrize("beams", [None, BeamOptions(num_beams=2)], ids=["drawn", "beams"])
def test_a_grammar_that_no_token_fits_ends_the_answer_with_a_clear_error(tiny_model: Path, beams: BeamOptions | None):
    model = load_model([tiny_model], ModelOptions())
    with Engine(model, Context(model, ContextOptions(256, threads=1, parallel=2))) as engine:
        sampling = SamplingOptions(grammar='root ::= "ab" <[99999]>')
        sequence = engine.submit([72], sampling, AnswerOptions(), beams)
        with pytest.raises(BadInputError, match="the grammar admits no token here") as stuck:
            list(sequence)
        assert stuck.value.hint
    model.close()


def test_a_grammar_that_takes_too_long_ends_the_answer_with_a_clear_error(engine: Engine, monkeypatch):
    monkeypatch.setattr(grammar_check, "LONGEST_CALL", -1.0)
    monkeypatch.setattr(grammar_check, "LONGEST_TOKEN", 0.0)
    with pytest.raises(BadInputError, match="too many ways to read what the answer says by now"):
        tokens_of(engine, SAMPLINGS["default"], GRAMMARS["words"])


# How tokens begin.


def test_the_kernel_reads_a_vocabulary_as_python_does(model: Model, monkeypatch):
    own = vocabulary._read(model)
    monkeypatch.setenv(kernels.VARIABLE, "none")
    for mine, plain in zip(own, vocabulary._read(model), strict=True):
        assert mine.tolist() == plain.tolist()


def test_tokens_are_found_by_how_they_begin(model: Model):
    known = vocabulary.vocabulary_of(model)
    assert known is vocabulary.vocabulary_of(model)
    assert known.first_bytes.tokens.tolist() == known.first_bytes.beginnings.tolist() == list(range(256))
    assert known.after_blanks.tokens.tolist() == ids(model, " a")
    found = known.beginning_with([ord("t"), ord(" "), vocabulary.ENDS]).tolist()
    assert found == [32, 116, *ids(model, "th"), *ids(model, "<|end|>")]
    assert known.beginning_with([vocabulary.AFTER_BLANK + ord("a")]).tolist() == ids(model, " a")
    assert [token for token in range(262) if not known.has_text[token]] == ids(model, "<|system|><|user|><|assistant|>")


def test_a_beginning_that_no_token_is_by_itself_is_told():
    beginnings = np.array([97, 97, 98, vocabulary.AFTER_BLANK + 97, vocabulary.ENDS, vocabulary.HAS_NO_TEXT], np.int16)
    known = vocabulary.Vocabulary(beginnings, np.array([1, 2, 2, 2, 7, 0], np.int32))
    assert known.first_bytes.tokens.tolist() == [0]
    assert known.first_bytes.others == [*range(97), *range(98, 256)]
    assert known.after_blanks.tokens.tolist() == [3]
    assert known.lengths.tolist() == [1, 2, 2, 2, 0, 0]
