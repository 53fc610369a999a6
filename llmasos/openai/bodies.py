"""Bodies of OpenAI's interface: which fields there are, what they may hold, and the options among them. Pure.

Fields have OpenAI's names or ours; those of Ollama, llama.cpp and transformers are understood too.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from llmasos.engine.beams import require_search
from llmasos.engine.options import DRAWING, AnswerOptions, BeamOptions, ChatOptions, SamplingOptions
from llmasos.engine.sampler import SEEDS
from llmasos.engine.structure import SHAPES
from llmasos.errors import BadInputError, UsageError
from llmasos.settings import FOREIGN_NAMES, TYPE_WORDS, canonical_name, overlaid

Body = Mapping[str, Any]
MOST_ANSWERS = 128  # to one prompt, as in OpenAI's interface
MOST_LOGPROBS = 100
FIGURES = "figures"  # the field by which a client of ours asks for all figures of each answer

# What says nothing of the answer: names for the caller's own use, OpenAI's ways of storing and billing, and how the
# answer is to be sent, which is the affair of whoever sends it.
ASIDE = frozenset((
    "model", "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "verbosity", "stream", "stream_options", "keep_alive", "cache_prompt", "id_slot",
))  # fmt: skip
# What a request may change about how a model is loaded; the rest is the server's own affair.
LOADED_WITH = frozenset(("context_length", "threads", "gpu_layers", "batch_size"))
OPTIONS = frozenset(each.name for kind in (SamplingOptions, AnswerOptions, BeamOptions) for each in fields(kind))
ALIASES = frozenset(name for name, ours in FOREIGN_NAMES.items() if ours in OPTIONS)
OF_ANY_ANSWER = ASIDE | OPTIONS | ALIASES | {*SHAPES, "json_schema", "response_format", "n", FIGURES}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for a body that says nothing else. `system` goes before a conversation that has none."""

    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    limits: AnswerOptions = field(default_factory=AnswerOptions)
    chatting: ChatOptions = field(default_factory=ChatOptions)
    system: str | None = None


def require_known(body: Any, known: frozenset[str]) -> None:
    """Refuses what is no JSON object, and fields that there are not: a mistyped one would be passed over in silence."""
    if not isinstance(body, Mapping):
        raise BadInputError("the body is no JSON object")
    for name in body:
        if name not in known and body[name] is not None:
            near = difflib.get_close_matches(str(name), known, n=1)
            raise UsageError(f"there is no field `{name}`" + (f"; did you mean `{near[0]}`?" if near else ""))


def read_field(body: Body, name: str, kind: type[Any], default: Any = None) -> Any:
    """The value of a field, which has to be of that type; null is as if nothing were said."""
    value = body.get(name)
    if value is None:
        return default
    if kind is int and type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not kind:
        raise UsageError(f"{name} takes {TYPE_WORDS.get(kind, f'a {kind.__name__}')}, not {type(value).__name__}")
    return value


def read_count(body: Body, name: str, default: int | None, most: int, *, least: int = 0) -> int | None:
    value: int | None = read_field(body, name, int, default)
    if value is not None and not least <= value <= most:
        raise UsageError(f"{name} is {least} to {most}, not {value}")
    return value


def read_options(body: Body, defaults: Defaults) -> tuple[SamplingOptions, AnswerOptions]:
    """The options that a body gives, over those that hold anyway. Its shape is read by `shape_of`.

    How the answer is to be sent, which others act upon, is looked at here too.
    """
    read_field(body, "stream", bool)
    read_field(body, "stream_options", dict)
    given = {canonical_name(name): value for name, value in body.items() if value is not None}
    given.pop("grammar", None)
    if isinstance(bias := given.get("logit_bias"), Mapping):
        given["logit_bias"] = [_bias(token, strength) for token, strength in bias.items()]
    if type(seed := given.get("seed")) is int:
        given["seed"] = None if seed == -1 else seed % SEEDS
    if given.get("max_tokens") == -1:
        given["max_tokens"] = None
    return overlaid(defaults.sampling, given), overlaid(defaults.limits, given)


def read_beams(body: Body, count: int, *, is_scored: bool) -> BeamOptions | None:
    """How `count` answers are searched for; None if they are drawn. Raises UsageError for what has no meaning then."""
    given = {canonical_name(name): value for name, value in body.items() if value is not None}
    if isinstance(stopping := given.get("early_stopping"), bool):
        given["early_stopping"] = str(stopping).lower()
    beams = overlaid(BeamOptions(), given)
    draws = given.get("temperature") != 0 and bool(DRAWING - {"seed"} & given.keys())
    require_search(beams, count, given, draws=draws)
    if beams.num_beams == 1:
        return None
    if is_scored:
        raise UsageError("of beams as a whole there is a score; their tokens have none", hint="leave out logprobs")
    return beams


def _bias(token: str, strength: Any) -> str:
    if strength is False:
        return f"{token}=-inf"
    if type(strength) not in (int, float):
        raise UsageError(f"the bias of {token} takes a number, not {type(strength).__name__}")
    return f"{token}={strength}"


def shape_of(body: Body) -> dict[str, Any]:
    """What the answer has to look like, by our names for it (`engine.structure`): at most one of them is there."""
    shape = {name: body[name] for name in SHAPES if body.get(name) is not None}
    if body.get("json_schema") is not None:
        shape["schema"] = body["json_schema"]
    asked = read_field(body, "response_format", dict, {})
    kind = asked.get("type", "text")
    if kind == "json_schema":
        described = asked.get("json_schema")
        schema = described.get("schema") if isinstance(described, Mapping) else asked.get("schema")
        if schema is None:
            raise UsageError('response_format takes {"type": "json_schema", "json_schema": {"schema": …}}')
        shape["schema"] = schema
    elif kind == "json_object":
        shape.update({"schema": asked["schema"]} if asked.get("schema") is not None else {"format": "json"})
    elif kind != "text":
        raise UsageError(f"response_format has no type `{kind}`", hint="text, json_object or json_schema")
    return shape
