"""What quantizing costs, with an importance matrix and without: divergence of answers from those of 16 bits.

    python benchmarks/bench_quality.py FOLDER/reference-f16.gguf --text HELD-OUT [--types Q4_K_M IQ4_XS] [--windows 16]

The model is one that `make_reference_model.py` made: others are refused, as their weights lie on a grid already. The
text must be none that the model was trained on, nor llmasos' calibration text. Told is the mean of Kullback and
Leibler's divergence over the second halves of windows of 512 tokens, with the standard error of that mean, which is
taken over the windows, and how often the likeliest token is the same.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from llmasos import native
from llmasos.engine.background import in_thread
from llmasos.engine.context import Context, ContextOptions, Reading, logits_at
from llmasos.engine.model import ModelOptions, load_model
from llmasos.hardware.machine import usable_cores
from llmasos.quantization.choices import make_choices
from llmasos.quantize import quantize_to_file
from llmasos.units import format_bytes
from machine import keep, print_table
from reference import require_off_grid

WINDOW = 512
FIRST = WINDOW // 2  # the first half of a window is only read


@dataclass(frozen=True)
class Difference:
    divergence: float  # nats, mean
    error: float  # of the mean
    agreement: float  # share of positions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--types", nargs="+", default=["Q4_K_M", "IQ4_XS"])
    parser.add_argument("--windows", type=int, default=16)
    options = parser.parse_args()
    require_off_grid(options.reference)
    text = options.text.read_text(encoding="utf-8")
    rows = []
    with tempfile.TemporaryDirectory(prefix="llmasos-quality-") as temporary:
        wanted = Path(temporary) / "wanted.f32"
        shape = write_logits(options.reference, text, options.windows, wanted)
        for type_name in options.types:
            for imatrix in (None, "auto"):
                [path] = quantize_to_file(
                    str(options.reference), Path(temporary) / "model.gguf", make_choices(type_name), imatrix=imatrix
                )
                found = compare(path, text, np.memmap(wanted, np.float32, "r", shape=shape))
                rows.append(
                    {
                        "type": type_name,
                        "importance": imatrix or "none",
                        "size": format_bytes(path.stat().st_size),
                        "divergence": f"{found.divergence:.5f} ± {found.error:.5f}",
                        "same token": f"{found.agreement:.2%}",
                    }
                )
                print(rows[-1], flush=True)
    print_table(rows)
    keep("quality", {"rows": rows})


def write_logits(model: Path, text: str, windows: int, path: Path) -> tuple[int, int, int]:
    """Writes the logits (windows, positions, vocabulary) of a model and returns their shape."""
    with path.open("wb") as file:
        shapes = [file.write(rows.tobytes()) and rows.shape for rows in window_logits(model, text, windows)]
    return (len(shapes), *shapes[0])


def compare(model: Path, text: str, wanted: np.ndarray) -> Difference:
    divergences, agreements = [], []
    for expected, rows in zip(wanted, window_logits(model, text, len(wanted)), strict=True):
        divergences.append(native.divergence(np.ascontiguousarray(expected), rows).mean())
        agreements.append((expected.argmax(-1) == rows.argmax(-1)).mean())
    error = np.std(divergences, ddof=1) / len(divergences) ** 0.5
    return Difference(float(np.mean(divergences)), float(error), float(np.mean(agreements)))


def window_logits(path: Path, text: str, windows: int) -> Iterator[np.ndarray]:
    """The logits (positions, vocabulary) for the second half of each window."""
    model = load_model([path], ModelOptions())
    tokens = model.tokenize(text, add_special=False, parse_special=False)
    count = min(windows, len(tokens) // WINDOW)
    if count < 2:
        raise SystemExit(f"the text has {len(tokens)} tokens, {2 * WINDOW} at least are needed")
    context = Context(model, ContextOptions(WINDOW, usable_cores(), batch_size=WINDOW, flash_attention=False))
    try:
        for number in range(count):
            context.forget(0)
            reading = Reading(0, tokens[number * WINDOW : (number + 1) * WINDOW], 0, WINDOW - FIRST)
            [last] = in_thread(partial(context.decode, [reading]), context.abort)
            first, size = last - (WINDOW - FIRST) + 1, model.vocabulary_size
            view = logits_at(context, first, (WINDOW - FIRST) * size)
            yield np.frombuffer(view, np.float32).reshape(-1, size)
    finally:
        context.close()
        model.close()


if __name__ == "__main__":
    main()
