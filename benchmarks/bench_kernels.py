"""The kernels beside ggml's quantizers and NumPy on one core, in turn in one run: CPU time of the thread, medians.

    python benchmarks/bench_kernels.py [--rounds 9] [--models smollm2 …]

Weights are rows of 4,096 normal values, in float32 and in BF16; the bytes are compared as well. Rows of logits are
49,152 normal values that stay in the cache, and what models compute of a text, chunk by chunk, read where llama.cpp has
put them. There NumPy works as it is mostly written, on a whole chunk, and row by row, which spares it most of the
memory; in float32, and in float64, which is as exact as the kernels are. LLMASOS_KERNELS chooses the instruction set,
and NPY_DISABLE_CPU_FEATURES (such as "AVX512F AVX512CD AVX512_SKX") what NumPy may use.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import functools
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from llmasos import kernels, native
from llmasos.engine.bindings import lib, shared
from llmasos.engine.model import ModelOptions, load_model
from llmasos.formats.floats import Array, as_bfloat16, as_float32
from llmasos.locate import locate
from llmasos.quantization.types import TYPES
from machine import describe_machine, in_turn, keep, median, print_table

PROJECT = Path(__file__).parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from doubles.logits import decode  # noqa: E402

WIDTH, VOCABULARY, COUNT = 4096, 49_152, 64
QUANTIZERS = {"Q4_K": 9, "Q5_K": 9, "Q6_K": 9, "Q8_0": 12, "Q5_0": 5, "Q4_0": 3}  # times faster, as wanted
WEIGHTED = {"Q4_K": 8, "Q5_K": 8, "Q6_K": 8}
SLOW = ("Q4_K", "Q5_K", "Q6_K")  # a few rows of these take as long as many of others
TEXT, CHUNK = PROJECT / "docs" / "guide.md", 256  # tokens
LONG_ENOUGH_ROWS, SLOW_ROWS, LOGIT_ROWS = 2048, 128, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--models", nargs="*", default=["smollm2"])
    options = parser.parse_args()
    rounds = options.rounds
    if kernels.level() == 0:
        sys.exit("there are no kernels here")
    rows = [quantizer(name, wanted, as_float32, None, rounds) for name, wanted in QUANTIZERS.items()]
    rows += [quantizer(name, wanted, as_bfloat16, None, rounds) for name, wanted in QUANTIZERS.items()]
    importance = np.random.default_rng(2).uniform(0.1, 2, WIDTH).astype(np.float32)
    rows += [quantizer(name, wanted, as_float32, importance, rounds) for name, wanted in WEIGHTED.items()]
    rows += row_kernels(rounds)
    rows += [row for name in options.models for row in scoring_loop(name, rounds)]
    print({**describe_machine(), "kernels": kernels.LEVELS[kernels.level()], "load": os.getloadavg()})
    print_table([{key: str(value) for key, value in row.items()} for row in rows])
    keep("kernels", {"level": kernels.LEVELS[kernels.level()], "load": os.getloadavg(), "kernels": rows})


def quantizer(
    name: str, wanted: int, make: Callable[[Array], Array], importance: Array | None, rounds: int
) -> dict[str, Any]:
    """Ours from rows of `make`'s type; ggml reads float32 alone, so that making it is a part of its time."""
    count, found = SLOW_ROWS if name in SLOW else LONG_ENOUGH_ROWS, TYPES[name]
    rows = make(np.random.default_rng(1).standard_normal((count, WIDTH), np.float32))
    ours, theirs = (np.zeros((count, found.row_bytes(WIDTH)), np.uint8) for _ in range(2))
    weights = None if importance is None else ctypes.c_void_p(importance.ctypes.data)

    def by_kernel() -> None:
        native.quantize(found.type_id, rows, ours, importance)

    def by_ggml() -> None:
        values = as_float32(rows)
        numbers = map(ctypes.c_int64, (0, *values.shape))
        source, target = ctypes.c_void_p(values.ctypes.data), ctypes.c_void_p(theirs.ctypes.data)
        shared.ggml_quantize_chunk(found.type_id, source, target, *numbers, weights)

    kernel = f"{name} from {'F32' if make is as_float32 else 'BF16'}{'' if importance is None else ', weighted'}"
    seconds, ratio = compared(by_kernel, by_ggml, rounds)
    return {
        "kernel": kernel,
        "beside": "ggml",
        "speed": f"{rows.size / seconds / 1e9:.2f} G weights/s",
        "times faster": round(ratio, 1),
        "wanted": wanted,
        "same bytes": np.array_equal(ours, theirs),
    }


def row_kernels(rounds: int) -> list[dict[str, Any]]:
    rows = np.random.default_rng(1).normal(0, 3, (LOGIT_ROWS, VOCABULARY)).astype(np.float32)
    others = rows + np.random.default_rng(2).normal(0, 0.1, rows.shape).astype(np.float32)
    top, both = f"top {COUNT} and log-sum-exp", lambda: native.top(rows, COUNT)
    peers: list[tuple[str, Callable[[], object], str, Callable[[], object], int | str]] = [
        (top, both, "NumPy", lambda: numpy_top(rows, "f4"), 20),
        (top, both, "NumPy, float64", lambda: numpy_top(rows, "f8"), 20),
        ("log-sum-exp", lambda: native.log_sum_exp(rows), "NumPy", lambda: [log_sum_exp(row) for row in rows], ""),
        ("entropy", lambda: native.entropy(rows), "NumPy", lambda: [entropy(row) for row in rows], ""),
        ("divergence", lambda: native.divergence(rows, others), "NumPy", lambda: numpy_divergence(rows, others), ""),
    ]
    table = []
    for name, ours, peer, theirs, wanted in peers:
        seconds, ratio = compared(ours, theirs, rounds)
        table.append(row_of_table(name, peer, seconds / LOGIT_ROWS, ratio, wanted))
    return table


def row_of_table(kernel: str, peer: str, seconds: float, ratio: float, wanted: int | str) -> dict[str, Any]:
    speed = f"{seconds * 1e6:.1f} µs a row"
    figures = {"kernel": kernel, "beside": peer, "speed": speed, "times faster": round(ratio, 1), "wanted": wanted}
    return {**figures, "same bytes": ""}


def scoring_loop(model_name: str, rounds: int) -> list[dict[str, Any]]:
    """What is made of logits as a model computes them, a text's chunk at a time: each way has passes of its own."""
    ways: dict[str, Callable[[Array], object]] = {
        "": lambda rows: native.top(rows, COUNT),
        "NumPy, a chunk at once": lambda rows: numpy_top_of_chunk(rows, "f4"),
        "NumPy, a chunk at once, float64": lambda rows: numpy_top_of_chunk(rows, "f8"),
        "NumPy, row by row": lambda rows: numpy_top(rows, "f4"),
        "NumPy, row by row, float64": lambda rows: numpy_top(rows, "f8"),
    }
    with chunks_of(model_name) as next_chunk:

        def passes(way: Callable[[Array], object]) -> Callable[[], float]:
            return lambda: timed(functools.partial(way, next_chunk()))() / CHUNK

        ours, *others = in_turn(rounds, *map(passes, ways.values()))
    name, wanted, peers = f"top {COUNT} and log-sum-exp, {model_name}", 20, list(ways)[1:]
    ratios = [median([their / our for our, their in zip(ours, theirs, strict=True)]) for theirs in others]
    return [row_of_table(name, peer, median(ours), ratio, wanted) for peer, ratio in zip(peers, ratios, strict=True)]


@contextlib.contextmanager
def chunks_of(model_name: str) -> Iterator[Callable[[], Array]]:
    """A function that brings the next chunk of the text through the model: its logits (CHUNK, vocabulary) in place."""
    model = load_model(locate(model_name).paths, ModelOptions())
    tokens = model.tokenize(TEXT.read_text("utf-8"), add_special=True, parse_special=False)
    chunks = itertools.cycle(tokens[start : start + CHUNK] for start in range(0, len(tokens) - CHUNK, CHUNK))
    params = lib.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = CHUNK
    context = lib.llama_init_from_model(model.handle, params)

    def next_chunk() -> Array:
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        decode(context, next(chunks))
        return np.ctypeslib.as_array(lib.llama_get_logits(context), (CHUNK, model.vocabulary_size))

    yield next_chunk
    lib.llama_free(context)
    model.close()


def compared(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float]:
    """The median of our seconds, and that of how many times theirs are ours. Both are called once before."""
    timed(ours)(), timed(theirs)()
    our_seconds, their_seconds = in_turn(rounds, timed(ours), timed(theirs))
    ratio = median([their / our for our, their in zip(our_seconds, their_seconds, strict=True)])
    return median(our_seconds), ratio


def timed(work: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        started = time.thread_time()
        work()
        return time.thread_time() - started

    return run


def log_sum_exp(row: Array, number: str = "f4") -> float:
    row = row.astype(number, copy=False)
    greatest = row.max()
    return float(greatest + np.log(np.exp(row - greatest).sum()))


def numpy_top(rows: Array, number: str) -> None:
    for row in rows:
        found = np.argpartition(row, -COUNT)[-COUNT:]
        found[np.argsort(-row[found], kind="stable")]
        log_sum_exp(row, number)


def numpy_top_of_chunk(rows: Array, number: str) -> None:
    wide = rows.astype(number, copy=False)
    greatest = wide.max(axis=-1, keepdims=True)
    log_sums = greatest + np.log(np.exp(wide - greatest).sum(axis=-1, keepdims=True))
    found = np.argpartition(rows, -COUNT, axis=-1)[:, -COUNT:]
    logits = np.take_along_axis(rows, found, axis=-1)
    order = np.argsort(-logits, axis=-1, kind="stable")
    np.take_along_axis(found, order, axis=-1)
    np.take_along_axis(logits, order, axis=-1) - log_sums


def entropy(row: Array) -> float:
    surprises = row - log_sum_exp(row)
    return float(-(np.exp(surprises) * surprises).sum())


def numpy_divergence(rows: Array, others: Array) -> None:
    for row, other in zip(rows, others, strict=True):
        own = row - log_sum_exp(row)
        (np.exp(own) * (own - (other - log_sum_exp(other)))).sum()


if __name__ == "__main__":
    main()
