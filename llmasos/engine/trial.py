"""Trying a model file in a child process before this one opens it.

llmasos' own check of the header can't foresee everything: llama.cpp ends the process on an assertion that it did not
expect to fail. So a file that nobody vouches for is loaded once, and one token is decoded, where an abort hurts nobody.
What this says of the file is kept, by device, inode, size, time of change and the engine's version.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from llmasos import children
from llmasos.engine.build import VERSION
from llmasos.errors import CorruptModelError, LlmasosError
from llmasos.files import write_whole

PASSED = "passed"
LONGEST_TRIAL_SECONDS = 600
TRIAL_CONTEXT_LENGTH = 256
REFUSED = 3  # exit code of a child that found the file wanting
CRASHES = {-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL}


def is_tried(paths: Sequence[Path], verdicts: Path) -> bool:
    """True if a trial would only read a verdict from the folder `verdicts`."""
    return _place(paths, verdicts).exists()


def require_trial(
    paths: Sequence[Path], verdicts: Path, *, adapter: Path | None = None, called: str | None = None
) -> None:
    """Returns if nothing speaks against loading the model, or an adapter with it, tried now or before.

    Raises CorruptModelError otherwise, for what is `called` so, or by the name of its file.
    """
    files = [*paths, *([adapter] if adapter else [])]
    place = _place(files, verdicts)
    verdict = place.read_text(encoding="utf-8") if place.exists() else None
    if verdict is None and (verdict := _try_in_child(paths, adapter)) is not None:
        with contextlib.suppress(OSError, LlmasosError):  # a home that can't be written costs another trial, no more
            write_whole(place, verdict)
    if verdict not in (None, PASSED):
        raise CorruptModelError(
            f"{called or (adapter or paths[0]).name} can't be used: {verdict}",
            hint="fetch it again, or choose another file",
        )


def _place(paths: Sequence[Path], verdicts: Path) -> Path:
    states = [path.stat() for path in paths]
    identity = [(state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns) for state in states]
    return verdicts / hashlib.sha256(f"{VERSION} {identity}".encode()).hexdigest()[:32]


def _try_in_child(paths: Sequence[Path], adapter: Path | None) -> str | None:
    """`passed`, or what is wrong with the file; None if the child ended in a way that says nothing of it."""
    try:
        child = subprocess.run(
            [
                *children.command("llmasos.engine.trial"),
                *([f"--adapter={adapter}"] if adapter else []),
                "--",
                *map(str, paths),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LONGEST_TRIAL_SECONDS,
            env=children.environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    if child.returncode == 0:
        return PASSED
    if child.returncode == REFUSED:
        return child.stdout.decode("utf-8", "replace").strip()
    return f"the engine crashed on it{_last_words(child.stderr)}" if child.returncode in CRASHES else None


def _last_words(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").splitlines()
    said = next((line for line in reversed(lines) if "GGML_ASSERT" in line), "")
    return (
        f": {said.rpartition('/')[2].strip()[-200:]}" if said else ""
    )  # without the path on whoever's machine built it


def main(arguments: Sequence[str]) -> int:
    """The child: loads the model without any offload, the adapter if there is one, and decodes one token."""
    import argparse

    from llmasos.engine.adapter import load_adapter
    from llmasos.engine.context import Context, ContextOptions, Reading
    from llmasos.engine.model import ModelOptions, load_model

    parser = argparse.ArgumentParser()
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("paths", type=Path, nargs="+")
    given = parser.parse_args(arguments)
    try:
        model = load_model(given.paths, ModelOptions())
        adapters = [load_adapter(model, given.adapter, given.adapter.name)] if given.adapter else []
        if model.vocabulary_size > 0 and not model.needs_encoder:
            Context(model, ContextOptions(TRIAL_CONTEXT_LENGTH, threads=1), adapters).decode([Reading(0, [0], 0)])
    except CorruptModelError as error:
        sys.stdout.write(error.message)
        return REFUSED
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # destructors of a half-sound model are not worth a crash
