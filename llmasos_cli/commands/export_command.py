"""`llmasos export`: make a Hugging Face checkpoint of a GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmasos_cli import output
from llmasos_cli.options import JsonOption, ModelArgument, OfflineOption

FolderArgument = Annotated[
    Path, typer.Argument(help="The checkpoint's folder, which must be new or empty.", metavar="DIR")
]
TypeOption = Annotated[str, typer.Option("--type", "-t", help="Of the weights.", metavar="bf16|f32|f16")]


def export_command(
    model: ModelArgument,
    folder: FolderArgument,
    type_name: TypeOption = "bf16",
    json: JsonOption = False,
    offline: OfflineOption = False,
) -> None:
    """Makes a Hugging Face checkpoint of a GGUF, its weights dequantized: for transformers, PEFT and other trainers.

    llmasos export smollm2 ./smollm2-checkpoint
    llmasos export ./model.gguf ./checkpoint -t f32
    """
    from llmasos.conversion.export import find_type, prepare_export
    from llmasos.conversion.exporting.folder import require_empty
    from llmasos.locate import locate
    from llmasos.settings import is_offline

    find_type(type_name)
    require_empty(folder)
    progress = output.make_progress()
    located = locate(model, progress=progress, offline=offline or is_offline())
    for adapter in located.adapters:
        progress.note(f"{adapter.name} is left out: only the model itself is exported")
    prepared = prepare_export(located.paths, type_name)
    paths = prepared.write(folder, progress=progress)
    if json:
        output.write_json(
            {
                "path": str(folder.resolve()),
                "architecture": prepared.architecture,
                "type": prepared.type_name,
                "size": sum(path.stat().st_size for path in paths),
                "files": [path.relative_to(folder).as_posix() for path in paths],
            }
        )
    else:
        output.note(f"{folder} is ready: {prepared.architecture}, {prepared.type_name}")
