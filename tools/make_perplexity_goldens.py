"""Makes the goldens of perplexity: what llama-perplexity prints, of tiny seeded models and of real ones.

    python tools/make_perplexity_goldens.py PATH/llama-perplexity [--real]

The program is built from the llama.cpp inside the source distribution of llama-cpp-python, of the version in use. The
text is the one that llmasos brings, of which tiny models read the beginning. `--real` measures smollm2 and gemma3 too,
which have to be stored.

It reads as many chunks together as its batch holds, and with flash attention digits depend on how many tokens of each
come together if these are few. So the tiny models' chunks are read one by one, as llmasos does; without flash attention
all together too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from doubles.perplexities import PAIR, TINY, TINY_BYTES, TINY_CONTEXT  # noqa: E402
from doubles.tiny import write_tiny  # noqa: E402
from llmasos.evaluation.texts import OWN_TEXT  # noqa: E402
from llmasos.locate import locate  # noqa: E402

GOLDEN = PROJECT / "tests/goldens/perplexity.json"
FINAL = re.compile(r"Final estimate: PPL = ([\d.]+) \+/- ([\d.]+)")
FIGURE = re.compile(r"^(?:Mean +|Maximum +|Minimum +|Median +|RMS +|[\d. ]+% +|Same +).*?: +(-?[\d.]+)", re.MULTILINE)
TRIES = 5
REAL = ("smollm2", "gemma3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--real", action="store_true")
    options = parser.parse_args()
    told: dict[str, Any] = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        text = folder / "text.txt"
        text.write_bytes(OWN_TEXT.read_bytes()[:TINY_BYTES])
        paths = {name: write_tiny(folder / f"{name}.gguf", model) for name, model in TINY.items()}
        one_by_one = ("-b", str(TINY_CONTEXT))
        for title, more in (("tiny", one_by_one), ("tiny together", ("-fa", "off"))):
            told[title] = {
                name: final(run(options.program, path, text, TINY_CONTEXT, *more)) for name, path in paths.items()
            }
        base, other = (paths[name] for name in PAIR)
        told["tiny divergence"] = divergence(options.program, base, other, text, TINY_CONTEXT, folder)
        if options.real:
            told["real"] = {name: final(run(options.program, locate(name).paths[0], OWN_TEXT, 512)) for name in REAL}
    GOLDEN.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(told, indent=1))


def run(program: Path, model: Path, text: Path | None, context: int, *more: str, ends: str = "Final estimate") -> str:
    """What it prints, by both outputs; again if the end of it is lost, as happens."""
    command = [str(program), "-m", str(model), "-c", str(context), "-t", "2", *more]
    command += ["-f", str(text)] if text else []
    environment = {**os.environ, "LD_LIBRARY_PATH": str(program.parent)}
    for _ in range(TRIES):
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=True
        )
        if ends in done.stdout:
            return done.stdout
    raise SystemExit(f"{program} does not print `{ends}`")


def final(printed: str) -> Mapping[str, str]:
    match = FINAL.search(printed)
    assert match is not None, printed
    return {"perplexity": match[1], "stderr": match[2]}


def divergence(program: Path, base: Path, other: Path, text: Path, context: int, folder: Path) -> dict[str, str]:
    """Every figure of `--kl-divergence`, by the words before it."""
    kept = str(folder / "logits")
    one_by_one = ("-b", str(context))
    run(program, base, text, context, *one_by_one, "--kl-divergence-base", kept)
    printed = run(
        program, other, None, context, *one_by_one, "--kl-divergence-base", kept, "--kl-divergence", ends="Same top p:"
    )
    lines = [line for line in printed.splitlines() if ":" in line and FIGURE.match(line)]
    return {" ".join(line.partition(":")[0].split()): FIGURE.match(line)[1] for line in lines}  # type: ignore[index]


if __name__ == "__main__":
    main()
