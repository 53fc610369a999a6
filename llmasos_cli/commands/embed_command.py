"""`llmasos embed`: texts as vectors, for search and comparison."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmasos.client.options import ClientOptions
from llmasos.engine.options import LoadOptions
from llmasos_cli import output
from llmasos_cli.choices import choose
from llmasos_cli.options import JsonOption, ModelArgument, OfflineOption, takes
from llmasos_cli.prompts import FileOption, PromptArgument, lines_of, read_prompt

LinesOption = Annotated[bool, typer.Option("--lines", help="Every line that is not empty is a text of its own.")]
RawOption = Annotated[bool, typer.Option("--raw", help="Leave vectors as long as they come; else their length is 1.")]


@takes(LoadOptions, "loading", "Loading")
@takes(ClientOptions, "remote", "Server")
def embed_command(
    model: ModelArgument,
    prompt: PromptArgument = None,
    file: FileOption = None,
    lines: LinesOption = False,
    raw: RawOption = False,
    json: JsonOption = False,
    offline: OfflineOption = False,
    *,
    loading: dict[str, Any],
    remote: dict[str, Any],
) -> None:
    """Turns texts into vectors with an embedding model: one line of numbers in JSON for each text.

    llmasos embed all-minilm "The quick brown fox"
    llmasos embed all-minilm -f titles.txt --lines > vectors.jsonl
    llmasos embed all-minilm "The quick brown fox" --json
    """
    text = read_prompt(prompt, file or [])
    texts = lines_of(text) if lines else [text]
    with choose(model, loading, offline=offline, server=remote.get("server"), writes=False).vectors() as maker:
        vectors = maker.embed(texts, normalize=not raw)
        counts = maker.count(texts) if json else [0] * len(texts)
    for each, count, vector in zip(texts, counts, vectors, strict=True):
        output.write_json({"text": each, "tokens": count, "embedding": vector} if json else vector)
