"""`llmasos import`: take in models that are on this disk already."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmasos.errors import LlmasosError, ModelNotFoundError, UsageError
from llmasos_cli import output
from llmasos_cli.commands.list_command import facts_of
from llmasos_cli.commands.pull_command import AsOption
from llmasos_cli.options import JsonOption

WhatArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="A .gguf file, a checkpoint's folder, or names of that tool's models.", metavar="[PATH|NAME...]"
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", help="Take what this tool holds.", metavar="ollama|huggingface|lmstudio"),
]
Imported = tuple[list[dict[str, object]], LlmasosError | None]  # what was stored, and what kept the rest out
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be taken in.")]


def import_command(
    what: WhatArgument = None,
    from_tool: FromOption = None,
    as_name: AsOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Takes in models from this disk. Files are linked where the file system allows, never moved or changed.

    llmasos import ./model.gguf --as mine
    llmasos import --from ollama --dry-run
    llmasos import --from lmstudio
    """
    names = what or []
    if dry_run and not from_tool:
        raise UsageError("--dry-run goes with --from", hint="without it, nothing but the named files is taken in")
    models, failure = _import_from(from_tool, names, as_name, dry_run) if from_tool else _import_paths(names, as_name)
    if json:
        output.write_json(models)
    if failure:
        raise failure


def _import_paths(paths: list[str], as_name: str | None) -> Imported:
    """Every path in turn, up to the first that fails."""
    from llmasos.pull import pull
    from llmasos.store.references import looks_like_path

    if not paths or (as_name and len(paths) > 1):
        raise UsageError(
            "say what to import", hint="llmasos import ./model.gguf --as NAME, or llmasos import --from ollama"
        )
    stored: list[dict[str, object]] = []
    for path in paths:
        place = path if looks_like_path(path) else f"./{path}"
        try:
            manifest = pull(place, name=as_name, progress=output.make_progress())
        except LlmasosError as error:
            return stored, error
        output.note(f"{manifest.name} is ready")
        stored.append(facts_of(manifest))
    return stored, None


def _import_from(tool: str, names: list[str], as_name: str | None, dry_run: bool) -> Imported:
    """Everything that the tool holds, or the named ones; one that fails does not keep the others out."""
    from llmasos.sources.installed import find_installed
    from llmasos.units import format_bytes

    found, skipped = find_installed(tool)
    chosen = _choose(found, names, tool)
    if as_name and len(chosen) != 1:
        raise UsageError(
            "--as gives a name to one model", hint=f"name the one: llmasos import --from {tool} NAME --as NEW"
        )
    for each in skipped:
        output.note(f"skipped {each.path}: {each.reason}")
    if dry_run:
        for model in chosen:
            output.note(f"would import {model.name} ({format_bytes(model.size)}) from {model.source}")
        return [{"name": model.name, "size": model.size, "source": model.source} for model in chosen], None
    return _store(chosen, as_name, tool)


def _choose(found: list[Any], names: list[str], tool: str) -> list[Any]:
    from llmasos.store.catalogue import near_names

    by_name = {model.name: model for model in found}
    if not found:
        raise ModelNotFoundError(tool, message=f"{tool} holds no models on this disk", hint="look where it keeps them")
    for name in names:
        if name not in by_name:
            message = f"{tool} holds no model `{name}`"
            raise ModelNotFoundError(name, near=near_names(name, by_name), message=message)
    return [by_name[name] for name in names] or found


def _store(chosen: list[Any], as_name: str | None, tool: str) -> Imported:
    from llmasos.pull import import_listing
    from llmasos.sources.installed import InstalledSource
    from llmasos.sources.source import Listing

    stored, failures = [], 0
    for model in chosen:
        try:
            listing = Listing(model.source, model.files, model.license)
            name = as_name or model.name
            manifest = import_listing(InstalledSource(model), listing, name, progress=output.make_progress())
        except LlmasosError as error:
            output.note(f"{model.name}: {error.message}")
            failures += 1
            continue
        output.note(f"{manifest.name} is ready")
        stored.append(facts_of(manifest))
    if failures:
        return stored, LlmasosError(f"{failures} of {len(chosen)} models of {tool} could not be imported")
    return stored, None
