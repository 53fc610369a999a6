"""What reaches a terminal, a log or a pipe: no control sequences of strangers, and no end for want of a reader."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import PROJECT, command
from llmasos.store.manifests import manifest_text
from llmasos.store.store import ModelStore
from llmasos_cli import output

TITLE = "\x1b]0;pwned\x07"  # sets the title of a terminal's window


class Terminal(io.TextIOWrapper):
    """A standard stream that says it is a terminal, and keeps what is written."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        raw = self.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue().decode()


class Gone(io.TextIOWrapper):
    """A standard stream whose reader has left."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def write(self, text: str) -> int:
        raise BrokenPipeError


# Beside the data.


def test_what_stands_beside_the_data_is_dim_on_a_terminal_unless_colour_is_not_wanted(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    output.write_aside(f"hm{TITLE}\n")
    monkeypatch.setenv("NO_COLOR", "1")
    output.write_aside("so")
    assert terminal.shown == "\x1b[2mhm\\x1b]0;pwned\\x07\n\x1b[22mso"


def test_what_stands_beside_the_data_is_plain_in_a_log_and_stops_nothing(monkeypatch):
    monkeypatch.setattr("sys.stderr", log := io.StringIO())
    output.write_aside("hm")
    assert log.getvalue() == "hm"
    monkeypatch.setattr("sys.stderr", Gone())
    output.write_aside("hm")


def test_a_person_reads_along_only_if_both_outputs_are_terminals(monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setattr("sys.stderr", Terminal())
    assert output.is_seen()
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert not output.is_seen()


# Controls.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, \u00e9 \u6587 \U0001f642", "plain, \u00e9 \u6587 \U0001f642"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        (TITLE, "\\x1b]0;pwned\\x07"),
        ("over\rwritten \x00 \x7f", "over\\x0dwritten \\x00 \\x7f"),
        ("\x9b31m", "\\x9b31m"),  # one character that begins a sequence, as ESC [ does
    ],
)
def test_controls_are_shown_instead_of_obeyed(text: str, shown: str):
    assert output.visible(text) == shown


def test_in_one_line_there_is_no_second():
    assert output.visible_line("MIT\nsource\tmine") == "MIT\\nsource\\tmine"


def test_notes_and_tables_are_free_of_controls(capfdbinary: Any):
    output.note(f"error: {TITLE}")
    output.write_table([{"name": "x", "type": f"{TITLE}\n"}, {"name": "long name", "type": "F32"}])
    stdout, stderr = capfdbinary.readouterr()
    assert stderr == b"error: \\x1b]0;pwned\\x07\n"
    assert stdout.splitlines()[1:] == [b"x          \\x1b]0;pwned\\x07\\n", b"long name  F32"]


def test_json_holds_every_character_and_no_control(capfdbinary: Any):
    value = {"text": f"{TITLE}\x9b\x7f\udcff\ud800 \u00e9"}
    output.write_json(value)
    line = capfdbinary.readouterr().out.decode()
    assert json.loads(line) == value
    assert output.visible(line) == line
    assert "\u00e9" in line


def test_a_models_own_text_is_changed_for_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capfdbinary: Any):
    output.write_text(f"{{{{ {TITLE} }}}}")
    assert capfdbinary.readouterr().out == f"{{{{ {TITLE} }}}}\n".encode()
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    output.write_text(f"a\nb {TITLE}")
    assert terminal.shown == "a\nb \\x1b]0;pwned\\x07\n"


def test_show_obeys_no_control_of_a_licence(llmasos: Any, tiny_model: Path):
    assert llmasos("import", tiny_model, "--as", "tiny").exit_code == 0
    store = ModelStore()
    (manifest,) = store.models()
    path = store.manifest_path(manifest.name)
    path.write_text(manifest_text(replace(manifest, license=f"{TITLE}\nsource")))
    lines = llmasos("show", "tiny").stdout.splitlines()
    assert "license         \\x1b]0;pwned\\x07\\nsource" in lines
    assert llmasos("show", "tiny", "--license").stdout == f"{TITLE}\nsource\n"


# Nobody there.


def test_a_note_that_nobody_reads_stops_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", Gone())
    output.note("pulling")
    progress = output.LogProgress()
    with progress.work("pulling", 10):
        progress.update(10)


def test_a_pull_goes_on_when_the_reader_of_its_progress_has_left(tiny_model: Path):
    line = " ".join(command("import", tiny_model))
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line} 2>&1 | true"], cwd=PROJECT, check=False)
    assert done.returncode == 0
    assert [str(model.name) for model in ModelStore().models()] == ["tiny"]


# The bar.


def test_a_label_is_no_markup(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    progress = output.make_progress()
    assert isinstance(progress, output.TerminalProgress)
    with progress.work(f"pulling x[/y].gguf {TITLE}", 10):
        progress.update(5)
        progress.note(f"[bold]:smile: {TITLE} " + "long " * 40 + "line")
    assert "pulling x[/y].gguf \\x1b]0;pwned\\x07" in " ".join(terminal.shown.split())
    assert "[bold]:smile: \\x1b]0;pwned\\x07 " + "long " * 40 + "line\n" in terminal.shown


def test_the_cursor_is_shown_again_when_work_is_interrupted():
    program = (
        "import os\n"
        "from llmasos_cli import output\n"
        "with output.make_progress().work('verifying x', 10):\n"
        "    raise KeyboardInterrupt\n"
    )
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm"}
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, stderr=theirs, env=environment, check=False)
    os.close(theirs)
    shown = b"".join(read_all(ours))
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h") == 1


def read_all(handle: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):  # what the end of a terminal is to Linux
        while part := os.read(handle, 4096):
            yield part
    os.close(handle)


# Help.


def test_help_shows_the_defaults(llmasos: Any):
    words = " ".join(llmasos("run", "--help").stdout.replace("\u2502", " ").split())
    assert "always takes the likeliest token. (default 0.8)" in words
    assert "0 is off. (default 0)" in words
