"""Makes the goldens of conversions: what llama.cpp's own converter makes of the tiny checkpoints.

    python tools/make_conversion_goldens.py PATH/convert_hf_to_gguf.py [--only NAME ...] [--keep FOLDER] [--logits]

Needs torch and transformers. The converter tells a byte-level vocabulary's pre-tokenizer by a digest of the ids that
the whole vocabulary gives to a text; the tiny vocabularies are cut, so their digests are unknown to it. Here that one
function is replaced by one that gives the name of the family's pre-tokenizer. And it reads a configuration through
transformers, which today loses or invents keys of some families: for those it is made to take `config.json` as it
stands, which is its own second way. Of StableLM's norms by head it makes one tensor, but loses it; here it doesn't. All
else is the converter's own work. Where it can't convert a checkpoint the golden
holds the reason. `--logits` compares what llama.cpp computes from each
file with what transformers computes from the checkpoint.
"""

from __future__ import annotations

import argparse
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from doubles.checkpoints import CHECKPOINTS, write_checkpoint  # noqa: E402
from doubles.vocabularies import pre_name  # noqa: E402

OTHER_TYPES = {"llama3": ("bf16", "f16"), "gpt2-saved": ("f16",), "gemma3": ("bf16",), "qwen2-moe": ("f16",)}
# rotary_pct is lost; num_kv_heads becomes all heads though multi_query says one; n_embd and its like are not understood
READ_AS_THEY_STAND = {"pythia", "gpt-neox-sequential", "falcon-7b", "nomic-bert"}


def main() -> None:
    arguments = parse()
    names = arguments.only or list(CHECKPOINTS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        for name in names:
            checkpoint = write_checkpoint(folder / name, name)
            for kind in ("f32", *OTHER_TYPES.get(name, ())):
                suffix = "" if kind == "f32" else f"-{kind}"
                file = folder / f"{name}{suffix}.gguf"
                failure = convert(arguments.converter, name, checkpoint, file, kind)
                keep_golden(f"{name}{suffix}", file, failure)
                told = failure or "converted"
                if arguments.logits and not failure and kind == "f32":
                    told = f"{difference(name, checkpoint, file):.1e} apart from transformers"
                print(f"{name}{suffix}: {told}", flush=True)


def convert(converter: Path, name: str, checkpoint: Path, file: Path, kind: str) -> str | None:
    """Runs the converter in a process of its own; the reason if it fails, None if not."""
    command = [sys.executable, __file__, "--drive", name, str(converter)]
    command += [str(checkpoint), "--outtype", kind, "--outfile", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return done.stderr.strip().splitlines()[-1].replace(str(checkpoint.parent), "…")


def drive(name: str, converter: str, *arguments: str) -> None:
    """The converter as a program, but for what this module's docstring says."""
    sys.path.insert(0, str(Path(converter).parent))
    sys.path.insert(1, str(Path(converter).parent / "gguf-py"))
    from conversion import base

    def given_name(_model: Any, _tokenizer: Any) -> str:
        return pre_name(CHECKPOINTS[name].vocabulary)

    base.TextModel.get_vocab_base_pre = given_name
    if name in READ_AS_THEY_STAND:
        base.AutoConfig = None
    mend_stablelm()
    sys.argv = [converter, *arguments]
    runpy.run_path(converter, run_name="__main__")


def mend_stablelm() -> None:
    """What a generator returns is no part of what it yields: the stacked norms are lost unless they are passed on."""
    from conversion import stablelm

    losing = stablelm.StableLMModel.modify_tensors

    def passing_on(model: Any, *arguments: Any) -> Iterator[Any]:
        lost = yield from losing(model, *arguments)
        yield from lost or ()

    stablelm.StableLMModel.modify_tensors = passing_on


def keep_golden(name: str, file: Path, failure: str | None) -> None:
    from doubles.checkpoints_goldens import FOLDER, describe, golden_text

    FOLDER.mkdir(parents=True, exist_ok=True)
    description = {"failure": failure} if failure else describe(file)
    (FOLDER / f"{name}.json").write_text(golden_text(description), "utf-8")


def difference(name: str, checkpoint: Path, file: Path) -> float:
    from doubles import logits

    tokens = logits.sample_tokens(checkpoint)
    readable = CHECKPOINTS[name].readable_as
    if readable:
        checkpoint = write_checkpoint(checkpoint.with_name(readable), readable)
    if CHECKPOINTS[name].is_encoder:
        found, expected = logits.embeddings_of_gguf(file, tokens), logits.embeddings_of_checkpoint(checkpoint, tokens)
    else:
        found, expected = logits.logits_of_gguf(file, tokens), logits.logits_of_checkpoint(checkpoint, tokens)
        assert logits.same_choices(found, expected), f"{name}: another token is best"
    return logits.largest_relative_difference(found, expected)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Makes the goldens of conversions.")
    parser.add_argument("converter", type=Path, help="llama.cpp's convert_hf_to_gguf.py")
    parser.add_argument("--only", nargs="+", choices=CHECKPOINTS, help="these checkpoints alone")
    parser.add_argument("--keep", type=Path, help="the folder to leave checkpoints and files in")
    parser.add_argument("--logits", action="store_true", help="compare with transformers too")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--drive"]:
        drive(*sys.argv[2:])
    else:
        main()
