"""Where `llmasos` starts. Answers what needs no command line at all before Typer is imported."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

INTERRUPTED = 130


def main() -> None:
    """The console script."""
    arguments = sys.argv[1:]
    _open_closed_streams()
    if arguments == ["--version"]:
        from llmasos import __version__

        sys.stdout.write(f"llmasos {__version__}\n")
        return
    if arguments[:1] == ["--complete"]:
        from llmasos_cli.completion import complete

        complete(arguments[1:])
        return
    _end_on_signals()
    try:
        from llmasos_cli.app import run_app

        code = run_app(arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _open_closed_streams() -> None:
    """A cron line or a service may start us with a standard stream closed: then it is empty, or goes nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _end_on_signals() -> None:
    """Ctrl-C and SIGTERM unwind, so that nothing stays half-written; a second Ctrl-C kills."""

    def stop(number: int, _: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if number == signal.SIGTERM:
            sys.exit(128 + number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # whoever started us with a signal ignored meant it
            signal.signal(number, stop)


if __name__ == "__main__":
    main()
