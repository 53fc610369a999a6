"""Control vectors, made: from pairs of prompts to the directions in which a model's layers tell them apart.

A prompt's state in a layer is what the layer gives for its last token. `mean` is the mean difference of the pairs'
states; `pca` the direction in which the differences lie most, as long as they reach in it on average. All layers
together then move a prompt about as far as the pairs lie apart: each has its share of the difference.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from llmasos.engine.context import Context, ContextOptions, Reading
from llmasos.engine.options import LoadOptions
from llmasos.engine.probes import NamedTensors
from llmasos.errors import BadInputError, PromptTooLongError
from llmasos.formats.control_vector import ARCHITECTURE, FIRST_LAYER
from llmasos.formats.gguf import read_header
from llmasos.hardware.plan import MICRO_BATCH_SIZE
from llmasos.load import Loaded
from llmasos.locate import Located
from llmasos.make import made_in, store_file
from llmasos.native import Floats
from llmasos.progress import Progress
from llmasos.quantization.header import Value
from llmasos.quantization.writer import TensorJob, write_gguf
from llmasos.store.manifests import Manifest, facts_of
from llmasos.store.references import parse_name
from llmasos.store.store import ModelStore

METHODS = ("mean", "pca")
LONGEST_PROMPT = MICRO_BATCH_SIZE  # tokens that llama.cpp reads in one go, so that a layer's states come at once


@dataclass(frozen=True, slots=True)
class Pair:
    """Two prompts alike but for what is steered: towards `positive`, away from `negative`."""

    positive: str
    negative: str


# Ours, against prejudice: the same beginning behind an attitude without it, and behind one with it.
ATTITUDES = (
    ("Women and men decide alike.", "Women should leave decisions to men."),
    ("A nurse may be a man, an engineer a woman.", "Nurses are women, engineers are men."),
    ("Where people come from says nothing of who they are.", "Where people come from says all about who they are."),
    ("There are honest people in every country.", "Foreigners can't be trusted."),
    ("People of every faith live in peace here.", "People of that faith are dangerous."),
    ("Old people learn new things too.", "Old people can't learn anything any more."),
    ("Young people work as well as others.", "Young people are lazy."),
    ("The colour of a skin means nothing.", "The colour of a skin shows what to expect."),
    ("Whom somebody loves is nobody else's affair.", "There is something wrong with people who love like that."),
    ("A disabled colleague does the same work.", "Disabled people are only a burden."),
    ("The poor work as hard as the rich.", "The poor have only themselves to blame."),
    ("I treat everybody with respect.", "Some people do not deserve respect."),
)
BEGINNINGS = (
    "This is what I think of my new neighbour:",
    "I told my friends about the people whom I met:",
    "When the family moved in next door, I said that they",
    "The applicant came in, sat down, and I knew that",
    "My colleague has been promoted, because",
)


def own_pairs() -> list[Pair]:
    """Pairs against prejudice."""
    return [
        Pair(f"{good} {beginning}", f"{bad} {beginning}")
        for (good, bad), beginning in itertools.product(ATTITUDES, BEGINNINGS)
    ]


def read_pairs(text: str, name: str) -> list[Pair]:
    """Pairs of a file: a line of JSON each, with `positive` and `negative`. Raises BadInputError."""
    pairs = [_pair(line, f"{name}, line {number}") for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if len(pairs) < 2:
        raise BadInputError(f"{name} holds {len(pairs)} pairs, and two are needed at least")
    return pairs


def _pair(line: str, where: str) -> Pair:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    texts = [found.get(side) for side in ("positive", "negative")] if isinstance(found, dict) else []
    if len(texts) != 2 or not all(isinstance(text, str) and text.strip() for text in texts):
        raise BadInputError(f"{where} is no pair", hint='such as {"positive": "I am kind.", "negative": "I am rude."}')
    return Pair(*map(str, texts))


def steering_directions(positive: Floats, negative: Floats, method: str) -> Floats:
    """Directions (layers, width) from the pairs' states (pairs, layers, width)."""
    differences = positive.astype(np.float64) - negative
    mean = differences.mean(axis=0)
    directions = mean if method == "mean" else _principal(differences, mean)
    result: Floats = (directions / len(mean)).astype(np.float32)
    return result


def _principal(differences: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Of each layer the direction that most of the differences lie in, as long as their mean reaches in it."""
    axes = np.stack([np.linalg.svd(differences[:, layer], full_matrices=False)[2][0] for layer in range(len(mean))])
    reach = (axes * mean).sum(axis=1, keepdims=True)
    result: np.ndarray = axes * reach
    return result


def measure_directions(
    located: Located,
    pairs: Sequence[Pair],
    method: str,
    loading: LoadOptions,
    *,
    progress: Progress | None = None,
    started: Callable[[Loaded], None] = lambda loaded: None,
) -> Mapping[int, Floats]:
    """The directions (width) by layer. Raises what loading raises, PromptTooLongError, and BadInputError for models
    whose layers can't be looked into.
    """
    progress = progress or Progress()
    options = replace(loading, context_length=LONGEST_PROMPT, draft=None)
    with Loaded(located, options, answer_tokens=0, prompt_bytes=0, progress=progress) as loaded:
        started(loaded)
        layers = range(FIRST_LAYER, loaded.shape.layer_count)
        states = _States(loaded, layers)
        try:
            texts = [text for pair in pairs for text in (pair.positive, pair.negative)]
            found = [states.of(text) for text in _counted(texts, f"reading pairs with {located.name}", progress)]
        finally:
            states.close()
    both = np.stack(found)
    directions = steering_directions(both[::2], both[1::2], method)
    return dict(zip(layers, directions, strict=True))


def _counted(texts: Sequence[str], label: str, progress: Progress) -> Iterable[str]:
    lengths = [len(text.encode()) for text in texts]
    with progress.work(label, sum(lengths)):
        for text, done in zip(texts, itertools.accumulate(lengths), strict=True):
            yield text
            progress.update(done)


class _States:
    """What a model's layers give for the last token of texts."""

    def __init__(self, loaded: Loaded, layers: range) -> None:
        self._model = loaded.model
        self._named = NamedTensors(f"l_out-{layer}" for layer in layers)
        options = ContextOptions(LONGEST_PROMPT, loaded.plan.threads, adapts=loaded.options.threads is None)
        self._context = Context(loaded.model, options, loaded.adapters, control=loaded.control, probe=self._named.probe)

    def of(self, text: str) -> Floats:
        """Of each layer (layers, width)."""
        tokens = self._model.tokenize(text, add_special=True, parse_special=False)
        if not 0 < len(tokens) <= LONGEST_PROMPT:
            raise PromptTooLongError(len(tokens), LONGEST_PROMPT)
        self._context.forget(0)
        self._context.decode([Reading(0, tokens, 0)])
        states: Floats = np.stack([tensor.reshape(-1, tensor.shape[-1])[-1] for tensor in self._named.take().values()])
        return states.astype(np.float32)

    def close(self) -> None:
        self._context.close()


def write_control_vector(
    path: Path, directions: Mapping[int, Floats], architecture: str, *, progress: Progress | None = None
) -> Path:
    """Writes a GGUF file as llama.cpp's own tool does, for a model of the architecture."""
    metadata: dict[str, Value] = {
        "general.architecture": ARCHITECTURE,
        f"{ARCHITECTURE}.model_hint": architecture,
        f"{ARCHITECTURE}.layer_count": len(directions),
    }
    jobs = [
        TensorJob(f"direction.{layer}", direction.shape, "F32", lambda direction=direction: [direction])  # type: ignore[misc]
        for layer, direction in directions.items()
    ]
    [written] = write_gguf(path, metadata, jobs, progress=progress or Progress())
    return written


def store_control_vector(
    name: str,
    directions: Mapping[int, Floats],
    architecture: str,
    made_of: str,
    *,
    store: ModelStore | None = None,
) -> Manifest:
    """Stores a control vector; `made_of` tells how it came about. Raises NameTakenError if a model has the name."""
    store, wanted = store or ModelStore(), parse_name(name)
    with made_in(f"{wanted} {made_of}", store) as place:
        path = write_control_vector(place / f"{wanted.name}.gguf", directions, architecture)
        facts = facts_of([read_header(path)])
        return store_file(
            path, wanted, source=made_of, facts=facts, role="control_vector", lineage=(made_of,), store=store
        )
