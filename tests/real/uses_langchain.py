"""What people do with LangChain, by Ollama's interface of the server whose address is given."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from pydantic import BaseModel

address = sys.argv[1]
QUESTION = "What is the capital of France?"
TEXTS = ["the cat", "a dog"]


class City(BaseModel):
    name: str


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}."


chat = ChatOllama(model="smollm2", base_url=address, temperature=0, num_predict=24)
whole = chat.invoke(QUESTION)
assert whole.content
assert whole.usage_metadata
assert whole.response_metadata["done_reason"] in ("stop", "length")
assert "".join(str(piece.content) for piece in chat.stream(QUESTION)) == whole.content

# A name of no end is cut off before the object is whole: it is asked for at length.
shaped = ChatOllama(model="smollm2", base_url=address, temperature=0, num_predict=200)
assert isinstance(shaped.with_structured_output(City).invoke(QUESTION), City)

with_tools = chat.bind_tools([weather])
offered = with_tools.invoke(QUESTION)
assert offered.usage_metadata
assert offered.usage_metadata["input_tokens"] > whole.usage_metadata["input_tokens"]
call: Any = {"name": "weather", "args": {"city": "Paris"}, "id": "1", "type": "tool_call"}
talk = [HumanMessage("How is it?"), AIMessage("", tool_calls=[call]), ToolMessage("It is sunny.", tool_call_id="1")]
assert with_tools.invoke(talk).content

assert "four" in OllamaLLM(model="smollm2", base_url=address, temperature=0, num_predict=8).invoke("One, two, three,")
vectors = OllamaEmbeddings(model="vectors", base_url=address)
assert vectors.embed_documents(TEXTS)[0] == pytest.approx(vectors.embed_query(TEXTS[0]), abs=1e-4)
