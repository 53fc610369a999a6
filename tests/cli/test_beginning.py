"""What a person meets first: `llmasos` alone, and the manual page."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from conftest import PROJECT
from llmasos_cli.app import COMMANDS, all_commands
from llmasos_cli.beginning import BEGINNINGS, HOW_MANY, beginning

MANUAL = PROJECT / "docs/llmasos.1"


def test_llmasos_alone_shows_five_commands_to_begin_with(llmasos):
    result = llmasos()
    assert (result.exit_code, result.stderr) == (0, "")
    typed = [line for line in result.stdout.splitlines() if line.startswith("    llmasos ")]
    assert len(typed) == HOW_MANY == 5
    assert typed[0].startswith('    llmasos run smollm2 "The capital of France is"')
    assert {line.split()[1] for line in typed} <= set(COMMANDS)
    assert result.stdout == beginning(COMMANDS)
    assert "llmasos --help" in result.stdout


def test_a_command_that_is_not_there_yet_is_not_shown():
    page = beginning(("run", "list", "rm"))
    assert [name for name, typed, _ in BEGINNINGS if typed in page] == ["run", "list", "rm"]


def test_the_page_fits_a_terminal():
    assert max(map(len, beginning([name for name, _, _ in BEGINNINGS]).splitlines())) <= 100


def test_help_shows_all_commands(llmasos):
    shown = llmasos("--help").stdout
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("words", [[], ["--help"]], ids=["alone", "--help"])
def test_a_reader_that_has_left_is_no_error(words):
    command = " ".join([sys.executable, "-m", "llmasos_cli", *words])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true"], cwd=PROJECT, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_manual_has_every_command_and_every_exit_code():
    text = MANUAL.read_text(encoding="utf-8")
    assert [name for name in all_commands() if f".SS {name}\n" not in text] == []
    assert all(f".TP\n.B {code}\n" in text for code in (0, 1, 2, 3, 4, 5, 6, 75, 130, 143))
    assert text.isascii()


@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff")
def test_the_manual_is_read_without_a_warning_and_shows_what_is_to_be_typed():
    groff = ["groff", "-man", "-ww", "-Tutf8", "-rLL=200n", str(MANUAL)]
    done = subprocess.run(groff, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "llmasos run smollm2 \"Three colours\" --schema 'colours list' --json" in done.stdout
    assert "at most 500M, 2G, …." in done.stdout
