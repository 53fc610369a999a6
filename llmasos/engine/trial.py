"""Trying a model file in a child process before this one opens it.

llmasos' own check of the header can't foresee everything: llama.cpp ends the process on an assertion that it did not
expect to fail. So a file that nobody vouches for is loaded once, and one token is decoded, where an abort hurts nobody.
The verdict is kept by device, inode, size and time of change.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from llmasos.errors import CorruptModelError
from llmasos.store.blobs import write_whole

PASSED = "passed"
LONGEST_TRIAL_SECONDS = 600
TRIAL_CONTEXT_LENGTH = 256
REFUSED = 3  # exit code of a child that met a clear error


def require_trial(paths: Sequence[Path], verdicts: Path) -> None:
    """Returns if the model loads, tried now or before. Raises CorruptModelError if it does not.

    `verdicts` is the folder where verdicts are kept.
    """
    kept = verdicts / _identity(paths)
    verdict = kept.read_text(encoding="utf-8") if kept.exists() else None
    if verdict is None:
        verdict = _try_in_child(paths)
        if verdict is not None:
            write_whole(kept, verdict)
    if verdict not in (None, PASSED):
        raise CorruptModelError(
            f"{paths[0].name} can't be used: {verdict}", hint="fetch it again, or choose another file"
        )


def _identity(paths: Sequence[Path]) -> str:
    states = [path.stat() for path in paths]
    return "-".join(f"{state.st_dev:x}.{state.st_ino:x}.{state.st_size:x}.{state.st_mtime_ns:x}" for state in states)[
        :200
    ]


def _try_in_child(paths: Sequence[Path]) -> str | None:
    """`passed`, or why not; None if the trial itself could not be carried through."""
    command = [sys.executable, "-P", "-m", "llmasos.engine.trial", *map(str, paths)]
    if sys.version_info < (3, 11):
        command.remove("-P")
    try:
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LONGEST_TRIAL_SECONDS,
            env=_child_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not load within {LONGEST_TRIAL_SECONDS} seconds"
    if child.returncode == 0:
        return PASSED
    if (
        child.returncode == -signal.SIGKILL
    ):  # the kernel ran out of memory, or somebody killed it: says nothing of the file
        return None
    if child.returncode == REFUSED:
        return child.stdout.decode("utf-8", "replace").strip()
    return f"the engine crashed on it{_last_words(child.stderr)}"


def _child_environment() -> dict[str, str]:
    """The child finds the same llmasos, however this process found it."""
    folders = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders)}


def _last_words(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").splitlines()
    said = next((line for line in reversed(lines) if "GGML_ASSERT" in line), "")
    return (
        f": {said.rpartition('/')[2].strip()[-200:]}" if said else ""
    )  # without the path on whoever's machine built it


def main(paths: Sequence[Path]) -> int:
    """The child: loads the model without any offload and decodes one token."""
    from llmasos.engine.context import Context, ContextOptions
    from llmasos.engine.model import ModelOptions, load_model
    from llmasos.errors import LlmasosError

    try:
        model = load_model(paths, ModelOptions())
        if model.vocabulary_size > 0 and model.generates_text:
            Context(model, ContextOptions(TRIAL_CONTEXT_LENGTH, threads=1)).decode([0], 0)
    except LlmasosError as error:
        sys.stdout.write(error.message)
        return REFUSED
    return 0


if __name__ == "__main__":
    code = main([Path(argument) for argument in sys.argv[1:]])
    sys.stdout.flush()
    os._exit(code)  # destructors of a half-sound model are not worth a crash
