"""The reference model for figures of quality: SmolLM2 with weights that lie on no grid.

    python benchmarks/make_reference_model.py --output FOLDER [--steps 120] [--text FILE ...]

Known models that fit a test machine come quantized. Their weights lie on the grid of a 4-bit type, so that this type
loses nothing of them and beats one of 8 bits: they can't say what quantizing costs. Here each weight is moved by chance
inside its cell of the grid, and the model is then trained to answer as the original does. FOLDER gets the checkpoint
(FOLDER/checkpoint) and its GGUF in 16 bits (FOLDER/reference-f16.gguf), if that passes `reference.require_off_grid`.
Needs PyTorch and transformers, which come with the development dependencies. About five minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # else threads wait for each other in loops that take the cores

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from bench_convert import LLMASOS  # noqa: E402
from reference import QUANTIZATION_BLOCK, REFERENCE_NAME, require_off_grid  # noqa: E402

PROJECT = Path(__file__).parents[1]
SEED = 1
LEARNING_RATE = 2e-5
WINDOW = 128  # tokens of one step
TOLD_EVERY = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--text", type=Path, nargs="*", help="What to train on; llmasos' own documents by default.")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    texts = options.text or [*sorted((PROJECT / "docs").glob("*.md")), *sorted(PROJECT.glob("*.md"))]
    with tempfile.TemporaryDirectory(prefix="llmasos-reference-", dir=options.output.parent) as temporary:
        original = Path(temporary) / "original"
        subprocess.run([*LLMASOS, "export", options.model, str(original), "-t", "f32"], check=True)
        checkpoint = Path(temporary) / "checkpoint"
        make(original, checkpoint, texts, options.steps)
        converted = Path(temporary) / REFERENCE_NAME
        subprocess.run([*LLMASOS, "convert", str(checkpoint), "-t", "F16", "-o", str(converted)], check=True)
        print(f"Q4_1's error is {require_off_grid(converted):.2f} of that for Gaussian weights")
        options.output.mkdir(exist_ok=True)
        for path in checkpoint, converted:
            shutil.move(path, options.output / path.name)


def make(original: Path, checkpoint: Path, texts: list[Path], steps: int) -> None:
    """Writes the checkpoint of the model that was moved off the grid and trained."""
    teacher, student = (AutoModelForCausalLM.from_pretrained(original, dtype=torch.float32) for _ in range(2))
    tokenizer = AutoTokenizer.from_pretrained(original)
    text = "\n\n".join(path.read_text(encoding="utf-8") for path in texts)
    tokens = tokenizer(text, return_tensors="pt").input_ids[0]
    with torch.no_grad():
        for weights in student.parameters():
            weights += dither(weights)
    train(teacher.eval(), student.train(), tokens, steps)
    shutil.copytree(original, checkpoint)
    (checkpoint / "model.safetensors").unlink()
    student.half().save_pretrained(checkpoint)


def dither(weights: torch.Tensor) -> torch.Tensor:
    """What moves each weight by chance inside its cell: as far up or down as half the block's step, at most.

    A block's step is the least distance of two different weights in it. Vectors are on no grid.
    """
    if weights.dim() < 2 or weights.shape[-1] % QUANTIZATION_BLOCK:
        return torch.zeros_like(weights)
    blocks = weights.reshape(-1, QUANTIZATION_BLOCK)
    distances = blocks.sort(dim=1).values.diff(dim=1)
    distances[distances < blocks.abs().amax(dim=1, keepdim=True) * 1e-4] = torch.inf  # of equal weights, but rounding
    steps = distances.amin(dim=1, keepdim=True)
    steps[~steps.isfinite()] = 0
    return ((torch.rand_like(blocks) - 0.5) * steps).reshape(weights.shape)


def train(teacher: Any, student: Any, tokens: torch.Tensor, steps: int) -> None:
    """Lowers the divergence of the student's answers from the teacher's, on windows of the text."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    began, losses = time.perf_counter(), []
    for step in range(1, steps + 1):
        start = int(torch.randint(len(tokens) - WINDOW, ()))
        window = tokens[None, start : start + WINDOW]
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                wanted = teacher(window).logits
            given = student(window).logits
        loss = divergence(wanted.float(), given.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % TOLD_EVERY == 0:
            mean = sum(losses[-TOLD_EVERY:]) / TOLD_EVERY
            print(f"step {step}: divergence {mean:.4f}, {time.perf_counter() - began:.0f} s", flush=True)


def divergence(wanted: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """Kullback and Leibler's, mean over tokens, in nats."""
    return torch.nn.functional.kl_div(
        given.log_softmax(-1).flatten(0, 1),
        wanted.log_softmax(-1).flatten(0, 1),
        log_target=True,
        reduction="batchmean",
    )


if __name__ == "__main__":
    main()
