"""`llmasos quantize`: make a model smaller, in another type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmasos.errors import UsageError
from llmasos.quality.options import VerdictOptions
from llmasos.settings import layered
from llmasos.units import format_bytes
from llmasos_cli import output
from llmasos_cli.commands.convert_command import ImatrixOption, OutputOption, tell_files, tell_kernels, tell_stored
from llmasos_cli.commands.pull_command import AsOption, first_use
from llmasos_cli.options import JsonOption, OfflineOption, VerboseOption, takes

if TYPE_CHECKING:
    from llmasos.quantization.choices import Choices
    from llmasos.quantization.prepared import Prepared
    from llmasos_cli.verdicts import Order

LAYERS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
MOST_LAYERS = 100_000
TENSORS = "Single tensors"
ModelArgument = Annotated[
    str,
    typer.Argument(help="A name, a reference such as org/name, a .gguf file, a checkpoint's folder.", metavar="MODEL"),
]
TypeOption = Annotated[
    str | None,
    typer.Option("--type", "-t", help="What to make: Q4_K_M, Q5_K_S, Q8_0, IQ4_XS and so on.", metavar="TYPE"),
]
AllowOption = Annotated[
    bool,
    typer.Option("--allow-requantize", help="Quantize what is quantized already, and lose more than one has to."),
]
TensorTypeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tensor-type",
        help="A type for tensors in whose names the expression is found, the first that is.",
        metavar="REGEX=TYPE",
        rich_help_panel=TENSORS,
    ),
]
OutputTypeOption = Annotated[
    str | None,
    typer.Option("--output-type", help="The type of the output.", metavar="TENSOR-TYPE", rich_help_panel=TENSORS),
]
EmbeddingTypeOption = Annotated[
    str | None,
    typer.Option(
        "--embedding-type", help="That of the token embeddings.", metavar="TENSOR-TYPE", rich_help_panel=TENSORS
    ),
]
PureOption = Annotated[
    bool, typer.Option("--pure", help="One type for all, not the mix's several.", rich_help_panel=TENSORS)
]
PruneOption = Annotated[
    str | None,
    typer.Option(
        "--prune-layers", help="Leave layers out, counted from 0: 3,5-7.", metavar="LAYERS", rich_help_panel=TENSORS
    ),
]
KeepSplitOption = Annotated[
    bool, typer.Option("--keep-split", help="With -o: as many files as the model has, with the same tensors.")
]
ImatrixOnlyOption = Annotated[
    bool,
    typer.Option(
        "--imatrix-only",
        help="Only make the importance matrix, for -o: what the model does with a text.",
    ),
]
TextOption = Annotated[
    Path | None,
    typer.Option("-f", "--file", help="With --imatrix-only: the text, in place of llmasos' own.", metavar="TEXT"),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only tell types and size; write nothing.")]


@takes(VerdictOptions, "verdict", "Verdict")
def quantize_command(
    model: ModelArgument,
    type_name: TypeOption = None,
    as_name: AsOption = None,
    output_file: OutputOption = None,
    imatrix: ImatrixOption = None,
    imatrix_only: ImatrixOnlyOption = False,
    text_file: TextOption = None,
    allow_requantize: AllowOption = False,
    keep_split: KeepSplitOption = False,
    dry_run: DryRunOption = False,
    tensor_types: TensorTypeOption = None,
    output_type: OutputTypeOption = None,
    embedding_type: EmbeddingTypeOption = None,
    pure: PureOption = False,
    prune_layers: PruneOption = None,
    json: JsonOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
    *,
    verdict: dict[str, Any],
) -> None:
    """Quantizes a model: a stored one, a GGUF file or a checkpoint, into any of llama.cpp's types.

    llmasos quantize ./model-bf16.gguf -t Q4_K_M --as small
    llmasos quantize ./checkpoint -t Q5_K_M -o small.gguf
    llmasos quantize mine -t Q4_K_M --tensor-type ffn_down=Q6_K
    llmasos quantize mine -t Q4_K_M --dry-run
    llmasos quantize mine -t IQ3_XXS --imatrix auto
    llmasos quantize mine --imatrix-only -f text.txt -o mine.imatrix.gguf
    llmasos quantize mine -t Q4_K_M --max-kld 0.05
    llmasos quantize mine --sweep Q8_0,Q6_K,Q5_K_M,Q4_K_M --pick --max-ppl-increase 2
    llmasos quantize mine --target-bpw 4.5
    """
    if imatrix_only or text_file is not None:
        is_clear = imatrix_only and type_name is None and imatrix is None
        _collect(model, output_file if is_clear else None, text_file, offline=offline, json=json)
        return
    layers = _parse_layers(prune_layers) if prune_layers is not None else []
    overrides = [_parse_override(each) for each in tensor_types or ()]

    def choices_of(name: str) -> Choices:
        from llmasos.quantization.choices import make_choices

        return make_choices(
            name,
            tensor_types=overrides,
            output_type=output_type,
            embedding_type=embedding_type,
            pure=pure,
            allow_requantize=allow_requantize,
            pruned_layers=layers,
        )

    if verbose:
        tell_kernels()
    from llmasos.settings import is_offline
    from llmasos_cli.verdicts import Order, quantize_judged

    wanted = layered(VerdictOptions, verdict)
    order = Order(model, choices_of, type_name, imatrix, as_name, output_file, offline or is_offline(), json)
    _require_sensible(order, wanted, keep_split=keep_split, dry_run=dry_run)
    if wanted.is_used:
        quantize_judged(order, wanted)
    else:
        _quantize(order, keep_split=keep_split, dry_run=dry_run)


def _require_sensible(order: Order, wanted: VerdictOptions, *, keep_split: bool, dry_run: bool) -> None:
    """Raises UsageError for options that exclude each other."""
    if order.type_name is None and not wanted.is_used:
        raise UsageError("say what to make: -t TYPE", hint="Q4_K_M halves a model of 8 bits, and loses little")
    if wanted.is_used and (keep_split or dry_run):
        flag = "--keep-split" if keep_split else "--dry-run"
        raise UsageError(f"{flag} and a verdict exclude each other", hint="what is compared is one file, and written")
    if order.output_file is not None and order.as_name:
        raise UsageError("--as and -o exclude each other", hint="--as stores the model, -o writes a file")
    if keep_split and order.output_file is None and not dry_run:
        raise UsageError("--keep-split goes with -o", hint="the store keeps a model in one file")


def _quantize(order: Order, *, keep_split: bool, dry_run: bool) -> None:
    from llmasos.quantize import plan_quantization, quantize_to_file, quantize_to_store

    choices, progress = order.choices_of(order.type_name or ""), output.make_progress()
    common: dict[str, Any] = {"imatrix": order.imatrix, "progress": progress, "offline": order.offline}
    if dry_run:
        plan = plan_quantization(order.model, choices, imatrix=order.imatrix, keep_split=keep_split)
        _tell_plan(plan, json=order.json)
    elif order.output_file is not None:
        paths = quantize_to_file(order.model, order.output_file, choices, keep_split=keep_split, **common)
        tell_files(paths, json=order.json)
    else:
        manifest = quantize_to_store(order.model, choices, name=order.as_name, **common)
        tell_stored(manifest, first_use(manifest), json=order.json)


def _collect(model: str, output_file: Path | None, text_file: Path | None, *, offline: bool, json: bool) -> None:
    """Makes the importance matrix alone."""
    if output_file is None:
        raise UsageError(
            "--imatrix-only makes nothing but an importance matrix, of the text -f, and writes it to the file -o",
            hint="llmasos quantize MODEL --imatrix-only -f TEXT -o FILE",
        )
    from llmasos.importance import own_calibration, read_calibration
    from llmasos.quantize import collect_to_file
    from llmasos.settings import is_offline

    calibration = read_calibration(text_file) if text_file else own_calibration()
    importance = collect_to_file(
        model, output_file, calibration, progress=output.make_progress(), offline=offline or is_offline()
    )
    tell_files([output_file], json=json)
    output.note(f"{len(importance.entries)} tensors, {importance.chunk_count} pieces of {importance.chunk_size} tokens")


def _parse_layers(text: str) -> Sequence[int]:
    """`3,5-7` as 3, 5, 6 and 7."""
    if LAYERS.fullmatch(text) is None:
        raise UsageError(f"--prune-layers can't be `{text}`", hint="layers are counted from 0, such as 3,5-7")
    layers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not int(first) <= int(last or first) < MOST_LAYERS:
            raise UsageError(f"--prune-layers can't be `{text}`", hint="of a range the smaller number comes first")
        layers += range(int(first), int(last or first) + 1)
    return layers


def _parse_override(text: str) -> tuple[str, str]:
    pattern, _, type_name = text.rpartition("=")
    if not pattern or not type_name:
        raise UsageError(f"--tensor-type can't be `{text}`", hint="REGEX=TYPE, such as attn_v=Q8_0")
    return pattern, type_name


def _tell_plan(prepared: Prepared, *, json: bool) -> None:
    if json:
        shares = {
            name: {"tensors": share.tensor_count, "size": share.byte_count} for name, share in prepared.shares.items()
        }
        output.write_json({"type": prepared.type_name, "size": prepared.size, "types": shares})
        return
    output.write_table(
        [
            {"type": name, "tensors": str(share.tensor_count), "size": format_bytes(share.byte_count)}
            for name, share in prepared.shares.items()
        ]
    )
    output.note(f"{prepared.type_name} would take {format_bytes(prepared.size)}")
