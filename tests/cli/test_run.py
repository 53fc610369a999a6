"""`llmasos run`, as a person, a pipe or a cron line calls it, on a tiny model."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from doubles.tiny import TinyModel

FIXED = ("--temperature", "0", "--max-tokens", "8", "--ignore-eos")


def test_the_answer_is_on_standard_output_and_nothing_else_is(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "the cat", *FIXED, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert answer["finish_reason"] == "length"
    assert answer["tokens"]["completion"] == 8
    assert answer["timings"]["tokens_per_second"] > 0


def test_plain_output_is_the_answer_and_one_newline(llmasos, tiny_model):
    text = json.loads(llmasos("run", tiny_model, "the cat", *FIXED, "--json").stdout)["text"]
    assert llmasos("run", tiny_model, "the cat", *FIXED).stdout == text + "\n"


def test_prompts_of_file_pipe_and_argument_are_joined_by_blank_lines(llmasos, tiny_model, tmp_path):
    (tmp_path / "notes.txt").write_text("from a file\n")
    joined = llmasos("run", tiny_model, "from a file\n\nfrom a pipe\n\nfrom an argument", *FIXED, "--json")
    parts = llmasos(
        "run", tiny_model, "from an argument", "-f", tmp_path / "notes.txt", *FIXED, "--json", stdin="from a pipe\n"
    )
    assert json.loads(parts.stdout)["text"] == json.loads(joined.stdout)["text"]
    assert json.loads(parts.stdout)["tokens"] == json.loads(joined.stdout)["tokens"]


def test_a_template_is_used_unless_raw(llmasos, tiny_model):
    with_template, raw = (
        json.loads(llmasos("run", tiny_model, "cat", *FIXED, "--json", *more).stdout)["tokens"]["prompt"]
        for more in ((), ("--raw",))
    )
    assert (with_template, raw) == (6, 3)  # <|user|> cat <|end|> <|assistant|>


def test_a_system_prompt_goes_before_the_question(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "cat", "--system", "dog", *FIXED, "--json")
    assert json.loads(result.stdout)["tokens"]["prompt"] == 11


def test_a_model_without_a_template_takes_no_system_prompt(llmasos, make_tiny):
    result = llmasos("run", make_tiny(TinyModel(template=None)), "cat", "--system", "dog")
    assert result.exit_code == 5
    assert "no chat template" in result.stderr


def test_several_answers_read_the_prompt_once(llmasos, tiny_model):
    prompt = "the cat sat on the mat and looked at the hat"
    lines = llmasos("run", tiny_model, prompt, *FIXED, "--json", "-n", "3", "--seed", "5").stdout.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [answer["seed"] for answer in answers] == [5, 6, 7]
    assert [answer["tokens"]["cached"] > 0 for answer in answers] == [False, True, True]


def test_several_answers_as_text_have_a_line_between_them(llmasos, tiny_model):
    lines = llmasos("run", tiny_model, "a", "-n", "2", "--schema", '{"enum": ["red"]}').stdout
    assert lines == '"red"\n---\n"red"\n'


def test_a_short_context_is_kept_and_never_crashes_the_engine(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "--raw", "--context-length", "30", stdin="x" * 40)
    assert result.exit_code == 5
    assert "the prompt is 40 tokens long and the context holds 30" in result.stderr


def test_a_shape_that_was_cut_is_told(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "a", "--schema", '{"enum": ["red"]}', "--max-tokens", "2")
    assert "does not fit its grammar or schema" in result.stderr


def test_two_shapes_at_once_are_a_wrong_call(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "a", "--schema", "name", "--grammar", 'root ::= "x"')
    assert result.exit_code == 2


def test_an_output_file_is_written_and_standard_output_stays_empty(llmasos, tiny_model, tmp_path):
    shown = llmasos("run", tiny_model, "the cat", *FIXED).stdout
    result = llmasos("run", tiny_model, "the cat", *FIXED, "-o", tmp_path / "answer.txt")
    assert (result.stdout, (tmp_path / "answer.txt").read_text()) == ("", shown)


def test_statistics_are_one_line_on_standard_error(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "the cat", *FIXED, "--stats", "--seed", "9")
    assert result.stderr.count("\n") == 1
    assert "answer 8 tokens" in result.stderr
    assert result.stderr.endswith("ended by length, seed 9\n")


def test_verbose_says_what_was_chosen_and_why(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "the cat", *FIXED, "-v", "--threads", "1", "--kv-type", "f32")
    plan = next(line for line in result.stderr.splitlines() if line.startswith("llmasos: "))
    assert "CPU, 1 threads, context 256, KV cache f32" in plan
    assert "no GPU that this build can use" in plan


def test_a_graphics_card_that_is_not_used_is_told_with_the_mend(llmasos, tiny_model, tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    warned = llmasos("run", tiny_model, "the cat", *FIXED).stderr
    assert "not built for this machine's NVIDIA graphics card" in warned
    assert 'CMAKE_ARGS="-DGGML_CUDA=on" ' in warned
    assert llmasos("run", tiny_model, "the cat", *FIXED, "--gpu-layers", "0").stderr == ""


def test_layers_for_a_graphics_card_that_is_not_there_are_told(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "the cat", *FIXED, "--gpu-layers", "2")
    assert "there is no graphics card" in result.stderr


def test_a_schema_shapes_the_answer(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "a person", "--schema", '{"enum": ["red", "green"]}', "--seed", "1")
    assert json.loads(result.stdout) in ("red", "green")


def test_a_regular_expression_shapes_the_answer(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "a date", "--regex", r"\d{4}-(0[1-9]|1[0-2])", "--seed", "1")
    assert re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])\n", result.stdout)


def test_a_grammar_may_be_a_file(llmasos, tiny_model, tmp_path):
    (tmp_path / "colour.gbnf").write_text('root ::= "red" # or else\n | "green"\n'.replace("\n |", " |"))
    result = llmasos("run", tiny_model, "a colour", "--grammar", tmp_path / "colour.gbnf", "--seed", "1")
    assert result.stdout in ("red\n", "green\n")


def test_a_grammar_that_gets_stuck_is_told(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "a", "--grammar", 'root ::= "ab" <[99999]>')
    assert (result.exit_code, result.stdout) == (5, "ab")
    assert result.stderr.startswith("error: the grammar admits no token here\nhint: ")


def test_json_format_gives_json(llmasos, make_tiny):
    model = make_tiny(TinyModel(context_length=4096))
    result = llmasos("run", model, "a person", "--schema", "name, age int", "--seed", "1", "--logit-bias", '"=3')
    assert result.exit_code == 0
    assert set(json.loads(result.stdout)) == {"name", "age"}


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["--temperature", "-1"], 2, "temperature is at least 0, not -1"),
        (["--temperature", "nan"], 2, "temperature is not a number"),
        (["--temperature", "hot"], 2, "Invalid value for '--temperature'"),
        (["--kv-type", "q9"], 2, "kv_type is one of"),
        (["--logit-bias", "x"], 2, "is no logit bias"),
        (["--logit-bias", "999999=1"], 2, "there is no token 999999"),
        (["--format", "xml"], 2, "the format is `json`, not `xml`"),
        (["--regex", "a", "--format", "json"], 2, "format and regex each say what the answer looks like"),
        (["--regex", r"(a)\1"], 5, r"the regular expression has the backreference `\1` at character 4"),
        (["--schema", "missing.json"], 5, "can't read missing.json"),
        (["--grammar", "missing.gbnf"], 5, "can't read missing.gbnf"),
        (["--schema", "{"], 5, "schema"),
        (
            ["--grammar", "root ::= ("],
            5,
            "the grammar can't be used: line 1, column 10: a group without its closing `)`",
        ),
        (["--context-length", "1000000000"], 4, "of memory"),
        (["--kv-type", "q8_0"], 5, "does not divide"),
        (["-f", "/nonexistent/file"], 5, "can't read /nonexistent/file"),
        (["--no-such-option"], 2, "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options_are_clear_errors(llmasos, tiny_model, arguments, exit_code, message):
    result = llmasos("run", tiny_model, "the cat", *arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


def test_no_prompt_is_a_wrong_call(llmasos, tiny_model):
    result = llmasos("run", tiny_model)
    assert result.exit_code == 2
    assert result.stderr == 'error: there is no prompt\nhint: give one: llmasos run MODEL "PROMPT", or pipe text in\n'


def test_bytes_that_are_no_text_are_named(llmasos, tiny_model):
    result = llmasos("run", tiny_model, stdin=b"caf\xe9")
    assert result.exit_code == 5
    assert result.stderr.startswith("error: standard input is not UTF-8 text: byte 3 is 0xe9\n")


def test_a_prompt_longer_than_the_context_is_refused_with_both_counts(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "--raw", stdin="x" * 300)
    assert result.exit_code == 5
    assert result.stderr == (
        "error: the prompt is 300 tokens long and the context holds 256\n"
        "hint: raise --context-length, or choose --on-overflow truncate|shift|summarize\n"
    )


@pytest.mark.parametrize("policy", ["truncate", "shift"])
def test_a_prompt_longer_than_the_context_is_made_to_fit_if_asked(llmasos, tiny_model, policy):
    result = llmasos("run", tiny_model, *FIXED, "--on-overflow", policy, "--logit-bias", "259=-inf", stdin="x" * 300)
    assert result.exit_code == 0
    assert result.stderr.startswith("note: the ")


def test_unknown_names_come_with_near_ones(llmasos):
    result = llmasos("run", "smolm2", "Hello")
    assert result.exit_code == 3
    assert result.stderr.startswith("error: there is no model `smolm2`\nhint: did you mean `smollm2`")


def test_offline_refuses_to_pull(llmasos):
    result = llmasos("run", "smollm2", "Hello", "--offline")
    assert result.exit_code == 3
    assert "forbids to pull it" in result.stderr


@pytest.mark.real
def test_no_network_is_try_again_later(llmasos):
    result = llmasos("pull", "https://127.0.0.1:9/model.gguf")
    assert result.exit_code == 75


def test_a_missing_file_is_not_found(llmasos):
    assert llmasos("run", "./nothing.gguf", "Hello").exit_code == 3


def test_a_file_that_is_no_model_is_bad_input(llmasos, tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + b"\xff" * 100)
    result = llmasos("run", tmp_path / "x.gguf", "Hello")
    assert result.exit_code == 5
    assert "not a usable GGUF file" in result.stderr


def test_a_file_that_would_crash_the_engine_is_bad_input(llmasos, tiny_model, tmp_path):
    content = bytearray(tiny_model.read_bytes())
    place = content.index(b"llama.block_count") + len(b"llama.block_count") + 4
    content[place : place + 4] = (1000).to_bytes(4, "little")
    (tmp_path / "x.gguf").write_bytes(content)
    result = llmasos("run", tmp_path / "x.gguf", "Hello")
    assert result.exit_code == 5
    assert "the engine crashed on it" in result.stderr


def test_settings_come_from_config_environment_and_flags_in_that_order(llmasos, tiny_model, home, monkeypatch):
    def completion_tokens(*flags: str) -> int:
        return json.loads(llmasos("run", tiny_model, "the cat", "--json", "--ignore-eos", *flags).stdout)["tokens"][
            "completion"
        ]

    home.mkdir()
    (home / "config.toml").write_text("max_tokens = 3\n")
    assert completion_tokens() == 3
    monkeypatch.setenv("LLMASOS_MAX_TOKENS", "4")
    assert completion_tokens() == 4
    assert completion_tokens("--max-tokens", "5") == 5


def test_a_long_inline_schema_is_no_file_name(llmasos, tiny_model):
    schema = json.dumps({"enum": ["red", "green"], "description": "x" * 600})
    assert json.loads(llmasos("run", tiny_model, "x", "--schema", schema).stdout) in ("red", "green")


def test_a_long_prompt_instead_of_a_model_is_a_wrong_call(llmasos):
    result = llmasos("run", "Tell me a story. " * 40)
    assert result.exit_code in (2, 3)
    assert "Traceback" not in result.stderr


def test_a_full_context_is_told(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "the", "--ignore-eos", "--max-tokens", "5000", "--json")
    assert json.loads(result.stdout)["finish_reason"] == "context"
    assert result.stderr == "note: the answer ended because the context of 256 tokens is full\n"


def test_the_largest_seeds_wrap_around(llmasos, tiny_model):
    lines = llmasos("run", tiny_model, "the", *FIXED, "--json", "-n", "2", "--seed", str(2**32 - 2)).stdout.splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [2**32 - 2, 0]


def test_help_shows_examples(llmasos):
    result = llmasos("run", "--help")
    assert 'llmasos run smollm2 "The capital of France is"' in result.stdout


def test_a_stored_model_runs_by_its_name(llmasos, tiny_model: Path):
    assert llmasos("pull", tiny_model, "--as", "tiny").exit_code == 0
    assert llmasos("run", "tiny", "the cat", *FIXED).exit_code == 0


def test_a_beam_search_gives_the_best_answers_in_their_order(llmasos, tiny_model):
    flags = ("--num-beams", "4", "-n", "3", "--max-tokens", "8", "--ignore-eos")
    answers = [json.loads(line) for line in llmasos("run", tiny_model, "the cat", *flags, "--json").stdout.splitlines()]
    scores = [answer["score"] for answer in answers]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    shown = llmasos("run", tiny_model, "the cat", *flags).stdout
    assert shown == "---\n".join(f"{answer['text']}\n" for answer in answers)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--num-beams", "2", "-n", "3"], "2 beams can't give 3 answers"),
        (["--num-beams", "2", "--top-p", "0.5"], "--num-beams never draws a token, so --top-p plays no part"),
        (["--num-beams", "0"], "num_beams is at least 1"),
        (["--num-beams", "2", "--early-stopping", "maybe"], "is one of true, false, never"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_a_beam_search_can_not_be_is_refused(llmasos, tiny_model, flags, told):
    result = llmasos("run", tiny_model, "the cat", *flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_an_answer_ends_after_max_seconds_with_a_note(llmasos, tiny_model):
    flags = ("--max-seconds", "0.3", "--ignore-eos", "--on-overflow", "shift", "--json")
    result = llmasos("run", tiny_model, "the cat", *flags)
    assert json.loads(result.stdout)["finish_reason"] == "time"
    assert "cut at --max-seconds" in result.stderr
