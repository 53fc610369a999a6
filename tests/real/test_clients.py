"""Programs that people use, at `llmasos serve` with real models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from doubles.checkpoints import write_checkpoint
from doubles.serving import served
from llmasos import LLM
from llmasos.convert import convert_to_store
from llmasos.pull import pull
from ollama import AsyncClient, Client, ResponseError
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

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
def address(home: Path, tmp_path: Path) -> Iterator[str]:
    pull("smollm2")
    convert_to_store(str(write_checkpoint(tmp_path / "bert", "bert")), "F32", name="vectors")
    with served() as server:
        yield f"http://127.0.0.1:{server.port}"


def test_openai_s_own_client(address: str):
    client = OpenAI(base_url=f"{address}/v1", api_key="none")
    assert {model.id for model in client.models.list()} == {"smollm2", "vectors"}

    whole = client.chat.completions.create(model="smollm2", messages=QUESTION, temperature=0, max_tokens=24)
    said = whole.choices[0].message.content or ""
    with LLM.from_pretrained("smollm2") as model:
        assert said == model.chat(QUESTION, temperature=0, max_tokens=24)
    assert whole.usage and whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens

    stream = client.chat.completions.create(
        model="smollm2", messages=QUESTION, temperature=0, max_tokens=24, stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == said

    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}
    shaped = client.chat.completions.create(
        model="smollm2",
        messages=QUESTION,
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
    )
    assert isinstance(json.loads(shaped.choices[0].message.content or "")["city"], str)

    called = client.chat.completions.create(
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

    followed = client.completions.create(model="smollm2", prompt="One, two, three,", temperature=0, max_tokens=4)
    assert "four" in followed.choices[0].text

    vectors = client.embeddings.create(model="vectors", input=["the cat", "a dog"])  # it asks for base64
    plain = client.embeddings.create(model="vectors", input=["the cat", "a dog"], encoding_format="float")
    assert [each.embedding for each in vectors.data] == [pytest.approx(each.embedding) for each in plain.data]

    with pytest.raises(NotFoundError, match="not installed"):
        client.chat.completions.create(model="nobody", messages=QUESTION)
    with pytest.raises(BadRequestError, match="temperature"):
        client.chat.completions.create(model="smollm2", messages=QUESTION, temperature=-1)


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


def test_ollama_s_own_client(address: str):
    client = Client(host=address)
    assert {model.model for model in client.list().models} == {"smollm2:latest", "vectors:latest"}
    options = {"temperature": 0, "num_predict": 16}
    said = client.chat("smollm2", messages=QUESTION, options=options).message.content
    assert (
        "".join(part.message.content or "" for part in client.chat("smollm2", QUESTION, options=options, stream=True))
        == said
    )
    first = client.generate("smollm2", "Name a colour.", options=options)
    assert client.generate("smollm2", "Another.", context=first.context, options=options).response
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    shaped = client.chat("smollm2", messages=QUESTION, format=schema, options={"num_predict": 60}).message.content
    assert isinstance(json.loads(shaped or "")["age"], int)
    assert len(client.embed("vectors", ["the cat", "a dog"]).embeddings) == 2
    assert client.show("smollm2").capabilities == ["completion"]
    assert {model.model for model in client.ps().models} == {"smollm2:latest", "vectors:latest"}
    *_, end = client.create("pirate", from_="smollm2", system="Be a pirate.", stream=True)
    assert end.status == "success"
    client.delete("pirate")
    with pytest.raises(ResponseError, match="model 'pirate' not found") as refusal:
        client.chat("pirate", messages=QUESTION)
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
