"""The fields of bodies that are no options, by their names; and the bodies made of those that readers know."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from llmasos.openai.bodies import FIGURES, LOADED_WITH, MOST_ANSWERS, MOST_LOGPROBS
from llmasos.openai.chat import EFFORTS
from llmasos.openai.embeddings import ENCODINGS
from llmasos.server.openapi.schemas import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    Schema,
    either,
    list_of,
    obj,
    option_schema,
    or_null,
    ref,
    said,
)
from llmasos.settings import FOREIGN_NAMES

TOKENS = list_of({"type": "integer", "minimum": 0})
PROMPTS = either(STRING, list_of(either(STRING, TOKENS)), TOKENS, description="A text, token ids, or a list of these.")
TOP = {"type": "integer", "minimum": 0, "maximum": MOST_LOGPROBS}
LOADED_BY = frozenset(LOADED_WITH | {name for name, ours in FOREIGN_NAMES.items() if ours in LOADED_WITH})
UNUSED = "Taken, and of no effect."

FIELDS: Mapping[str, Schema] = {
    "model": said(STRING, "The name of an installed model."),
    "messages": list_of(ref("Message"), "The conversation."),
    "prompt": PROMPTS,
    "input": PROMPTS,
    "stream": said(BOOLEAN, "Whether the response comes in pieces, as it grows."),
    "stream_options": obj(
        {"include_usage": said(BOOLEAN, "Whether the last piece has the tokens of all.")}, [], "How it is streamed."
    ),
    "keep_alive": either(STRING, NUMBER, description="How long the model stays in memory: 5m, seconds, 0, or -1."),
    "n": said({"type": "integer", "minimum": 1, "maximum": MOST_ANSWERS}, "Answers to each prompt."),
    "best_of": said(
        {"type": "integer", "minimum": 1, "maximum": MOST_ANSWERS},
        "So many are written, and the n whose tokens are the likeliest on average told.",
    ),
    FIGURES: said(BOOLEAN, "Whether each choice has all that is known of its answer, as `run --json` has it."),
    "echo": said(BOOLEAN, "Whether the prompt stands before the answer, with its scores if these are wanted."),
    "suffix": said(STRING, "What stands behind the gap that is to be filled."),
    "logprobs": said(BOOLEAN, "Whether the log-probabilities of the answer's tokens are told."),
    "top_logprobs": said(TOP, "How many of the likeliest tokens are told with each."),
    "tools": list_of(OBJECT, 'Functions that may be called: {"type": "function", "function": {…}}.'),
    "tool_choice": either(STRING, OBJECT, description="auto, none, required, or the function that has to be called."),
    "parallel_tool_calls": said(BOOLEAN, "Whether one message may call several functions."),
    "think": said(BOOLEAN, "Whether the model may reason before it answers, as far as it knows how."),
    "reasoning_effort": {"type": "string", "enum": list(EFFORTS), "description": "none and minimal: no reasoning."},
    "chat_template_kwargs": obj({"enable_thinking": BOOLEAN}, [], "As think."),
    "modalities": {"type": "array", "items": {"const": "text"}},
    "format": {"const": "json", "type": "string", "description": "The answer is a JSON object."},
    "schema": either(OBJECT, STRING, BOOLEAN, description="The answer is JSON of this schema."),
    "json_schema": either(OBJECT, STRING, BOOLEAN, description="As schema."),
    "regex": said(STRING, "The answer as a whole matches this regular expression."),
    "grammar": said(STRING, "The answer keeps to this GBNF grammar."),
    "response_format": said(OBJECT, 'text, json_object or json_schema, such as {"type": "json_object"}.'),
    "dimensions": said({"type": "integer", "minimum": 1}, "So many of each vector's numbers, made of length 1 again."),
    "encoding_format": {"type": "string", "enum": list(ENCODINGS), "default": "float"},
    "query": said(STRING, "What the documents are to answer."),
    "documents": list_of(either(STRING, obj({"text": STRING}))),
    "top_n": said({"type": "integer", "minimum": 1}, "So many of the best; all, if nothing is said."),
    "return_documents": said(BOOLEAN, "Whether the documents' texts come back."),
    "input_prefix": said(STRING, "What stands before the gap."),
    "input_suffix": said(STRING, "What stands behind the gap."),
    "input_extra": list_of(obj({"filename": STRING, "text": STRING}, ["text"]), "Other texts of the project."),
    "n_probs": said(TOP, "How many of the likeliest tokens are told with each of the answer's; 0: none is."),
    "return_tokens": said(BOOLEAN, "Whether the answer's token ids are told."),
    "response_fields": list_of(STRING, "Only these fields of the response; a/b is the field b of a."),
    "t_max_predict_ms": said({"type": "integer", "minimum": -1}, "End the answer after so many milliseconds."),
    "content": said(STRING, "The text."),
    "tokens": TOKENS,
    "add_special": said(BOOLEAN, "Whether what the model wants around a text is added."),
    "add_special_tokens": said(BOOLEAN, "As add_special."),
    "parse_special": said(BOOLEAN, "Whether names of control tokens are read as these."),
    "with_pieces": said(BOOLEAN, "Whether each token's text is told."),
    "system": said(STRING, "What the model should be and do."),
    "raw": said(BOOLEAN, "Whether the prompt is sent as it is, without the model's template."),
    "template": said(STRING, "Refused: raw sends a prompt as it is."),
    "context": said(list_of(INTEGER), "The tokens of an earlier exchange."),
    "images": said(list_of(STRING), "Refused: models read text alone."),
    "options": said(OBJECT, "Options of sampling and of loading by Ollama's names or ours; others are passed over."),
    "shift": said(BOOLEAN, "Whether the oldest is forgotten when the context is full."),
    "truncate": said(BOOLEAN, "Whether a text that is too long is cut."),
}  # fmt: skip


def body_of(known: Collection[str], required: Collection[str], own: Mapping[str, Schema] | None = None) -> Schema:
    """A body that may have the known fields and no others; `own` are those that mean something else than elsewhere.

    Raises KeyError for a field that is described nowhere.
    """
    names = sorted({*known, *LOADED_BY})
    schema = obj({name: _field(name, own or {}, is_required=name in required) for name in names}, required)
    return {**schema, "additionalProperties": False}


def open_body(names: Collection[str], required: Collection[str], own: Mapping[str, Schema] | None = None) -> Schema:
    """A body whose other fields are passed over."""
    return obj({name: _field(name, own or {}, is_required=name in required) for name in names}, required)


def _field(name: str, own: Mapping[str, Schema], *, is_required: bool) -> Schema:
    schema = own.get(name) or FIELDS.get(name) or option_schema(name) or _UNUSED[name]
    return schema if is_required else or_null(schema)


_UNUSED: Mapping[str, Schema] = {
    name: said(ANYTHING, UNUSED)
    for name in (
        "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
        "verbosity", "cache_prompt", "id_slot", "n_keep", "n_discard", "n_indent", "n_cache_reuse", "samplers",
        "t_max_prompt_ms", "timings_per_token", "min_keep",
    )
}  # fmt: skip
