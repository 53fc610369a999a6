"""`llmasos verify`: read installed models again and compare their digests."""

from __future__ import annotations

from typing import Annotated

import typer

from llmasos.errors import CorruptModelError
from llmasos_cli import output
from llmasos_cli.options import JsonOption


def verify_command(
    models: Annotated[
        list[str] | None, typer.Argument(help="Stored models; all if none is named.", metavar="[MODEL...]")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Checks that the installed files are what was pulled.

    llmasos verify
    llmasos verify smollm2
    """
    from llmasos.store.store import ModelStore

    store = ModelStore()
    named = {store.held(model) for model in models or []}
    places = {store.manifest_path(name) for name in named}
    broken = [(path, problem) for path, problem in store.broken() if not named or path in places]
    chosen = [manifest for manifest in store.models() if not named or manifest.name in named]
    progress = output.make_progress()
    damages = []
    for manifest in chosen:
        with progress.work(f"verifying {manifest.name}", manifest.size):
            damages += store.verify(manifest, progress.update)
    if json:
        output.write_json(
            {
                "models": [str(manifest.name) for manifest in chosen],
                "damaged": [
                    {
                        "name": str(each.name),
                        "file": each.file.file_name,
                        "digest": each.file.digest,
                        "problem": each.problem,
                    }
                    for each in damages
                ],
                "broken_manifests": [{"path": str(path), "problem": problem} for path, problem in broken],
            }
        )
    for each in damages:
        output.note(f"{each.name}: {each.file.file_name or each.file.digest} is {each.problem}")
    for path, problem in broken:
        output.note(f"{path}: {problem}")
    if damages or broken:
        raise CorruptModelError(
            f"{len(damages) + len(broken)} of the installed files are damaged",
            hint="remove the model with `llmasos rm` and pull it again",
        )
    if not json:
        output.note(f"{len(chosen)} model{'s' if len(chosen) != 1 else ''} verified")
