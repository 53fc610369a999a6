"""`llmasos list`: what is installed."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from llmasos.store.manifests import Manifest
from llmasos.units import format_age, format_bytes, format_count
from llmasos_cli import output
from llmasos_cli.options import JsonOption


def list_command(
    prefix: Annotated[str, typer.Argument(help="Only names that begin so.", metavar="[PREFIX]")] = "",
    json: JsonOption = False,
) -> None:
    """Lists the installed models.

    llmasos list
    llmasos list --json
    """
    from llmasos.store.store import ModelStore

    store = ModelStore()
    models, broken = store.models(), store.broken()
    chosen = [model for model in models if str(model.name).startswith(prefix.lower())]
    if json:
        output.write_json([facts_of(model) for model in chosen])
    elif chosen:
        output.write_table([_row(model) for model in chosen])
    elif models:
        output.note(f"no installed model's name begins with `{prefix}`")
    elif not broken:
        output.note("no models are installed yet; begin with `llmasos pull smollm2`")
    if broken:
        what = "1 damaged model is" if len(broken) == 1 else f"{len(broken)} damaged models are"
        output.note(f"{what} not listed; `llmasos verify` names them")


def facts_of(model: Manifest) -> dict[str, object]:
    """The documented JSON of a model in a list."""
    return {
        "name": str(model.name),
        "kind": model.kind,
        "digest": model.digest,
        "size": model.size,
        "architecture": model.facts.architecture,
        "quantization": model.facts.quantization,
        "parameters": model.facts.parameters,
        "context_length": model.facts.context_length,
        "source": model.source,
        "license": model.license,
        "created_at": model.created_at,
    }


def _row(model: Manifest) -> dict[str, str]:
    return {
        "name": str(model.name),
        "parameters": format_count(model.facts.parameters) if model.facts.parameters else "-",
        "type": model.facts.quantization if model.kind == "model" else f"{model.facts.quantization} {model.kind}",
        "size": format_bytes(model.size),
        "added": format_age(time.time() - model.created_at),
    }
