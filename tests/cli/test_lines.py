"""`run --lines`: a line of output for each line of input, as a shell pipe wants it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from conftest import PROJECT, command
from doubles.tiny import TinyModel
from llmasos_cli.lines import whole_lines

FIXED = ("--temperature", "0", "--max-tokens", "8", "--ignore-eos")


def answers(stdout: str) -> list[dict]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_every_line_gets_the_answer_that_it_gets_alone(llmasos, tiny_model):
    alone = [
        json.loads(llmasos("run", tiny_model, prompt, *FIXED, "--json").stdout)["text"] for prompt in ("cat", "a dog")
    ]
    result = llmasos("run", tiny_model, "--lines", *FIXED, "--json", stdin="cat\na dog\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [(answer["line"], answer["text"]) for answer in answers(result.stdout)] == [(1, alone[0]), (2, alone[1])]


def test_answers_come_in_the_order_of_the_lines_however_many(llmasos, tiny_model):
    lines = [f"{'x' * (1 + number * 7 % 40)}" for number in range(150)]
    result = llmasos("run", tiny_model, "--lines", "--max-tokens", "2", "--json", stdin="\n".join(lines))
    assert [answer["line"] for answer in answers(result.stdout)] == list(range(1, 151))
    assert [answer["tokens"]["prompt"] for answer in answers(result.stdout)] == [len(line) + 3 for line in lines]


def test_a_prompt_stands_before_every_line_and_is_read_once(llmasos, tiny_model):
    instruction = "say in a word what the cat of this name looks like"
    joined = json.loads(llmasos("run", tiny_model, f"{instruction}\n\ntom", *FIXED, "--json").stdout)
    result = llmasos("run", tiny_model, instruction, "--lines", *FIXED, "--json", stdin="tom\ntim\nkit\n")
    first, *others = answers(result.stdout)
    assert (first["text"], first["tokens"]["prompt"]) == (joined["text"], joined["tokens"]["prompt"])
    assert all(answer["tokens"]["cached"] >= 40 for answer in others)


def test_an_answer_is_one_line_unless_it_is_json(llmasos, tiny_model):
    shape = ("--grammar", 'root ::= " one\\n\\n  two\\r\\nthree\\n"')
    assert llmasos("run", tiny_model, "--lines", *shape, stdin="a\n").stdout == "one two three\n"
    exact = llmasos("run", tiny_model, "--lines", *shape, "--json", stdin="a\n").stdout
    assert json.loads(exact)["text"] == " one\n\n  two\r\nthree\n"


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a\nb"], [b"a", b"b"]),
        ([b"on", b"e\ntw", b"o", b"\n", b"three"], [b"one", b"two", b"three"]),
        ([b"a\r\n\r\nb\r"], [b"a", b"", b"b"]),
        ([b"\n\n"], [b"", b""]),
        ([b"\xff\x85\x0b\n"], [b"\xff\x85\x0b"]),
        ([], []),
    ],
    ids=repr,
)
def test_lines_are_whole_however_they_come_in_pieces(written, lines):
    reader, writer = os.pipe()
    given = whole_lines([reader])
    found = []
    for piece in written:
        os.write(writer, piece)
        found += [next(given) for _ in range(piece.count(b"\n"))]
    os.close(writer)
    found += given
    os.close(reader)
    assert found == lines


def test_an_empty_line_gets_an_empty_line(llmasos, tiny_model):
    shape = ("--grammar", 'root ::= "yes"')
    assert llmasos("run", tiny_model, "--lines", *shape, stdin="a\n\n \nb").stdout == "yes\n\n\nyes\n"


@pytest.mark.parametrize("stdin", ["", "\n\n"])
def test_no_lines_are_no_failure(llmasos, tiny_model, stdin):
    result = llmasos("run", tiny_model, "--lines", stdin=stdin)
    assert (result.exit_code, result.stdout, result.stderr) == (0, stdin, "")


def test_lines_that_fail_are_told_by_number_and_the_others_go_on(llmasos, tiny_model):
    shape = ("--grammar", 'root ::= "yes"')
    given = b"a\n" + b"x" * 300 + b"\ncaf\xe9\nb\r\n"
    result = llmasos("run", tiny_model, "--lines", *shape, stdin=given)
    assert (result.exit_code, result.stdout) == (1, "yes\n\n\nyes\n")
    assert result.stderr == (
        "error: line 2: the prompt is 303 tokens long and the context holds 256\n"
        "error: line 3: the line is not UTF-8 text: byte 3 is 0xe9\n"
        "error: 2 of 4 lines could not be answered\n"
        "hint: raise --context-length, or choose --on-overflow truncate|shift|summarize\n"
    )


def test_in_json_a_line_that_failed_says_why(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "--lines", "--json", stdin=b"\xff\n")
    assert json.loads(result.stdout) == {"line": 1, "error": "the line is not UTF-8 text: byte 0 is 0xff"}


def test_lines_come_from_files_instead_of_the_pipe(llmasos, tiny_model, tmp_path):
    (tmp_path / "a.txt").write_text("a\nb")
    (tmp_path / "b.txt").write_text("c\n")
    files = ("-f", tmp_path / "a.txt", "-f", tmp_path / "b.txt")
    result = llmasos("run", tiny_model, "--lines", *files, "--grammar", 'root ::= "yes"', stdin="not read")
    assert result.stdout == "yes\n" * 3


def test_a_slow_pipe_has_each_answer_before_the_next_line_is_written(tiny_model):
    process = subprocess.Popen(
        command("run", tiny_model, "--lines", "--grammar", 'root ::= "yes"'),
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    for _ in range(3):
        process.stdin.write(b"a\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"yes\n"
    rest, _ = process.communicate(timeout=20)
    assert (rest, process.returncode) == (b"", 0)


def test_a_reader_that_leaves_ends_it_quietly_while_lines_still_come(tiny_model):
    line = " ".join(command("run", tiny_model, "--lines", "--max-tokens", "2"))
    script = f"set -o pipefail; (yes hello || true) | {line} | head -n 1 | wc -l"
    done = subprocess.run(["bash", "-c", script], cwd=PROJECT, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"1", b"")


def test_closed_standard_input_has_no_lines(tiny_model):
    line = " ".join(command("run", tiny_model, "--lines"))
    done = subprocess.run(["bash", "-c", f"{line} <&-"], cwd=PROJECT, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_an_output_file_is_there_when_all_is_done(llmasos, tiny_model, tmp_path):
    target = tmp_path / "answers.txt"
    result = llmasos("run", tiny_model, "--lines", "--grammar", 'root ::= "yes"', "-o", target, stdin=b"a\n\xff\nb\n")
    assert (result.exit_code, result.stdout, target.read_text()) == (1, "", "yes\n\nyes\n")


def test_an_output_file_stays_as_it_was_if_the_time_is_over(llmasos, tiny_model, tmp_path):
    target = tmp_path / "answers.txt"
    target.write_text("old")
    endless = ("--ignore-eos", "--on-overflow", "shift", "--timeout", "1")
    result = llmasos("run", tiny_model, "--lines", *endless, "-o", target, stdin="a\nb\n")
    assert (result.exit_code, target.read_text(), list(tmp_path.glob(".*"))) == (75, "old", [])


def test_a_prompt_that_is_cut_is_told_with_its_line(llmasos, tiny_model):
    flags = ("--on-overflow", "truncate", "--max-tokens", "2")
    result = llmasos("run", tiny_model, "--lines", *flags, stdin="a\n" + "x" * 300)
    assert result.exit_code == 0
    assert result.stderr.startswith("note: line 2: the first ")


def test_the_seconds_of_a_line_do_not_begin_before_its_turn(llmasos, tiny_model):
    flags = ("--max-seconds", "0.5", "--ignore-eos", "--on-overflow", "shift", "--json")
    result = llmasos("run", tiny_model, "--lines", *flags, stdin="a\n" * 20)
    assert [answer["finish_reason"] for answer in answers(result.stdout)] == ["time"] * 20
    assert all(answer["tokens"]["completion"] > 0 for answer in answers(result.stdout))


def test_a_beam_search_answers_lines_too(llmasos, tiny_model):
    flags = ("--num-beams", "3", "--max-tokens", "4", "--ignore-eos", "--json")
    alone = json.loads(llmasos("run", tiny_model, "cat", *flags).stdout)
    [answer] = answers(llmasos("run", tiny_model, "--lines", *flags, stdin="cat\n").stdout)
    assert (answer["text"], answer["score"]) == (alone["text"], pytest.approx(alone["score"], abs=1e-3))


def test_what_can_be_taken_of_an_answer_is_its_line(llmasos, tiny_model):
    shape = ("--grammar", 'root ::= "see {\\"a\\":\\n1} there"', "--extract", "json")
    result = llmasos("run", tiny_model, "--lines", *shape, stdin="a\nb\n")
    assert (result.exit_code, result.stdout) == (0, '{"a": 1}\n{"a": 1}\n')


def test_statistics_are_of_all_lines(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "--lines", *FIXED, "--stats", stdin="a\nb\n")
    assert result.stderr.startswith("2 lines in ")
    assert "answers 16 tokens" in result.stderr


def test_a_context_of_its_own_each_does_as_well(llmasos, make_tiny):
    model = make_tiny(TinyModel())
    result = llmasos("run", model, "--lines", "--deterministic", *FIXED, "--json", stdin="a\na\na\n")
    assert len({answer["text"] for answer in answers(result.stdout)}) == 1


@pytest.mark.parametrize(
    ("flags", "exit_code", "told"),
    [
        (["-n", "2"], 2, "--lines gives each line one answer"),
        (["--prompt-cache", "cache"], 2, "share only once anyway"),
        (["-f", "/nonexistent/file"], 5, "can't read /nonexistent/file: No such file or directory"),
        (["-f", "/"], 1, "Is a directory"),
        (["--logit-bias", "999999=1"], 2, "there is no token 999999"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_can_not_be_is_refused(llmasos, tiny_model, flags, exit_code, told):
    result = llmasos("run", tiny_model, "--lines", *flags, stdin="a\n")
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_lines_typed_by_hand_are_asked_for_as_a_file(tiny_model, tmp_path: Path):
    script = f"{' '.join(command('run', tiny_model, '--lines'))}"
    done = subprocess.run(
        ["script", "-qec", script, "/dev/null"], cwd=PROJECT, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 2
    assert "there are no lines to read" in done.stdout
