"""Makes the goldens of importance matrices: what llama.cpp's llama-imatrix makes of tiny models and a text.

python tools/make_importance_goldens.py PATH/llama-imatrix
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from doubles.importance import GOLDENS, NAMES, TEXT, write_model  # noqa: E402
from llmasos.formats.gguf import read_header  # noqa: E402
from llmasos.importance import CHUNK_TOKENS  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("llama_imatrix", type=Path)
    program = parser.parse_args().llama_imatrix
    GOLDENS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "text.txt").write_text(TEXT, encoding="utf-8")
        for name in NAMES:
            model = write_model(name, folder)
            length = min(CHUNK_TOKENS, read_header(model).number("context_length") or CHUNK_TOKENS)
            options = ["-c", str(length), "-b", str(length), "-ngl", "0", "--no-ppl", "-t", "1"]
            command = [program, "-m", model, "-f", "text.txt", "-o", GOLDENS / f"{name}.gguf", *options]
            subprocess.run(list(map(str, command)), cwd=folder, check=True)


if __name__ == "__main__":
    main()
