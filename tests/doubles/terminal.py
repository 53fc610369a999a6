"""A terminal with somebody at it: tmux, into which keys are sent and whose screen is read."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from conftest import PROJECT

NOT_INHERITED = ("TMUX", "TMUX_PANE", "NO_COLOR", "COLUMNS", "LINES", "DISPLAY", "WAYLAND_DISPLAY")
SHORT_WAIT = 20.0  # seconds
STILL = 0.3  # seconds without a change after which none is expected


class Terminal:
    """Runs a command in a window of that size. `with` ends it. Without tmux it fails: its tests are never left out."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tm"))  # a socket's path has to be short
        self._code = self._folder / "code"  # tmux itself may miss the end of a command
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        settings = {**inherited, "PYTHONPATH": str(PROJECT), "TERM": "screen-256color", **(environment or {})}
        line = shlex.join(["env", "-i", *(f"{name}={value}" for name, value in settings.items()), *command])
        configuration = self._folder / "tmux.conf"
        configuration.write_text("set -g history-limit 5000\nset -s set-clipboard on\n")
        size = ("-x", str(columns), "-y", str(rows))
        self._tmux(
            "-f",
            str(configuration),
            "new-session",
            "-d",
            *size,
            "-c",
            str(PROJECT),
            f"{line}; echo $? > {self._code}; exec cat",
        )

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names, such as Enter, C-c, Up."""
        self._tmux("send-keys", *keys)

    def enter(self, text: str) -> None:
        self.type(text)
        self.press("Enter")

    def paste(self, text: str) -> None:
        """As a terminal pastes: in brackets, if the program asked for them."""
        path = self._folder / "pasted"
        path.write_text(text, encoding="utf-8")
        self._tmux("load-buffer", str(path))
        self._tmux("paste-buffer", "-p")

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self) -> str:
        """What can be seen, without empty lines at the end."""
        return self._tmux("capture-pane", "-p").rstrip("\n") + "\n"

    def scrolled(self) -> str:
        """The screen and all that has scrolled away."""
        return self._tmux("capture-pane", "-p", "-S", "-").rstrip("\n") + "\n"

    def clipboard(self) -> str:
        """What the program has copied by the terminal's own means."""
        return self._tmux("show-buffer")

    def wait_for(self, what: str | Callable[[str], bool], seconds: float = SHORT_WAIT) -> str:
        """The screen once it shows a text, or is as it shall be; fails with the screen if that takes too long."""
        end = time.monotonic() + seconds
        while True:
            screen = self.screen()
            if what in screen if isinstance(what, str) else what(screen):
                return screen
            if time.monotonic() > end:
                raise AssertionError(f"the screen never showed {what!r}:\n{screen}")
            time.sleep(0.03)

    def settled(self, what: str | Callable[[str], bool], seconds: float = SHORT_WAIT) -> str:
        """The screen once it shows that and does not change any more."""
        screen = self.wait_for(what, seconds)
        while True:
            time.sleep(STILL)
            before, screen = screen, self.screen()
            if screen == before:
                return screen

    def wait_for_end(self) -> int:
        """The exit code of the command, once it has ended; 128 and the signal for one that was killed."""
        end = time.monotonic() + SHORT_WAIT
        while not (self._code.exists() and (code := self._code.read_text().strip())):
            if time.monotonic() > end:
                raise AssertionError(f"it goes on:\n{self.screen()}")
            time.sleep(0.03)
        return int(code)

    def kill(self) -> None:
        """`kill -9` for the command."""
        self._process().kill()
        self.wait_for_end()

    def end(self) -> None:
        """SIGTERM for the command."""
        self._process().terminate()

    def _process(self) -> psutil.Process:
        shell = psutil.Process(int(self._tmux("display-message", "-p", "#{pane_pid}")))
        [child] = shell.children()
        return child

    def close(self) -> None:
        self._tmux("kill-server", check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tmux(self, *arguments: str, check: bool = True) -> str:
        command = ["tmux", "-u", "-S", str(self._folder / "socket"), *arguments]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if check and done.returncode:
            raise AssertionError(f"tmux {arguments[0]}: {done.stderr}")
        return done.stdout
