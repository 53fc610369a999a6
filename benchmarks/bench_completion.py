"""How long a TAB takes in each shell that is here, from the key to the completed line; 150 ms is what we allow.

    python benchmarks/bench_completion.py [--rounds 15]

The peer is a Python that does nothing: what any program in Python costs. A home of its own holds a hundred models.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pexpect

from machine import describe_machine, keep, median, print_table

PROJECT = Path(__file__).parents[1]
ALLOWED_SECONDS = 0.150
MODELS = 100
CASES = {
    "a command": ("llmasos verif", "y"),
    "an option": ("llmasos run x --temper", "ature"),
    "a stored model": ("llmasos show only-th", "is-one"),
    "a catalogue name": ("llmasos run tinyl", "lama"),
    "a type of weights": ("llmasos quantize x -t Q6", "_K"),
    "a task": ("llmasos run x --task summ", "arize"),
}
# Ctrl-T prints the line as <<LINE>> and empties it.
SHELLS = {
    "bash": (
        ["--norc", "--noprofile", "-i"],
        f"""PS1=
bind 'set bell-style none'
bind 'set enable-bracketed-paste off'
source '{PROJECT}/completions/llmasos.bash'
show() {{ printf '<<%s>>\\n' "$READLINE_LINE"; READLINE_LINE=; }}
bind -x '"\\C-t": show'
""",
    ),
    "zsh": (
        ["-f", "-i"],
        f"""PROMPT=
unsetopt prompt_cr prompt_sp zle_bracketed_paste beep
autoload -U compinit
compinit -u -D
source '{PROJECT}/completions/llmasos.zsh'
show() {{ print -r -- "<<$BUFFER>>"; BUFFER=; }}
zle -N show
bindkey '^T' show
""",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        environment = prepare(Path(name))
        figures["python -c pass (peer)"] = timed(rounds, lambda: run([sys.executable, "-c", "pass"], environment))
        for kind in ("models", "references", "tasks"):
            command = ["llmasos", "--complete", kind, "s"]
            figures[f"llmasos --complete {kind}"] = timed(rounds, lambda command=command: run(command, environment))
        for shell in SHELLS:
            if shutil.which(shell):
                figures |= tabs(shell, environment, rounds)
        if shutil.which("fish"):
            figures |= fish(environment, rounds)
    print(describe_machine())
    print_table([row(name, seconds) for name, seconds in figures.items()])
    keep("completion", figures)


def prepare(folder: Path) -> dict[str, str]:
    """A program in a folder of the PATH, and a home with models."""
    program = folder / "bin/llmasos"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{PROJECT}" exec "{sys.executable}" -m llmasos_cli "$@"\n')
    program.chmod(0o755)
    for name in ["only-this-one", *(f"model-{number}" for number in range(MODELS))]:
        manifest = folder / "home/manifests/_" / name / "latest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text(f'{{"name": "{name}"}}')
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LLMASOS_HOME": str(folder / "home"),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        "INPUTRC": "/dev/null",
    }


def timed(rounds: int, work: Callable[[], None]) -> list[float]:
    work()  # the first one reads files that are in memory afterwards
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return times


def run(command: list[str], environment: dict[str, str]) -> None:
    program = shutil.which(command[0], path=environment["PATH"]) or command[0]
    subprocess.run([program, *command[1:]], env=environment, check=True, stdout=subprocess.DEVNULL)


def tabs(shell: str, environment: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """From a TAB until the completed line is there, on a terminal."""
    arguments, setup = SHELLS[shell]
    script = Path(environment["HOME"]) / f"setup.{shell}"
    script.write_text(f"{setup}printf 'REA''DY\\n'\n")
    terminal = pexpect.spawn(
        shell, arguments, env=environment, encoding="utf-8", echo=False, timeout=20, dimensions=(500, 250)
    )
    terminal.sendline(f"source {script}")
    terminal.expect("READY\r\n")
    terminal.delaybeforesend = None

    def press(typed: str, completed: str) -> None:
        terminal.send(f"{typed}\t\x14")
        terminal.expect("<<([^<>]*)>>")
        assert terminal.match[1].rstrip(" =") == completed, (shell, terminal.match[1])

    figures = {
        f"{shell}: {name}": timed(rounds, lambda typed=typed, rest=rest: press(typed, typed + rest))
        for name, (typed, rest) in CASES.items()
    }
    terminal.close(force=True)
    return figures


def fish(environment: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """What fish finds, asked as it asks itself; its script is read before."""
    figures = {}
    for name, (typed, _) in CASES.items():
        program = (
            f"source {PROJECT}/completions/llmasos.fish; complete -C '{typed}' >/dev/null\n"
            f"for i in (seq {rounds})\n"
            f"    set -l begun (date +%s%N); complete -C '{typed}' >/dev/null; set -l ended (date +%s%N)\n"
            "    math $ended - $begun\nend"
        )
        done = subprocess.run(
            ["fish", "--no-config", "-c", program], env=environment, check=True, capture_output=True, text=True
        )
        figures[f"fish: {name}"] = [int(line) / 1e9 for line in done.stdout.split()]
    return figures


def row(name: str, seconds: list[float]) -> dict[str, str]:
    ours = not name.endswith("(peer)")
    reached = "" if not ours else "yes" if median(seconds) <= ALLOWED_SECONDS else "NO"
    return {"what": name, "median, ms": f"{median(seconds) * 1e3:.0f}", "most, ms": f"{max(seconds) * 1e3:.0f}",
            "within 150 ms": reached}  # fmt: skip


if __name__ == "__main__":
    main()
