"""`llmasos show`: what is known of one model."""

from __future__ import annotations

from json import dumps, loads
from pathlib import Path
from typing import Annotated

import typer

from llmasos.locate import PARTS
from llmasos.store.manifests import Manifest
from llmasos.store.store import ModelStore
from llmasos.units import format_bytes, format_count
from llmasos_cli import output
from llmasos_cli.options import JsonOption

NameArgument = Annotated[str, typer.Argument(help="A stored model.", metavar="MODEL")]


def show_command(
    model: NameArgument,
    json: JsonOption = False,
    template: Annotated[bool, typer.Option("--template", help="Print the chat template only.")] = False,
    modelfile: Annotated[bool, typer.Option("--modelfile", help="Print it as a recipe for `create`.")] = False,
    license_text: Annotated[bool, typer.Option("--license", help="Print the licence only.")] = False,
) -> None:
    """Shows one installed model: where its file is, what it is, where it came from.

    llmasos show smollm2
    llmasos show smollm2 --json
    llmasos show smollm2 --template
    llmasos show smollm2 --modelfile > Modelfile
    """
    store = ModelStore()
    manifest = store.get(model)
    if template:
        output.write_text(store.text(manifest, "template") or _template_inside(manifest, store))
    elif modelfile:
        output.write_text(_modelfile(manifest, store))
    elif license_text:
        output.write_text(store.text(manifest, "license") or manifest.license or "unknown")
    elif json:
        output.write_json(describe(manifest, store))
    else:
        for key, value in _readable(manifest, store).items():
            output.write_line(f"{key:<16}{output.visible_line(value)}")


def describe(manifest: Manifest, store: ModelStore) -> dict[str, object]:
    """The documented JSON of `show`."""
    paths = _paths(manifest, store)
    return {
        "name": str(manifest.name),
        "kind": manifest.kind,
        "path": str(paths[0]) if paths else None,
        "paths": [str(path) for path in paths],
        "digest": manifest.digest,
        "size": manifest.size,
        "purpose": manifest.facts.purpose,
        "architecture": manifest.facts.architecture,
        "quantization": manifest.facts.quantization,
        "parameters": manifest.facts.parameters,
        "context_length": manifest.facts.context_length,
        "has_template": manifest.facts.has_template,
        "source": manifest.source,
        "license": manifest.license,
        "lineage": list(manifest.lineage),
        "created_at": manifest.created_at,
        "system": store.text(manifest, "system"),
        "parameters_set": _parameters_set(manifest, store),
        "files": [
            {"role": file.role, "digest": file.digest, "size": file.size, "name": file.file_name}
            for file in manifest.files
        ],
    }


def _paths(manifest: Manifest, store: ModelStore) -> list[Path]:
    """Of the weights, or of what an adapter or a control vector has instead."""
    return store.paths(manifest, "weights" if manifest.kind == "model" else manifest.kind)


def _parameters_set(manifest: Manifest, store: ModelStore) -> dict[str, object] | None:
    """The parameters that the model brings, as they are stored; None if there are none that JSON can hold."""
    try:
        found = loads(store.text(manifest, "parameters") or "null")
        dumps(found, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _readable(manifest: Manifest, store: ModelStore) -> dict[str, str]:
    facts, paths = manifest.facts, _paths(manifest, store)
    part = PARTS.get(manifest.kind)
    use = {"kind": f"{part.word}, for `llmasos run MODEL {part.flag} {manifest.name}`"} if part else {}
    return {
        "name": str(manifest.name),
        **use,
        "purpose": facts.purpose,
        "architecture": facts.architecture,
        "parameters": format_count(facts.parameters) if facts.parameters else "unknown",
        "quantization": facts.quantization,
        "context length": str(facts.context_length or "unknown"),
        "chat template": "yes" if facts.has_template else "no",
        "size": format_bytes(manifest.size),
        "license": manifest.license or "unknown",
        "source": manifest.source,
        "digest": manifest.digest,
        "path": str(paths[0]) if paths else "-",
    }


def _modelfile(manifest: Manifest, store: ModelStore) -> str:
    from llmasos.create import recipe_of
    from llmasos.modelfile import modelfile_text

    return modelfile_text(recipe_of(manifest, store))


def _template_inside(manifest: Manifest, store: ModelStore) -> str:
    """The template in the GGUF's own header."""
    from llmasos.formats.gguf import read_header

    paths = store.paths(manifest)
    return str(read_header(paths[0]).metadata.get("tokenizer.chat_template", "")) if paths else ""
