"""Perplexity: how well a model foresees a text. By llama-perplexity's definition to the digit, or token by token."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from llmasos.engine.debias import described, is_debiased
from llmasos.engine.model import Model
from llmasos.engine.options import LoadOptions, SamplingOptions
from llmasos.errors import UsageError
from llmasos.evaluation.scorer import Window, open_scorer
from llmasos.evaluation.statistics import estimate
from llmasos.evaluation.texts import Text
from llmasos.evaluation.windows import CHUNKS, MODES, Vocabulary, chunks, rolling
from llmasos.hardware.plan import MICRO_BATCH_SIZE
from llmasos.load import Loaded
from llmasos.locate import Located
from llmasos.native import Doubles
from llmasos.progress import Progress

MATTERING = (
    "gpu_layers",
    "kv_type",
    "flash_attention",
    "batch_size",
    "lora",
    "control_vector",
    "control_layers",
)  # of loading: these move digits
DEFAULT_CONTEXT, LEAST_CONTEXT = 512, 4


@dataclass(frozen=True, slots=True)
class Settings:
    """How a text is read: `mode`, the tokens of a window, and for `rolling` how far one is from the next."""

    mode: str = CHUNKS
    context: int = DEFAULT_CONTEXT
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"there is no mode `{self.mode}`", hint=f"it can be {' or '.join(MODES)}")
        if self.context < LEAST_CONTEXT:
            raise UsageError(f"a context of {self.context} tokens is too short", hint=f"{LEAST_CONTEXT} at least")
        if self.stride is not None and (self.mode == CHUNKS or not 1 <= self.stride <= self.context):
            raise UsageError(
                f"--stride can't be {self.stride}" if self.mode != CHUNKS else "--stride goes with --mode rolling",
                hint="of each window the last tokens are scored: 1 at least, and no more than it has",
            )

    @property
    def longest(self) -> int:
        """Tokens of a window, one that is only foreseen among them."""
        return self.context if self.mode == CHUNKS else self.context + 1

    @property
    def logit_rows(self) -> int:
        """Rows of logits at a time, so that all of a pass are wanted or none: a pass cut otherwise moves digits."""
        rows = self.context - self.context // 2 if self.mode == CHUNKS else self.context
        return min(rows, MICRO_BATCH_SIZE)


@dataclass(frozen=True, slots=True)
class Perplexity:
    """What was measured. `stderr` is one standard error, `interval` where it lies with a probability of 95 %.

    `tokens` are those that were scored and `bytes` theirs; `chunks` are the perplexities of the single windows. Between
    models of different vocabularies only `bits_per_byte` compares.
    """

    perplexity: float
    stderr: float
    interval: tuple[float, float]
    bits_per_byte: float
    tokens: int
    bytes: int
    chunks: tuple[float, ...]


def describe(
    settings: Settings, text: Text, loading: LoadOptions, sampling: SamplingOptions | None = None
) -> dict[str, Any]:
    """All that a figure depends on beside the model, as it is told and kept."""
    return {
        **asdict(settings),
        "text": {"name": text.name, "sha256": text.sha256, "bytes": text.byte_count},
        **describe_run(loading, sampling),
    }


def describe_run(loading: LoadOptions, sampling: SamplingOptions | None = None) -> dict[str, Any]:
    """What of a run moves figures, whatever is measured."""
    return {
        **({"debias": described(sampling)} if sampling and is_debiased(sampling) else {}),
        "loading": {name: getattr(loading, name) for name in MATTERING},
    }


def vocabulary_of(model: Model) -> Vocabulary:
    beginning = model.special_token("bos")
    prefix = model.special_token("eos") if beginning is None else beginning
    return Vocabulary(beginning, model.adds("bos"), prefix)


def windows_of(model: Model, text: Text, settings: Settings) -> list[Window]:
    """The text's windows. Raises BadInputError for a text that is too short."""
    vocabulary = vocabulary_of(model)
    if settings.mode == CHUNKS:
        tokens = model.tokenize(text.content, add_special=True, parse_special=False)
        return chunks(tokens, settings.context, vocabulary)
    tokens = model.tokenize(text.content, add_special=False, parse_special=False)
    return rolling(tokens, settings.context, vocabulary, settings.stride)


def measure(
    located: Located,
    text: Text,
    settings: Settings,
    loading: LoadOptions,
    *,
    sampling: SamplingOptions | None = None,
    progress: Progress | None = None,
    started: Callable[[Loaded], None] = lambda loaded: None,
) -> Perplexity:
    """A model's perplexity on a text, debiased if `sampling` says so.

    Raises what loading raises, and BadInputError for a text that is too short.
    """
    progress = progress or Progress()
    rows = settings.logit_rows
    with open_scorer(
        located,
        loading,
        settings.longest,
        logit_rows=rows,
        sampling=sampling,
        progress=progress,
        started=started,
    ) as scorer:
        windows = windows_of(scorer.model, text, settings)
        with progress.work(f"measuring {located.name}", text.byte_count):
            surprises = []
            for done, scores in enumerate(scorer.score(windows), 1):
                surprises.append(-scores.log_probabilities)
                progress.update(text.byte_count * done // len(windows))
        return summarize(surprises, count_bytes(scorer.model, windows))


def count_bytes(model: Model, windows: Sequence[Window]) -> int:
    """How many bytes the scored tokens stand for."""
    return sum(len(model.piece(token)) for window in windows for token in window.scored)


def summarize(surprises: Sequence[Doubles], byte_count: int) -> Perplexity:
    """The perplexity, from the negative log-probabilities of each window's scored tokens, and their bytes."""
    found = estimate(np.concatenate(surprises))
    tokens = sum(map(len, surprises))
    low, high = found.interval
    return Perplexity(
        perplexity=math.exp(found.mean),
        stderr=math.exp(found.mean) * found.error,
        interval=(math.exp(low), math.exp(high)),
        bits_per_byte=found.mean * tokens / (math.log(2) * byte_count),
        tokens=tokens,
        bytes=byte_count,
        chunks=tuple(math.exp(float(each.mean())) for each in surprises),
    )
