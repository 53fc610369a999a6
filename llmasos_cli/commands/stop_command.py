"""`llmasos stop`: takes a model out of a server's memory."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmasos.client.options import ClientOptions
from llmasos_cli import output
from llmasos_cli.options import takes
from llmasos_cli.server_place import connect, named_server


@takes(ClientOptions, "remote", "Server")
def stop_command(
    model: Annotated[str, typer.Argument(help="The model's name at the server.", metavar="MODEL")],
    *,
    remote: dict[str, Any],
) -> None:
    """Takes a model out of a server's memory, when what it answers is finished; without --server, of this machine's.

    llmasos stop smollm2
    """
    from llmasos.store.references import parse_name

    name = parse_name(model).with_tag
    with connect(named_server(remote.get("server"))) as connection:
        was_loaded = any(each["name"] == name for each in connection.get("/api/ps", "models"))
        connection.post("/api/generate", {"model": model, "keep_alive": 0})
    output.note(f"{model} is no longer in memory" if was_loaded else f"{model} was not in memory")
