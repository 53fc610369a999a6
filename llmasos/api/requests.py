"""What a caller of the Python API may ask for, in our words and transformers', and what the engine makes of it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from llmasos.engine.beams import require_search
from llmasos.engine.options import DRAWING, AnswerOptions, BeamOptions, SamplingOptions, ScoreOptions
from llmasos.engine.sequence import Answer
from llmasos.engine.structure import SHAPES, grammar_of_shape
from llmasos.errors import UsageError
from llmasos.settings import canonical_name, configured, layered


class Loading(TypedDict, total=False):
    """How a model is brought into memory (`engine.options.LoadOptions`); what is left out is chosen for the machine."""

    context_length: int
    threads: int
    gpu_layers: int
    kv_type: str
    flash_attention: bool
    deterministic: bool
    speculation: bool
    shared_cache: bool | None
    draft: str
    batch_size: int
    lora: Sequence[str]
    control_vector: Sequence[str]
    control_layers: str
    mmap: bool
    mlock: bool


class Debiasing(TypedDict, total=False):
    """How a model's prejudices are to be lessened (`engine.debias`)."""

    debias: str
    debias_strength: float
    debias_attributes: Sequence[str]


class Wanted(Debiasing, total=False):
    """What can be asked of an answer (`engine.options`), and transformers' words for it.

    `max_length` counts the prompt's tokens, `max_new_tokens` and `max_tokens` do not. `do_sample` draws tokens even if
    no option of drawing is given, or in spite of them does not. One of `format`, `schema`, `regex` and `grammar` may
    say what the answer looks like (`engine.structure`).
    """

    max_tokens: int
    max_new_tokens: int
    max_length: int
    max_seconds: float
    max_time: float
    stop: str | Sequence[str]
    stop_strings: str | Sequence[str]
    ignore_eos: bool
    on_overflow: str
    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    seed: int | None
    typical_p: float
    top_n_sigma: float
    repeat_penalty: float
    repetition_penalty: float
    repeat_last_n: int
    presence_penalty: float
    frequency_penalty: float
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_penalty_last_n: int
    dry_sequence_breakers: Sequence[str]
    xtc_probability: float
    xtc_threshold: float
    mirostat: int
    mirostat_tau: float
    mirostat_eta: float
    logit_bias: Sequence[str]
    format: str
    schema: Any
    regex: str
    grammar: str
    num_beams: int
    num_return_sequences: int
    length_penalty: float
    early_stopping: bool | str


class Chatting(Wanted, total=False):
    """What can be asked of a message beside that.

    `system` is what the model should be and do; a question without it goes with the model's own, if there is one.
    `tools` are functions that may be called, as in OpenAI's interface; `tool_choice` says whether one may be (auto),
    must be (required, or its name) or none. `think` turns the reasoning on or off, as far as the model lets it.
    """

    system: str | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    think: bool | None


@dataclass(frozen=True, slots=True)
class Request:
    """What one call asks for, in the engine's words.

    `shown` are control tokens that belong to the text, `question_at` is where a conversation's last question begins.
    """

    sampling: SamplingOptions
    limits: AnswerOptions
    beams: BeamOptions
    count: int
    max_length: int | None
    shown: frozenset[int] = frozenset()
    question_at: int | None = None
    scores: ScoreOptions | None = None

    @property
    def sequence_count(self) -> int:
        """How many the engine works on: one for all of a beam search."""
        return 1 if self.beams.num_beams > 1 else self.count


def make_request(wanted: Wanted, own: Mapping[str, Any], *, draws: bool) -> Request:
    """Options in layers: the model's own, config.toml, the environment, and what is wanted here.

    `draws` says whether tokens are drawn if nothing that is wanted decides it. Raises UsageError for what can't be, or
    would have no meaning; BadInputError for a shape that can't be kept to; TypeError for an option that there is not.
    """
    require_known(wanted, Wanted)
    given: dict[str, Any] = {canonical_name(name): value for name, value in wanted.items() if value is not None}
    count, max_length = given.pop("num_return_sequences", 1), given.pop("max_length", None)
    if max_length is not None and "max_tokens" in given:
        raise UsageError("max_length and max_new_tokens both say how long the answer may be", hint="give one")
    draws = given.pop("do_sample", draws or bool(DRAWING & given.keys())) and given.get("temperature") != 0
    if (grammar := grammar_of_shape({name: given.pop(name, None) for name in SHAPES})) is not None:
        given["grammar"] = grammar
    if isinstance(stopping := given.get("early_stopping"), bool):
        given["early_stopping"] = str(stopping).lower()
    sampling = layered(SamplingOptions, own, *configured(SamplingOptions), given)
    limits = layered(AnswerOptions, own, *configured(AnswerOptions), given)
    beams = layered(BeamOptions, own, *configured(BeamOptions), given)
    _require_meaning(beams, count, draws=draws)
    require_search(beams, count, given, draws=draws)
    if not draws:
        sampling = replace(sampling, temperature=0.0)
    return Request(sampling, limits, beams, count, max_length)


def split_chatting(wanted: Chatting) -> tuple[dict[str, Any], Wanted]:
    """What says how a conversation goes, and what is asked of any answer."""
    others: Any = dict(wanted)
    chosen = {name: others.pop(name, None) for name in Chatting.__annotations__.keys() - Wanted.__annotations__.keys()}
    return {name: value for name, value in chosen.items() if value is not None}, others


def with_scores(request: Request, logprobs: int | None) -> Request:
    """The request for an answer whose tokens are scored, beside so many of the likeliest ones; None: it is not."""
    if logprobs is None:
        return request
    if request.beams.num_beams > 1:
        raise UsageError("of beams as a whole there is a score; their tokens have none", hint="leave out logprobs")
    return replace(request, scores=ScoreOptions(top=logprobs))


def answers_of(answers: Sequence[Answer], request: Request) -> Answer | list[Answer]:
    """The one answer that is asked for, or a list, of beams the best first."""
    listed = [each for answer in answers for each in (answer, *answer.others)][: request.count]
    return listed[0] if request.count == 1 else listed


def texts_of(answers: Sequence[Answer], request: Request) -> str | list[str]:
    found = answers_of(answers, request)
    return found.text if isinstance(found, Answer) else [each.text for each in found]


def require_one(request: Request) -> None:
    if request.count > 1:
        raise UsageError(
            "a stream or a chat is of one answer; num_return_sequences can't be more", hint="use generate()"
        )


def require_known(given: Any, known: Any) -> None:
    for name in given.keys() - known.__annotations__.keys():
        near = difflib.get_close_matches(name, known.__annotations__, n=1)
        raise TypeError(f"there is no option {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def _require_meaning(beams: BeamOptions, count: int, *, draws: bool) -> None:
    """Refuses what would be passed over in silence."""
    if not isinstance(count, int) or count < 1:
        raise UsageError(f"num_return_sequences is at least 1, not {count}")
    if count > 1 and beams.num_beams == 1 and not draws:
        raise UsageError(f"{count} greedy answers would all be the same", hint="give a temperature, or num_beams")
