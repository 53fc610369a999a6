"""The completion scripts in their shells: bash and zsh are sent a TAB on a terminal, fish is asked by `complete -C`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest

from llmasos.paths import Home
from llmasos.store.manifests import Manifest, StoredFile
from llmasos.store.references import parse_name
from llmasos.store.store import ModelStore

pytestmark = pytest.mark.real

PROJECT = Path(__file__).parents[2]
SCRIPTS = PROJECT / "completions"
# Ctrl-T prints, as <<candidates>><<line>>, what a TAB found and made of the line, and empties the line.
BASH = r"""
PS1=
bind 'set bell-style none'
bind 'set enable-bracketed-paste off'
bind 'set completion-query-items 0'
source "$SCRIPT"
remember() { # bash itself forgets COMPREPLY
    _llmasos "$@"
    candidates=("${COMPREPLY[@]}")
}
complete -F remember llmasos
show() {
    local IFS=$'\t'
    printf '<<%s>><<%s>>\n' "${candidates[*]}" "$READLINE_LINE"
    READLINE_LINE=
}
bind -x '"\C-t": show'
"""
ZSH = r"""
PROMPT=
unsetopt prompt_cr prompt_sp zle_bracketed_paste beep
LISTMAX=10000
fpath=($FUNCTIONS $fpath)
autoload -U compinit
compinit -u -D
typeset -ga candidates
compadd() { # as the real one, and remembers
  local -a found
  if (( ! ${argv[(I)-[OAD]*]} )); then
    builtin compadd -O found "$@"
    candidates+=($found)
  fi
  builtin compadd "$@"
}
show() {
  print -r -- "<<${(pj:\t:)candidates}>><<$BUFFER>>"
  BUFFER=
  candidates=()
}
zle -N show
bindkey '^T' show
"""

TERMINALS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], BASH),
    "bash, colons in words": (
        ["bash", "--norc", "--noprofile", "-i"],
        f"{BASH}COMP_WORDBREAKS=${{COMP_WORDBREAKS//:}}",
    ),
    "zsh": (["zsh", "-f", "-i"], ZSH),
}


@dataclass(frozen=True)
class Completed:
    """What a shell found, and the line that it made of it where there was but one thing to find."""

    candidates: set[str]
    line: str


Complete = Callable[[str], Completed]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, files, and the program in a folder of the PATH."""
    place = tmp_path_factory.mktemp("shell")
    store = ModelStore(Home(place / "home"))
    for name in ("smoke", "tiny", "llama3.2:1b", "llama3.2:3b-q4_0", "org/mine:q4_k_m"):
        store.add(Manifest(parse_name(name), (StoredFile("weights", f"sha256:{'0' * 64}", 0),), source="./tiny.gguf"))
    for file in (
        "work/model.gguf",
        "work/my notes.txt",
        "work/folder/Other.GGUF",
        "work/folder/other.txt",
        "user/x.gguf",
        "home/tasks/tweet.toml",
    ):
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).touch()
    program = place / "bin/llmasos"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{PROJECT}" exec "{sys.executable}" -m llmasos_cli "$@"\n')
    program.chmod(0o755)
    functions = place / "functions"
    functions.mkdir()
    shutil.copy(SCRIPTS / "llmasos.zsh", functions / "_llmasos")
    return place


@pytest.fixture(scope="module", params=["bash", "bash, colons in words", "zsh", "fish"])
def complete(request: pytest.FixtureRequest, place: Path) -> Iterator[Complete]:
    """One TAB at the end of a line, in each shell."""
    if request.param == "fish":
        yield complete_in_fish(place)
        return
    arguments, setup = TERMINALS[request.param]
    with terminal_of(place, arguments, setup) as terminal:
        yield lambda line: complete_on(terminal, line)


def environment(place: Path) -> dict[str, str]:
    return {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "HOME": str(place / "user"),
        "LLMASOS_HOME": str(place / "home"),
        "SCRIPT": str(SCRIPTS / "llmasos.bash"),
        "FUNCTIONS": str(place / "functions"),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "INPUTRC": "/dev/null",
    }


@contextmanager
def terminal_of(place: Path, arguments: list[str], setup: str) -> Iterator[pexpect.spawn[str]]:
    """A shell on a terminal, set up."""
    script = place / f"setup.{arguments[0]}"
    script.write_text(f"{setup}\nprintf 'REA''DY\\n'\n")
    terminal = pexpect.spawn(
        arguments[0],
        arguments[1:],
        env=environment(place),
        cwd=place / "work",
        encoding="utf-8",
        dimensions=(500, 250),
        echo=False,
        timeout=30,
    )
    terminal.sendline(f"source {script}")
    terminal.expect("READY\r\n")
    yield terminal
    terminal.close(force=True)


def complete_on(terminal: pexpect.spawn[str], line: str) -> Completed:
    terminal.send(f"{line}\t\x14")
    terminal.expect("<<([^<>]*)>><<([^<>]*)>>")
    return Completed({name for name in terminal.match[1].split("\t") if name}, terminal.match[2])


def complete_in_fish(place: Path) -> Complete:
    program = f"source '{SCRIPTS / 'llmasos.fish'}'; complete -C $argv[1]"

    def complete(line: str) -> Completed:
        command = ["fish", "--no-config", "-c", program, line]
        done = subprocess.run(
            command, env=environment(place), cwd=place / "work", capture_output=True, text=True, check=True, timeout=30
        )
        assert done.stderr == ""
        candidates = {found.split("\t")[0] for found in done.stdout.splitlines()}
        before = line.rpartition(" ")[0]
        return Completed(candidates, f"{before} {next(iter(candidates))} " if len(candidates) == 1 else line)

    return complete


def test_a_command_is_completed(complete: Complete):
    assert complete("llmasos verif").line == "llmasos verify "


def test_commands_are_offered(complete: Complete):
    assert {"run", "pull", "list", "show", "cp", "rm", "verify"} <= complete("llmasos ").candidates


def test_a_command_that_shows_a_model_offers_stored_ones(complete: Complete):
    assert complete("llmasos show smo").line == "llmasos show smoke "


def test_a_command_that_pulls_offers_the_catalogue_too(complete: Complete):
    assert {"smoke", "smollm2", "smollm2:360m"} <= complete("llmasos run smo").candidates


@pytest.mark.parametrize("name", ["llama3.2:1b", "llama3.2:3b-q4_0", "org/mine:q4_k_m"])
def test_a_name_with_a_colon_is_completed(complete: Complete, name: str):
    assert complete(f"llmasos show {name[:-1]}").line == f"llmasos show {name} "


def test_capitals_find_small_letters(complete: Complete):
    assert complete("llmasos show TI").line == "llmasos show tiny "


def test_several_models_can_be_removed(complete: Complete):
    assert complete("llmasos rm llama3.2:1b smoke ti").line == "llmasos rm llama3.2:1b smoke tiny "


def test_the_value_of_an_option_is_no_argument(complete: Complete):
    assert complete("llmasos run --temperature 0 org").line == "llmasos run --temperature 0 org/mine:q4_k_m "


def test_a_prompt_and_a_new_name_complete_to_nothing(complete: Complete):
    assert complete("llmasos run smoke m").candidates == set()
    assert complete("llmasos cp smoke ti").candidates == set()
    assert complete("llmasos run --system m").candidates == set()


def test_options_of_the_command_are_offered(complete: Complete):
    assert complete("llmasos run smoke --no-m").candidates == {"--no-mmap", "--no-mlock"}
    assert complete("llmasos pull --o").line == "llmasos pull --offline "
    assert complete("llmasos run smoke --no-mm").line == "llmasos run smoke --no-mmap "


def test_choices_are_offered(complete: Complete):
    assert complete("llmasos run smoke --on-overflow s").candidates == {"shift", "summarize"}
    assert complete("llmasos run smoke --format js").line == "llmasos run smoke --format json "


def test_types_of_weights_are_offered_whatever_the_case(complete: Complete):
    assert complete("llmasos quantize smoke -t q4_k").candidates == {"Q4_K_S", "Q4_K_M"}
    assert complete("llmasos convert ./folder --type BF").line == "llmasos convert ./folder --type BF16 "
    assert complete("llmasos quantize smoke --output-type q6").line == "llmasos quantize smoke --output-type Q6_K "


def test_tasks_are_offered(complete: Complete):
    assert complete("llmasos run smoke --task t").candidates == {"translate", "tweet"}


def test_a_choice_after_an_equals_sign_is_completed(complete: Complete):
    assert complete("llmasos run smoke --kv-type=q8").line == "llmasos run smoke --kv-type=q8_0 "


def test_after_two_dashes_nothing_is_an_option(complete: Complete):
    assert complete("llmasos show -- smo").line == "llmasos show -- smoke "
    assert complete("llmasos show -- --js").candidates == set()


@pytest.mark.parametrize("option", ["-f", "--file", "-o", "--output", "--schema"])
def test_options_for_files_offer_files(complete: Complete, option: str):
    completed = complete(f"llmasos run smoke {option} my")
    assert completed.line.replace("\\ ", " ") == f"llmasos run smoke {option} my notes.txt "


def test_what_begins_as_a_path_offers_model_files_and_folders(complete: Complete):
    assert complete("llmasos run ./model").line == "llmasos run ./model.gguf "
    assert complete("llmasos run ./folder/").line.startswith("llmasos run ./folder/Other.GGUF")
    assert complete("llmasos run ./fol").line.rstrip() == "llmasos run ./folder/"
    assert complete("llmasos run ./my").candidates == set()
    assert complete("llmasos pull ~/").line == "llmasos pull ~/x.gguf "


def test_a_variable_may_stand_before_the_command(complete: Complete):
    assert complete("LLMASOS_OFFLINE=1 llmasos show smo").line == "LLMASOS_OFFLINE=1 llmasos show smoke "


def test_commands_below_a_command_are_offered_and_completed(complete: Complete):
    assert "perplexity" in complete("llmasos eval ").candidates
    assert complete("llmasos eval perp").line == "llmasos eval perplexity "
    assert complete("llmasos eval perplexity smo").candidates >= {"smoke", "smollm2"}
    assert complete("llmasos eval perplexity --context 128 smok").line == "llmasos eval perplexity --context 128 smoke "
    assert complete("llmasos eval perplexity --mode ro").line == "llmasos eval perplexity --mode rolling "
    assert complete("llmasos eval nonsense ").candidates == set()


def test_an_unknown_command_offers_nothing(complete: Complete):
    assert complete("llmasos nonsense ").candidates == set()
