"""Choosing the next token: a chain of llama.cpp's samplers, made from the options, and a grammar to keep to."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmasos.engine.bindings import lib
from llmasos.engine.candidates import AllTokens, LikeliestTokens
from llmasos.engine.context import Context
from llmasos.engine.grammar_check import GrammarCheck
from llmasos.engine.model import Model
from llmasos.engine.options import MOST_TOKENS, SamplingOptions
from llmasos.errors import UsageError

if TYPE_CHECKING:
    from llmasos.engine.admission import AdmittedTokens

SEEDS = 2**32 - 1  # the one beyond means a random seed to llama.cpp
MIROSTAT_CANDIDATES = 100  # llama.cpp's m


def with_seeds(options: SamplingOptions, count: int) -> list[SamplingOptions]:
    """The options of each of several answers to one prompt, with a seed of its own if any is given."""
    if options.seed is None:
        return [options] * count
    return [replace(options, seed=(options.seed + number) % SEEDS) for number in range(count)]


class Sampler:
    """Chooses tokens of one sequence. Free it with `close`."""

    def __init__(self, model: Model, options: SamplingOptions, shown: frozenset[int] = frozenset()) -> None:
        """`shown` are the control tokens that belong to the answer's text, which a grammar reads."""
        self._model = model
        self.seed = int.from_bytes(os.urandom(4), "little") % SEEDS if options.seed is None else options.seed
        self._chain = _make_chain(model, options, self.seed)
        self._enough = count_of_enough(options)
        self._likeliest = None if self._enough is None else LikeliestTokens(model.vocabulary_size, self._enough)
        self._looks_back = bool(_penalizes(options) or options.dry_multiplier)
        self._admitted: AdmittedTokens | None = None
        try:
            self._grammar = None if options.grammar is None else GrammarCheck(model, options.grammar, shown)
        except BaseException:
            lib.llama_sampler_free(self._chain)
            raise
        self._all = AllTokens(model.vocabulary_size) if self._grammar else None

    def accept_prompt(self, tokens: list[int]) -> None:
        """Lets the penalties see the prompt, if there are any."""
        for token in tokens if self._looks_back else ():
            lib.llama_sampler_accept(self._chain, token)

    def sample(self, context: Context, index: int) -> int:
        """The next token by the logits at an index of the last pass; it counts as accepted."""
        found = self._likeliest.find(context, index) if self._likeliest else None
        if found is None and self._all is None:
            return int(lib.llama_sampler_sample(self._chain, context.handle, index))
        token = self._choose(self._all.find(context, index) if found is None and self._all else found)
        if self._grammar is not None:
            if not self._grammar.admits(token):
                token = self._choose(self._admitted_by(self._grammar).find(context, index))
            self._grammar.accept(token)
        lib.llama_sampler_accept(self._chain, token)
        return token

    def _choose(self, candidates: Any) -> int:
        lib.llama_sampler_apply(self._chain, ctypes.byref(candidates))
        return int(candidates.data[candidates.selected].id)

    def _admitted_by(self, grammar: GrammarCheck) -> AdmittedTokens:
        if self._admitted is None:
            from llmasos.engine.admission import AdmittedTokens  # NumPy, which other answers do without

            self._admitted = AdmittedTokens(grammar, self._enough)
        return self._admitted

    def close(self) -> None:
        if self._chain:
            lib.llama_sampler_free(self._chain)
            self._chain = None
        if self._grammar:
            self._grammar.close()
            self._grammar = None


def _make_chain(model: Model, options: SamplingOptions, seed: int) -> Any:
    """The chain in llama.cpp's own order: biases and penalties, cuts, temperature, choice."""
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    try:
        for make in (_bias, _penalties, _dry, _choice):
            for sampler in make(model, options, seed):
                lib.llama_sampler_chain_add(chain, sampler)
    except BaseException:
        lib.llama_sampler_free(chain)
        raise
    return chain


def count_of_enough(options: SamplingOptions) -> int | None:
    """How many of the likeliest tokens are enough, so that what a chain chooses is what it would of all; None: all.

    A chain that keeps the K likeliest needs no others, but those that come up where biases and penalties push some
    down: at most as many as these are.
    """
    kept = 1 if options.temperature == 0 else options.top_k
    if kept == 0 or (options.temperature > 0 and (options.mirostat or options.top_n_sigma >= 0)):
        return None
    pushed_down = len(options.logit_bias)
    if any(not text.rpartition("=")[2].strip().startswith("-") for text in options.logit_bias):
        return None
    if _penalizes(options):
        if options.repeat_penalty < 1 or min(options.frequency_penalty, options.presence_penalty) < 0:
            return None
        pushed_down += MOST_TOKENS if options.repeat_last_n < 0 else options.repeat_last_n
    if options.dry_multiplier:
        pushed_down += MOST_TOKENS if options.dry_penalty_last_n < 0 else options.dry_penalty_last_n
    return kept + pushed_down


def _bias(model: Model, options: SamplingOptions, seed: int) -> list[Any]:
    biases = [parse_logit_bias(text, model) for text in options.logit_bias]
    if not biases:
        return []
    array = (lib.llama_logit_bias * len(biases))(*(lib.llama_logit_bias(token, bias) for token, bias in biases))
    return [lib.llama_sampler_init_logit_bias(model.vocabulary_size, len(biases), array)]


def _penalizes(options: SamplingOptions) -> bool:
    strengths = (options.repeat_penalty, options.frequency_penalty, options.presence_penalty)
    return strengths != (1.0, 0.0, 0.0) and options.repeat_last_n != 0


def _penalties(model: Model, options: SamplingOptions, seed: int) -> list[Any]:
    if not _penalizes(options):
        return []
    strengths = (options.repeat_penalty, options.frequency_penalty, options.presence_penalty)
    last_n = _looked_back(options.repeat_last_n, model)
    return [lib.llama_sampler_init_penalties(model.vocabulary_size, last_n, *strengths)]


def _looked_back(asked: int, model: Model) -> int:
    """How many tokens a penalty looks back at: all that the model can hold, if that is asked for."""
    return min(model.trained_context_length, MOST_TOKENS) if asked < 0 else asked


def _dry(model: Model, options: SamplingOptions, seed: int) -> list[Any]:
    if options.dry_multiplier == 0:
        return []
    breakers = [text.encode() for text in options.dry_sequence_breakers]
    array = (ctypes.c_char_p * len(breakers))(*breakers)
    last_n = _looked_back(options.dry_penalty_last_n, model)
    return [
        lib.llama_sampler_init_dry(
            model.vocabulary,
            options.dry_multiplier,
            options.dry_base,
            options.dry_allowed_length,
            last_n,
            array,
            len(breakers),
        )
    ]


def _choice(model: Model, options: SamplingOptions, seed: int) -> list[Any]:
    if options.temperature == 0:
        return [lib.llama_sampler_init_greedy()]
    temperature = lib.llama_sampler_init_temp(options.temperature)
    if options.mirostat == 1:
        tau, eta = options.mirostat_tau, options.mirostat_eta
        return [
            temperature,
            lib.llama_sampler_init_mirostat(model.vocabulary_size, seed, tau, eta, MIROSTAT_CANDIDATES),
        ]
    if options.mirostat == 2:
        return [temperature, lib.llama_sampler_init_mirostat_v2(seed, options.mirostat_tau, options.mirostat_eta)]
    return [*_cuts(options, seed), temperature, lib.llama_sampler_init_dist(seed)]


def _cuts(options: SamplingOptions, seed: int) -> list[Any]:
    """The samplers that leave tokens out, those that would leave out none left out themselves."""
    cuts: list[tuple[bool, Callable[[], Any]]] = [
        (options.top_n_sigma >= 0, lambda: lib.llama_sampler_init_top_n_sigma(options.top_n_sigma)),
        (options.top_k > 0, lambda: lib.llama_sampler_init_top_k(options.top_k)),
        (options.typical_p < 1, lambda: lib.llama_sampler_init_typical(options.typical_p, 1)),
        (options.top_p < 1, lambda: lib.llama_sampler_init_top_p(options.top_p, 1)),
        (options.min_p > 0, lambda: lib.llama_sampler_init_min_p(options.min_p, 1)),
        (
            options.xtc_probability > 0,
            lambda: lib.llama_sampler_init_xtc(options.xtc_probability, options.xtc_threshold, 1, seed),
        ),
    ]
    return [make() for is_wanted, make in cuts if is_wanted]


def parse_logit_bias(text: str, model: Model) -> tuple[int, float]:
    """`TOKEN=BIAS` as (token id, bias). TOKEN is an id, or text that is one token."""
    token, _, bias = text.rpartition("=")
    try:
        strength = float(bias)
    except ValueError as error:
        raise UsageError(f"`{text}` is no logit bias", hint="write TOKEN=NUMBER, e.g. 198=-inf") from error
    if math.isnan(strength):
        raise UsageError(f"`{text}` is no logit bias: not a number")
    if token.isdecimal():
        number = int(token)
        if number >= model.vocabulary_size:
            raise UsageError(f"there is no token {number}: the model has {model.vocabulary_size}")
        return number, strength
    tokens = model.tokenize(token, add_special=False, parse_special=True)
    if len(tokens) != 1:
        raise UsageError(f"`{token}` is {len(tokens)} tokens, a bias needs one", hint=f"its ids are {tokens}")
    return tokens[0], strength
