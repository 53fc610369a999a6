"""Programs that people use, at `llmasos serve` with real models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ollama import AsyncClient, Client, ResponseError
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

from llmasos import LLM

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
QUESTION: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def ollama(address: str) -> Iterator[Client]:
    with Client(host=address) as client:
        yield client


@pytest.fixture
def openai(address: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{address}/v1", api_key="none") as client:
        yield client


def test_openai_s_own_client(openai: OpenAI):
    assert {model.id for model in openai.models.list()} == {"smollm2", "vectors"}

    whole = openai.chat.completions.create(model="smollm2", messages=QUESTION, temperature=0, max_tokens=24)
    said = whole.choices[0].message.content or ""
    with LLM.from_pretrained("smollm2") as model:
        assert said == model.chat(QUESTION, temperature=0, max_tokens=24)
    assert whole.usage and whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens

    stream = openai.chat.completions.create(
        model="smollm2", messages=QUESTION, temperature=0, max_tokens=24, stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == said

    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}
    shaped = openai.chat.completions.create(
        model="smollm2",
        messages=QUESTION,
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
    )
    assert isinstance(json.loads(shaped.choices[0].message.content or "")["city"], str)

    called = openai.chat.completions.create(
        model="smollm2",
        messages=QUESTION,
        tools=[WEATHER],
        tool_choice="required",
        max_tokens=80,  # type: ignore[list-item]
    )
    [call] = called.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"
    assert "city" in json.loads(call.function.arguments)

    followed = openai.completions.create(model="smollm2", prompt="One, two, three,", temperature=0, max_tokens=4)
    assert "four" in followed.choices[0].text

    vectors = openai.embeddings.create(model="vectors", input=["the cat", "a dog"])  # it asks for base64
    plain = openai.embeddings.create(model="vectors", input=["the cat", "a dog"], encoding_format="float")
    assert [each.embedding for each in vectors.data] == [pytest.approx(each.embedding) for each in plain.data]

    with pytest.raises(NotFoundError, match="not installed"):
        openai.chat.completions.create(model="nobody", messages=QUESTION)
    with pytest.raises(BadRequestError, match="temperature"):
        openai.chat.completions.create(model="smollm2", messages=QUESTION, temperature=-1)


def test_openai_s_client_many_at_a_time(address: str):
    async def run() -> list[str]:
        async with AsyncOpenAI(base_url=f"{address}/v1", api_key="none") as client:

            async def ask(number: int) -> str:
                messages: list[Any] = [{"role": "user", "content": f"What is {number} and {number}?"}]
                stream = await client.chat.completions.create(
                    model="smollm2", messages=messages, max_tokens=16, temperature=0, stream=True
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*(ask(number) for number in range(16)))

    assert all(asyncio.run(run()))


def test_ollama_s_own_client(ollama: Client):
    assert {model.model for model in ollama.list().models} == {"smollm2:latest", "vectors:latest"}
    options = {"temperature": 0, "num_predict": 16}
    said = ollama.chat("smollm2", messages=QUESTION, options=options).message.content
    assert (
        "".join(part.message.content or "" for part in ollama.chat("smollm2", QUESTION, options=options, stream=True))
        == said
    )
    first = ollama.generate("smollm2", "Name a colour.", options=options)
    assert ollama.generate("smollm2", "Another.", context=first.context, options=options).response
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    shaped = ollama.chat("smollm2", messages=QUESTION, format=schema, options={"num_predict": 60}).message.content
    assert isinstance(json.loads(shaped or "")["age"], int)
    assert len(ollama.embed("vectors", ["the cat", "a dog"]).embeddings) == 2
    assert ollama.show("smollm2").capabilities == ["completion"]
    assert {model.model for model in ollama.ps().models} == {"smollm2:latest", "vectors:latest"}
    *_, end = ollama.create("pirate", from_="smollm2", system="Be a pirate.", stream=True)
    assert end.status == "success"
    ollama.delete("pirate")
    with pytest.raises(ResponseError, match="model 'pirate' not found") as refusal:
        ollama.chat("pirate", messages=QUESTION)
    assert refusal.value.status_code == 404


def test_ollama_s_client_many_at_a_time(address: str):
    async def run() -> list[str]:
        async with AsyncClient(host=address) as client:

            async def ask(number: int) -> str:
                messages = [{"role": "user", "content": f"What is {number} and {number}?"}]
                parts = await client.chat("smollm2", messages, options={"num_predict": 16}, stream=True)
                return "".join([part.message.content or "" async for part in parts])

            return await asyncio.gather(*(ask(number) for number in range(12)))

    assert all(asyncio.run(run()))
