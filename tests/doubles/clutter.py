"""What no client that means well sends: bytes, broken HTTP, JSON of the wrong kinds, at every route."""

from __future__ import annotations

import json
import random
from typing import Any

ROUTES = (
    *["/v1/chat/completions", "/v1/completions", "/api/generate", "/api/chat"] * 4,
    "/", "/health", "/status", "/v1/embeddings", "/v1/rerank", "/v1/models",
    "/v1/models/%ff", "/tokenize", "/detokenize", "/apply-template", "/tokenizer_info", "/api/generate", "/api/chat",
    "/api/embed", "/api/embeddings", "/api/show", "/api/copy", "/api/pull", "/api/push", "/api/create", "/api/tags",
    "/api/ps", "/api/blobs/sha256:00", "/api/blobs/../../x", "/nothing", "//", "/%00", "*",
)  # fmt: skip
METHODS = (*["POST"] * 12, "GET", "GET", "HEAD", "PUT", "OPTIONS", "DELETE", "CONNECT", "NONSENSE")
HOSTS = (*["localhost"] * 8, "localhost:1", "127.0.0.1", "[::1", "evil.example", "")
NAMES = (
    "messages", "prompt", "max_tokens", "n", "stop", "seed", "tools", "tool_choice", "logprobs", "stream", "format",
    "temperature", "options", "keep_alive", "response_format", "schema", "grammar", "regex", "think", "logit_bias",
    "echo", "input", "query", "documents", "content", "tokens", "name", "source", "destination", "from", "files",
    "context", "system", "template", "raw", "suffix", "num_ctx", "truncate", "dimensions", "stream_options",
    "top_logprobs",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 3, 1e300, 2**63, "", "json", "\ud800", "é\0", [], ["a"], [1], [-1], [[]], [None], {},
    {"role": "user"}, {"type": "json_object"}, [{"role": "user", "content": "a b"}], {"a": 1}, "root ::= root",
    "[a-z]{3}", {"num_predict": 2, "seed": "x"}, {"$ref": "#"}, "a " * 3000,
)  # fmt: skip


ALL_RIGHT = {"messages": [{"role": "user", "content": "a b"}], "prompt": "a b", "input": "a b", "content": "a b"}


def random_request(chance: random.Random, model: str) -> bytes:
    """What is sent over a connection, from its first byte; it never makes an answer of more than some tokens."""
    if chance.random() < 0.25:
        return chance.randbytes(chance.randrange(1, 200))
    body = _random_body(chance, model)
    length = len(body) if chance.random() < 0.9 else chance.choice((0, len(body) // 2, -1, 10**30))
    lines = [
        f"{chance.choice(METHODS)} {chance.choice(ROUTES)} HTTP/1.{chance.randrange(2)}",
        f"Host: {chance.choice(HOSTS)}",
        f"Content-Length: {length}",
        "Connection: close",
        *chance.choice(
            ((), (), ("Upgrade: websocket", "Connection: upgrade"), ("Expect: 100-continue",), ("Origin: x",))
        ),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _random_body(chance: random.Random, model: str) -> bytes:
    if chance.random() < 0.2:
        return chance.choice((b"", b"{", b"[" * 5000, b'{"a":' * 2000, b"\xff\xfe", b"null", chance.randbytes(50)))
    body = {chance.choice(NAMES): chance.choice(VALUES) for _ in range(chance.randrange(5))}
    if chance.random() < 0.6:  # little is wrong with it
        said = chance.choice(list(ALL_RIGHT))
        body = {**dict(list(body.items())[: chance.randrange(2)]), said: ALL_RIGHT[said]}
    named = {"model": model} if chance.random() < 0.9 else {"model": chance.choice(VALUES)}
    few = {"max_tokens": 3} if chance.random() < 0.7 else {"options": {"num_predict": 3}}
    return json.dumps({**body, **named, **few}).encode()
