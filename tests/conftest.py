"""What every test has: an empty home of its own, the command line as a function, and tiny models."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from doubles.tiny import TinyModel, write_tiny

PROJECT = Path(__file__).parents[1]
hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("untimed")


@dataclass(frozen=True)
class Result:
    """What a command line left behind."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home, and no setting of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("LLMASOS_", "HF_", "HUGGING_FACE_", "OLLAMA_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("LLMASOS_HOME", str(folder))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("LLMASOS_OLLAMA_REGISTRY", "http://127.0.0.1:9")
    yield folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file that runs; don't change it."""
    return write_tiny(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(scope="session")
def make_tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[TinyModel], Path]:
    """Other tiny models."""
    return lambda model: write_tiny(tmp_path_factory.mktemp("models") / "other.gguf", model)


@pytest.fixture
def llmasos() -> Callable[..., Result]:
    """The command line in a process of its own: `llmasos("run", "tiny", stdin="Hello")`."""

    def run(*arguments: str | Path, stdin: str | bytes = "", timeout: float = 100) -> Result:
        given = stdin if isinstance(stdin, bytes) else stdin.encode()
        done = subprocess.run(
            command(*arguments), input=given, capture_output=True, timeout=timeout, cwd=PROJECT, check=False
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def command(*arguments: str | Path) -> list[str]:
    """The command line as a process is started with it."""
    return [sys.executable, "-m", "llmasos_cli", *map(str, arguments)]
