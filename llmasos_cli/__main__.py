"""Where `llmasos` starts. Answers what needs no command line at all before Typer is imported."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """The console script."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        from llmasos import __version__

        sys.stdout.write(f"llmasos {__version__}\n")
        return
    if arguments[:1] == ["--complete"]:
        from llmasos_cli.completion import complete

        complete(arguments[1:])
        return
    _run(arguments)


def _run(arguments: list[str]) -> None:
    from llmasos_cli.app import run_app

    _end_on_signals()
    sys.exit(run_app(arguments))


def _end_on_signals() -> None:
    """Ctrl-C and SIGTERM unwind, so that nothing stays half-written; a second Ctrl-C kills."""

    def stop(number: int, _: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if number == signal.SIGTERM:
            sys.exit(128 + number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


if __name__ == "__main__":
    main()
