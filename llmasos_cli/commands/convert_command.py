"""`llmasos convert`: make a GGUF of a checkpoint, or of an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmasos.errors import ModelNotFoundError, UsageError
from llmasos.store.manifests import Manifest
from llmasos.units import parse_bytes
from llmasos_cli import output
from llmasos_cli.commands.pull_command import AsOption, first_use
from llmasos_cli.options import JsonOption, OfflineOption, VerboseOption

AUTO = "auto"  # the checkpoint's own 16-bit type; an adapter's full precision
CheckpointArgument = Annotated[
    str | None,
    typer.Argument(help="A checkpoint's folder, or a repository such as org/name.", metavar="CHECKPOINT"),
]
TypeOption = Annotated[
    str, typer.Option("--type", "-t", help="Of the weights: F32, F16, BF16, Q8_0, Q4_K_M and so on.", metavar="TYPE")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write this file; the store is left alone.", metavar="FILE")
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split-max-size", help="Cut the file into parts of at most 500M, 2G, ….", metavar="SIZE"),
]
LoraOption = Annotated[
    Path | None, typer.Option("--lora", help="Convert the LoRA adapter that PEFT wrote to this folder.", metavar="DIR")
]
ImatrixOption = Annotated[
    str | None,
    typer.Option(
        "--imatrix",
        help="What matters in the weights: an importance matrix of llama-imatrix's, or `auto` to have one made.",
        metavar="FILE|auto",
    ),
]
BaseOption = Annotated[
    str | None,
    typer.Option("--base", help="The model that the adapter is for: stored, a file, or a folder.", metavar="MODEL"),
]


def convert_command(
    checkpoint: CheckpointArgument = None,
    type_name: TypeOption = AUTO,
    as_name: AsOption = None,
    output_file: OutputOption = None,
    split_max_size: SplitOption = None,
    imatrix: ImatrixOption = None,
    lora: LoraOption = None,
    base: BaseOption = None,
    json: JsonOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Converts a Hugging Face checkpoint (safetensors or PyTorch's own format) to GGUF, quantized on the way if asked.

    llmasos convert ./SmolLM2-135M
    llmasos convert ./SmolLM2-135M -t Q4_K_M --as small
    llmasos convert HuggingFaceTB/SmolLM2-135M -t Q8_0 -o smol.gguf
    llmasos convert ./SmolLM2-135M -t IQ3_XXS --imatrix auto --as tiny
    llmasos convert --lora ./adapter --base smollm2 --as tuned
    """
    if output_file is not None and as_name:
        raise UsageError("--as and -o exclude each other", hint="--as stores the model, -o writes a file")
    if (lora is None) != (base is None) or (lora is None) == (checkpoint is None):
        raise UsageError(
            "say what to convert", hint="llmasos convert CHECKPOINT, or llmasos convert --lora DIR --base MODEL"
        )
    if imatrix and lora:
        raise UsageError("--imatrix goes with a checkpoint", hint="adapters are not quantized by importance")
    if split_max_size and (output_file is None or lora):
        raise UsageError("--split-max-size goes with a checkpoint and -o", hint="the store keeps a model in one file")
    if verbose:
        tell_kernels()
    if lora is not None and base is not None:
        _convert_adapter(lora, base, type_name, as_name, output_file, json=json)
    elif checkpoint is not None:
        reference = _as_reference(checkpoint, offline=offline)
        split_max_bytes = parse_bytes(split_max_size) if split_max_size else 0
        _convert_checkpoint(reference, type_name, imatrix, as_name, output_file, split_max_bytes, json=json)


def _convert_checkpoint(
    reference: str,
    type_name: str,
    imatrix: str | None,
    name: str | None,
    file: Path | None,
    split_max_bytes: int,
    *,
    json: bool,
) -> None:
    from llmasos.convert import convert_to_file, convert_to_store
    from llmasos.quantization.choices import make_choices

    wanted = make_choices(type_name) if imatrix and type_name != AUTO else type_name
    progress = output.make_progress()
    if file is not None:
        paths = convert_to_file(
            reference, file, wanted, imatrix=imatrix, split_max_bytes=split_max_bytes, progress=progress
        )
        tell_files(paths, json=json)
        return
    manifest = convert_to_store(reference, wanted, imatrix=imatrix, name=name, progress=progress)
    tell_stored(manifest, first_use(manifest), json=json)


def _convert_adapter(
    folder: Path, base: str, type_name: str, name: str | None, file: Path | None, *, json: bool
) -> None:
    from llmasos.convert import ADAPTER_TYPE, convert_adapter_to_file, convert_adapter_to_store

    wanted, progress = ADAPTER_TYPE if type_name == AUTO else type_name, output.make_progress()
    if file is not None:
        tell_files([convert_adapter_to_file(folder, base, file, wanted, progress=progress)], json=json)
        return
    manifest = convert_adapter_to_store(folder, base, wanted, name=name, progress=progress)
    tell_stored(manifest, f'llmasos run {base} --lora {manifest.name} "Hello"', json=json)


def tell_kernels() -> None:
    """Says which kernels there are, and lets the engine say what else it has to."""
    from llmasos import kernels
    from llmasos.engine.bindings import log

    output.note(f"kernels: {kernels.LEVELS[kernels.level()]}")
    log.is_shown = True


def tell_files(paths: list[Path], *, json: bool) -> None:
    if json:
        output.write_json([{"path": str(path), "size": path.stat().st_size} for path in paths])
    else:
        output.note(f"written: {', '.join(map(str, paths))}")


def tell_stored(manifest: Manifest, next_command: str, *, json: bool) -> None:
    from llmasos_cli.commands.list_command import facts_of

    if json:
        output.write_json(facts_of(manifest))
    else:
        output.note(f"{manifest.name} is ready: {next_command}")


def _as_reference(checkpoint: str, *, offline: bool) -> str:
    """The reference that is meant: a folder's name counts as its path. Nothing but a folder is opened offline."""
    from llmasos.settings import is_offline
    from llmasos.store.references import looks_like_path

    if looks_like_path(checkpoint):
        return checkpoint
    if Path(checkpoint).exists():
        return f"./{checkpoint}"
    if offline or is_offline():
        raise ModelNotFoundError(
            checkpoint, message=f"there is no folder {checkpoint}, and the network is off limits", hint="check the path"
        )
    return checkpoint
