"""`llmasos ps`: the models that a server has in memory."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from llmasos.client.options import ClientOptions
from llmasos.units import format_bytes, format_seconds
from llmasos_cli import output
from llmasos_cli.options import JsonOption, takes
from llmasos_cli.server_place import connect, named_server

FOR_EVER_SECONDS = 10 * 365 * 86_400  # a model that stays is told to go in a hundred years


@takes(ClientOptions, "remote", "Server")
def ps_command(json: JsonOption = False, *, remote: dict[str, Any]) -> None:
    """Lists the models that a server has in memory; without --server, the one of this machine.

    llmasos ps
    llmasos ps --server http://192.168.1.5:11435 --json
    """
    with connect(named_server(remote.get("server"))) as connection:
        models = connection.get("/api/ps", "models")
    if json:
        output.write_json([_facts(model) for model in models])
    elif models:
        output.write_table([_row(model) for model in models])
    else:
        output.note("no model is in memory")


def _facts(model: dict[str, Any]) -> dict[str, Any]:
    """The documented JSON of a model in memory."""
    return {
        "name": _short(model["name"]),
        "digest": f"sha256:{model['digest']}",
        "size": model["size"],
        "size_on_gpu": model["size_vram"],
        "context_length": model["context_length"],
        "expires_at": None if _seconds_left(model) > FOR_EVER_SECONDS else model["expires_at"],
    }


def _row(model: dict[str, Any]) -> dict[str, str]:
    left = _seconds_left(model)
    return {
        "name": _short(model["name"]),
        "size": format_bytes(model["size"]),
        "processor": _processor(model["size"], model["size_vram"]),
        "context": f"{model['context_length']:,}",
        "until": "for ever" if left > FOR_EVER_SECONDS else f"{format_seconds(max(0.0, left))} from now",
    }


def _short(name: str) -> str:
    return name.removesuffix(":latest")


def _processor(size: int, on_gpu: int) -> str:
    """Where the model is, in Ollama's words."""
    share = round(100 * on_gpu / size) if size else 0
    return {0: "100% CPU", 100: "100% GPU"}.get(share, f"{100 - share}%/{share}% CPU/GPU")


def _seconds_left(model: dict[str, Any]) -> float:
    return (datetime.fromisoformat(model["expires_at"]) - datetime.now(timezone.utc)).total_seconds()
