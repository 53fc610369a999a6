"""Makes the goldens of importance matrices: what llama.cpp's llama-imatrix makes of tiny models and a text.

    python tools/make_importance_goldens.py PATH/llama-imatrix [--smollm2 FILE]

Of the real model, which is too large for a golden of its own, the total of each tensor is kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from doubles.importance import GOLDENS, NAMES, TEXT, totals_of, write_model  # noqa: E402
from llmasos.formats.gguf import read_header  # noqa: E402
from llmasos.importance import CHUNK_TOKENS  # noqa: E402
from llmasos.quantization.importance import read_importance  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("llama_imatrix", type=Path)
    parser.add_argument("--smollm2", type=Path, help="Its GGUF: `llmasos show smollm2 --json` tells where.")
    options = parser.parse_args()
    GOLDENS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "text.txt").write_text(TEXT, encoding="utf-8")
        for name in NAMES:
            collect(options.llama_imatrix, write_model(name, folder), folder, GOLDENS / f"{name}.imatrix")
        if options.smollm2:
            collect(options.llama_imatrix, options.smollm2, folder, folder / "smollm2.imatrix")
            totals = totals_of(read_importance(folder / "smollm2.imatrix"))
            (GOLDENS / "smollm2.json").write_text(json.dumps(totals, indent=1) + "\n", encoding="utf-8")


def collect(program: Path, model: Path, folder: Path, output: Path) -> None:
    length = min(CHUNK_TOKENS, read_header(model).number("context_length") or CHUNK_TOKENS)
    lengths = ["-c", str(length), "-b", str(length), "-ngl", "0", "--no-ppl", "-t", "1"]
    command = [program, "-m", model, "-f", "text.txt", "-o", output, *lengths]
    subprocess.run(list(map(str, command)), cwd=folder, check=True)


if __name__ == "__main__":
    main()
