"""`llmasos eval steer`: make a control vector of pairs of prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from llmasos.engine.options import LoadOptions
from llmasos.errors import UsageError
from llmasos_cli import output
from llmasos_cli.commands.pull_command import AsOption
from llmasos_cli.measuring import NOT_MEASURED, find_model, tell_start
from llmasos_cli.options import JsonOption, ModelArgument, OfflineOption, VerboseOption, takes
from llmasos_cli.prompts import read_file

PairsOption = Annotated[
    Path | None,
    typer.Option(
        "-f",
        "--file",
        help='Pairs of prompts, a line of JSON each: {"positive": …, "negative": …}; without, ours against prejudice.',
        metavar="FILE",
        readable=False,
    ),
]
OutputOption = Annotated[Path | None, typer.Option("-o", "--output", help="Write this file.", metavar="FILE")]
MethodOption = Annotated[
    str,
    typer.Option(
        "--method",
        help="The mean difference of the pairs, or the direction in which the differences lie most.",
        metavar="mean|pca",
    ),
]


@takes(LoadOptions, "loading", "Loading", without=NOT_MEASURED)
def steer_command(
    model: ModelArgument,
    file: PairsOption = None,
    as_name: AsOption = None,
    output_file: OutputOption = None,
    method: MethodOption = "mean",
    json: JsonOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
    *,
    loading: dict[str, Any],
) -> None:
    """Makes a control vector: the directions in which a model's layers tell pairs of prompts apart.

    llmasos eval steer smollm2 --as fair
    llmasos run smollm2 --control-vector fair:2 "The nurse said that"
    llmasos eval steer smollm2 -f pairs.jsonl -o cheerful.gguf --method pca
    """
    from llmasos.evaluation.steering import (
        METHODS,
        measure_directions,
        own_pairs,
        read_pairs,
        store_control_vector,
        write_control_vector,
    )
    from llmasos.files import replaceable
    from llmasos.formats.gguf import read_header
    from llmasos.store.references import parse_name

    if (as_name is None) == (output_file is None):
        raise UsageError("say where it goes", hint="--as NAME stores it, -o FILE writes a file")
    if method not in METHODS:
        raise UsageError(f"there is no method `{method}`", hint=f"it can be {' or '.join(METHODS)}")
    if output_file is not None:
        replaceable(output_file)  # told before anything is computed
    elif as_name is not None:
        parse_name(as_name)
    pairs = own_pairs() if file is None else read_pairs(read_file(file), str(file))
    chosen = find_model(model, loading, offline=offline, verbose=verbose)
    directions = measure_directions(
        chosen.located, pairs, method, chosen.loading, progress=output.make_progress(), started=tell_start(verbose)
    )
    architecture = read_header(chosen.located.paths[0]).architecture
    made_of = f"{method} of {len(pairs)} pairs by {chosen.name}"
    if output_file is not None:
        place = str(write_control_vector(output_file, directions, architecture))
    else:
        place = str(store_control_vector(str(as_name), directions, architecture, made_of).name)
    told = {
        "control_vector": place,
        "method": method,
        "pairs": len(pairs),
        "layers": [min(directions), max(directions)],
    }
    if json:
        output.write_json(told)
    else:
        output.note(f'{place} is ready: llmasos run {model} --control-vector {place} "Hello"')
