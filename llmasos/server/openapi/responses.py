"""What responses hold, by the names that operations call them by."""

from __future__ import annotations

from collections.abc import Mapping

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
    or_null,
    ref,
    said,
)

ROLES = ("system", "developer", "user", "assistant", "tool")
USAGE = obj({
    "prompt_tokens": INTEGER, "completion_tokens": INTEGER, "total_tokens": INTEGER,
    "prompt_tokens_details": obj({"cached_tokens": INTEGER}),
})  # fmt: skip
TOKEN = obj({"token": STRING, "logprob": NUMBER, "bytes": list_of(INTEGER)})
SCORED = obj({**TOKEN["properties"], "top_logprobs": list_of(TOKEN)})
SCORES = obj({"content": list_of(SCORED), "refusal": {"type": "null"}})
COLUMNS = obj({
    "tokens": list_of(STRING), "token_logprobs": list_of(or_null(NUMBER)),
    "top_logprobs": list_of(or_null({"type": "object", "additionalProperties": NUMBER})),
    "text_offset": list_of(INTEGER),
})  # fmt: skip
CALLED = obj({"name": STRING, "arguments": STRING})
CALL = obj(
    {"index": INTEGER, "id": STRING, "type": {"const": "function"}, "function": CALLED}, ["id", "type", "function"]
)
CODE = {"type": ["string", "integer", "null"]}
SAID: Mapping[str, Schema] = {
    "role": {"const": "assistant"}, "content": or_null(STRING), "reasoning_content": STRING,
    "tool_calls": list_of(CALL), "refusal": {"type": "null"},
}  # fmt: skip
REASON = {"type": "string", "enum": ["stop", "length", "tool_calls"]}
HEAD: Mapping[str, Schema] = {"id": STRING, "object": STRING, "created": INTEGER, "model": STRING}
FIGURES: Mapping[str, Schema] = {
    name: said(INTEGER, "Nanoseconds." if name.endswith("duration") else "Tokens.")
    for name in (
        "total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration",
    )
}  # fmt: skip
OLLAMA_CALL = obj({"id": STRING, "function": obj({"index": INTEGER, "name": STRING, "arguments": OBJECT})})
OLLAMA_MESSAGE = obj(
    {"role": STRING, "content": STRING, "thinking": STRING, "tool_calls": list_of(OLLAMA_CALL)}, ["role", "content"]
)
DETAILS = obj({
    "parent_model": STRING, "format": STRING, "family": STRING, "families": list_of(STRING), "parameter_size": STRING,
    "quantization_level": or_null(STRING), "context_length": INTEGER,
})  # fmt: skip
TIMINGS = obj(dict.fromkeys((
    "cache_n", "prompt_n", "prompt_ms", "prompt_per_token_ms", "prompt_per_second", "predicted_n", "predicted_ms",
    "predicted_per_token_ms", "predicted_per_second",
), NUMBER))  # fmt: skip


def _ollama_answer(own: Mapping[str, Schema]) -> Schema:
    whole = {
        "model": STRING, "created_at": STRING, **own, "done": BOOLEAN, "done_reason": STRING, **FIGURES,
        "logprobs": list_of(SCORED),
    }  # fmt: skip
    return obj(whole, ["model", "created_at", "done"], "A line of a stream, or the whole; the last has the figures.")


def _choices(choice: Mapping[str, Schema]) -> Schema:
    return list_of(obj({"index": INTEGER, **choice, "figures": OBJECT}, ["index", *choice]))


RESPONSES: Mapping[str, Schema] = {
    "Message": obj(
        {
            "role": {"type": "string", "enum": list(ROLES)},
            "content": either(STRING, list_of(obj({"type": STRING, "text": STRING}, [])), {"type": "null"}),
            "reasoning_content": or_null(STRING),
            "tool_calls": or_null(list_of(OBJECT)),
            "tool_call_id": or_null(STRING),
            "name": or_null(STRING),
        },
        ["role"],
        "A message; its content is a text, or parts that are texts.",
    ),
    "Error": obj({"error": obj(
        {
            "message": STRING, "type": STRING, "param": ANYTHING, "code": CODE, "hint": or_null(STRING),
            "exit_code": said(INTEGER, "What the command line would end with."),
        },
        ["message", "type", "param", "code"],
    )}),
    "OllamaError": obj({"error": STRING}),
    "ChatCompletion": obj(
        {
            **HEAD,
            "choices": _choices({
                "message": obj(SAID, ["role", "content"]), "logprobs": or_null(SCORES), "finish_reason": REASON,
            }),
            "usage": USAGE,
        }
    ),
    "ChatCompletionChunk": obj(
        {
            **HEAD,
            "choices": _choices({
                "delta": obj(SAID, []), "logprobs": or_null(SCORES), "finish_reason": or_null(REASON),
            }),
            "usage": USAGE,
        },
        [*HEAD, "choices"],
    ),
    "Completion": obj(
        {
            **HEAD,
            "choices": _choices({"text": STRING, "logprobs": or_null(COLUMNS), "finish_reason": or_null(REASON)}),
            "usage": USAGE,
        },
        [*HEAD, "choices"],
        "The whole, or a piece of a stream.",
    ),
    "Embeddings": obj({
        "object": {"const": "list"}, "model": STRING,
        "data": list_of(obj({"object": STRING, "index": INTEGER, "embedding": either(list_of(NUMBER), STRING)})),
        "usage": obj({"prompt_tokens": INTEGER, "total_tokens": INTEGER}),
    }),
    "Ranking": obj({
        "id": STRING, "object": {"const": "list"}, "model": STRING,
        "results": list_of(obj(
            {"index": INTEGER, "relevance_score": NUMBER, "document": obj({"text": STRING})},
            ["index", "relevance_score"],
        )),
    }),
    "Infill": obj(
        {
            "index": INTEGER, "content": STRING, "tokens": list_of(INTEGER), "stop": BOOLEAN, "id_slot": INTEGER,
            "model": STRING, "tokens_predicted": INTEGER, "tokens_evaluated": INTEGER, "generation_settings": OBJECT,
            "prompt": STRING, "has_new_line": BOOLEAN, "truncated": BOOLEAN,
            "stop_type": {"type": "string", "enum": ["none", "eos", "limit", "word"]}, "stopping_word": STRING,
            "tokens_cached": INTEGER, "timings": TIMINGS,
            "completion_probabilities": list_of(OBJECT, "Each token with the likeliest in its place."),
        },
        [],
        "The whole, or a piece of a stream, whose last has all figures; with response_fields only these.",
    ),
    "Model": obj({"id": STRING, "object": {"const": "model"}, "created": INTEGER, "owned_by": STRING}),
    "ModelList": obj({"object": {"const": "list"}, "data": list_of(ref("Model"))}),
    "Health": obj({"status": {"const": "ok"}}),
    "Status": obj({"models": list_of(obj({
        "model": STRING, "pid": or_null(INTEGER), "requests": INTEGER, "sequences": or_null(INTEGER),
    }))}),
    "Tokens": obj({"tokens": list_of(either(INTEGER, obj({"id": INTEGER, "piece": ANYTHING}))), "count": INTEGER}),
    "Text": obj({"content": STRING, "prompt": STRING}),
    "Prompt": obj({"prompt": STRING, "count": INTEGER}),
    "TokenizerInfo": obj({
        "bos_token": or_null(STRING), "eos_token": or_null(STRING), "pad_token": or_null(STRING),
        "chat_template": or_null(STRING), "system": or_null(STRING), "purpose": STRING, "context_length": INTEGER,
        "parallel": INTEGER, "messages": list_of(OBJECT), "digest": or_null(STRING),
    }),
    "Generated": _ollama_answer({
        "response": STRING, "thinking": STRING, "tool_calls": list_of(OLLAMA_CALL), "context": list_of(INTEGER),
    }),
    "Chatted": _ollama_answer({"message": OLLAMA_MESSAGE}),
    "Embedded": obj({
        "model": STRING, "embeddings": list_of(list_of(NUMBER)), "total_duration": INTEGER, "load_duration": INTEGER,
        "prompt_eval_count": INTEGER,
    }),
    "OldEmbedding": obj({"embedding": list_of(NUMBER)}),
    "Tags": obj({
        "models": list_of(obj({
            "name": STRING, "model": STRING, "modified_at": STRING, "size": INTEGER, "digest": STRING,
            "details": DETAILS,
        })),
    }),
    "InMemory": obj({
        "models": list_of(obj({
            "name": STRING, "model": STRING, "size": INTEGER, "digest": STRING, "details": DETAILS,
            "expires_at": STRING, "size_vram": INTEGER, "context_length": INTEGER,
        })),
    }),
    "Shown": obj(
        {
            "license": STRING, "modelfile": STRING, "parameters": STRING, "template": STRING, "system": STRING,
            "details": DETAILS, "messages": list_of(OBJECT), "model_info": OBJECT, "capabilities": list_of(STRING),
            "modified_at": STRING, "tensors": list_of(OBJECT),
        },
        ["details", "model_info", "capabilities"],
    ),
    "Version": obj({"version": STRING}),
    "Progress": obj(
        {"status": STRING, "total": INTEGER, "completed": INTEGER, "error": STRING}, [], "A step, or its last one."
    ),
}  # fmt: skip
