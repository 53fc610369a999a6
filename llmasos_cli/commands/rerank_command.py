"""`llmasos rerank`: lines in the order in which they answer a query."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from llmasos.client.options import ClientOptions
from llmasos.engine.options import LoadOptions
from llmasos_cli import output
from llmasos_cli.choices import choose
from llmasos_cli.options import JsonOption, ModelArgument, OfflineOption, takes
from llmasos_cli.prompts import argument_text, read_lines

QueryArgument = Annotated[str, typer.Argument(help="What the documents are to answer.", metavar="QUERY")]
DocumentsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "-f",
        "--file",
        help="Take each line of this file for a document. Again for more; without it, lines are piped in.",
        metavar="FILE",
        readable=False,  # whether it can be read is told by the library, with its own exit code
    ),
]
TopOption = Annotated[int | None, typer.Option("-n", "--top", help="Only so many, the best.", min=1, metavar="N")]


@takes(LoadOptions, "loading", "Loading")
@takes(ClientOptions, "remote", "Server")
def rerank_command(
    model: ModelArgument,
    query: QueryArgument,
    file: DocumentsOption = None,
    top: TopOption = None,
    json: JsonOption = False,
    offline: OfflineOption = False,
    *,
    loading: dict[str, Any],
    remote: dict[str, Any],
) -> None:
    """Sorts lines by how well they answer a query, with a reranker: a score and the line, the best first.

    llmasos rerank ms-marco "how do I undo a commit" -f titles.txt
    grep -h bread recipes/*.txt | llmasos rerank ms-marco "bread without yeast" -n 5
    llmasos rerank ms-marco "bread without yeast" -f titles.txt --json
    """
    query, documents = argument_text(query, "the query"), read_lines(file or [])
    with choose(model, loading, offline=offline, server=remote.get("server"), writes=False).ranking() as ranker:
        ranked = ranker.rank(query, documents, top=top)
    for each in ranked:
        if json:
            output.write_json(asdict(each))
        else:
            output.write_text(f"{each.score:.6g}\t{each.text}")
