"""`llmasos prune`: free what no model uses."""

from __future__ import annotations

from typing import Annotated

import typer

from llmasos_cli import output
from llmasos_cli.options import JsonOption


def prune_command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    older_than_days: Annotated[
        float, typer.Option("--older-than", help="Only unfinished downloads that are this old.", metavar="DAYS", min=0)
    ] = 0.0,
    json: JsonOption = False,
) -> None:
    """Deletes files that no model uses and downloads that were never finished.

    llmasos prune --dry-run
    llmasos prune --older-than 30
    """
    from llmasos.store.store import ModelStore
    from llmasos.units import format_bytes

    pruned = ModelStore().prune(older_than_seconds=older_than_days * 86400, dry_run=dry_run)
    if json:
        output.write_json(
            {
                "blobs": list(pruned.blobs),
                "partial_files": [str(path) for path in pruned.partial_files],
                "freed_bytes": pruned.freed_bytes,
            }
        )
    else:
        verb = "would free" if dry_run else "freed"
        output.note(
            f"{verb} {format_bytes(pruned.freed_bytes)}: {len(pruned.blobs)} unused files, "
            f"{len(pruned.partial_files)} unfinished downloads"
        )
