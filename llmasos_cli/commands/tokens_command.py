"""`llmasos tokens`: how a model splits a text."""

from __future__ import annotations

from json import dumps
from typing import Annotated, Any

import typer

from llmasos.client.options import ClientOptions
from llmasos_cli import output
from llmasos_cli.choices import choose
from llmasos_cli.options import JsonOption, ModelArgument, OfflineOption, takes
from llmasos_cli.prompts import FileOption, PromptArgument, read_prompt

CountOption = Annotated[bool, typer.Option("--count", help="Print how many there are, and nothing else.")]
SpecialOption = Annotated[
    bool, typer.Option("--special", help="Read <|names|> of special tokens as these, and add what the model wants.")
]


@takes(ClientOptions, "remote", "Server")
def tokens_command(
    model: ModelArgument,
    prompt: PromptArgument = None,
    file: FileOption = None,
    count: CountOption = False,
    special: SpecialOption = False,
    json: JsonOption = False,
    offline: OfflineOption = False,
    *,
    remote: dict[str, Any],
) -> None:
    """Splits a text into a model's tokens: how many there are is what contexts and prices are counted in.

    llmasos tokens smollm2 "The quick brown fox"
    llmasos tokens smollm2 -f notes.txt --count
    cat chapter.txt | llmasos tokens smollm2 --json
    """
    text = read_prompt(prompt, file or [])

    with choose(model, {}, offline=offline, server=remote.get("server"), writes=False).vocabulary() as vocabulary:
        split = vocabulary.split(text, special=special)
    tokens, pieces = [token for token, _ in split], [piece for _, piece in split]
    if json:
        output.write_json(
            {"count": len(tokens)} if count else {"count": len(tokens), "tokens": tokens, "pieces": pieces}
        )
    elif count:
        output.write_line(str(len(tokens)))
    else:
        rows = [
            {"id": str(token), "piece": dumps(piece, ensure_ascii=False)}
            for token, piece in zip(tokens, pieces, strict=True)
        ]
        output.write_table(rows)
        output.note(f"{len(tokens)} tokens")
