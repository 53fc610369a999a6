"""What people do with LiteLLM, by both interfaces of the server whose address is given."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices
import litellm  # noqa: E402

address = sys.argv[1]
ASKED: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
TEXTS = ["the cat", "a dog"]

openais = {"api_base": f"{address}/v1", "api_key": "none"}
for by in ({"model": "openai/smollm2", **openais}, {"model": "ollama_chat/smollm2", "api_base": address}):
    asked: Any = {"messages": ASKED, "temperature": 0, "max_tokens": 24, **by}
    whole = litellm.completion(**asked)
    said = whole.choices[0].message.content
    assert said
    assert whole.usage.completion_tokens <= 24
    pieces = litellm.completion(**asked, stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == said
generated = litellm.completion(model="ollama/smollm2", api_base=address, messages=ASKED, temperature=0, max_tokens=24)
assert generated.choices[0].message.content

parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
weather = {"type": "function", "function": {"name": "weather", "description": "?", "parameters": parameters}}
called = litellm.completion(
    model="openai/smollm2", messages=ASKED, tools=[weather], tool_choice="required", max_tokens=80, **openais
)
[call] = called.choices[0].message.tool_calls
assert call.function.name == "weather"

followed = litellm.text_completion(
    model="text-completion-openai/smollm2", prompt="One, two, three,", temperature=0, max_tokens=4, **openais
)
assert "four" in followed.choices[0].text
one = litellm.embedding(model="openai/vectors", input=TEXTS, **openais).data
other = litellm.embedding(model="ollama/vectors", input=TEXTS, api_base=address).data
for mine, theirs in zip(one, other, strict=True):
    assert mine["embedding"] == pytest.approx(theirs["embedding"], abs=1e-4)
with pytest.raises(litellm.NotFoundError, match="not installed"):
    litellm.completion(model="openai/nobody", messages=ASKED, **openais)
