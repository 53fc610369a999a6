"""`llmasos serve`: the installed models for programs that speak OpenAI's interface, or Ollama's."""

from __future__ import annotations

from typing import Any

from llmasos.server.options import ServeOptions
from llmasos_cli import output
from llmasos_cli.options import takes


@takes(ServeOptions, "serving", "Server")
def serve_command(*, serving: dict[str, Any]) -> None:
    """Serves the installed models over HTTP, several users at once, until Ctrl-C, in OpenAI's and Ollama's ways.

    llmasos serve
    llmasos serve --host 0.0.0.0 --api-key-file keys.txt
    llmasos serve --socket /run/user/1000/llmasos.sock --keep-alive 1h
    """
    from llmasos.server.listen import serve
    from llmasos.settings import configured, layered

    options = layered(ServeOptions, *configured(ServeOptions), serving)

    def ready(address: str) -> None:
        output.note(f"llmasos serves at {address}; OpenAI's interface begins at {address}/v1")

    serve(options, ready)
