"""Importance matrices on request: read, or made by having the model itself read a text. The joint to the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmasos.engine.activations import collect_activations
from llmasos.engine.devices import list_devices
from llmasos.engine.model import Model, ModelOptions, load_model
from llmasos.engine.trial import require_trial
from llmasos.errors import BadInputError, UsageError
from llmasos.formats.gguf import read_header
from llmasos.formats.purpose import Purpose, purpose_of
from llmasos.hardware.machine import read_machine
from llmasos.hardware.plan import Wishes, plan_offload
from llmasos.hardware.shape import read_shape
from llmasos.paths import Home
from llmasos.progress import Progress
from llmasos.quantization.choices import Choices
from llmasos.quantization.importance import Activations, Importance, read_importance, write_importance
from llmasos.quantization.types import FLOAT_TYPES

AUTO = "auto"
CHUNK_TOKENS = 512  # as llama-imatrix reads
OWN_TEXT = Path(__file__).with_name("quantization") / "calibration.txt"
OWN_NAME = "llmasos calibration text"
YET_TO_BE_MADE = Importance({}, AUTO, (OWN_NAME,), 1, CHUNK_TOKENS)  # all that is known of it before


@dataclass(frozen=True, slots=True)
class Calibration:
    """A text to read; `name` is what is noted of it."""

    text: str
    name: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def own_calibration() -> Calibration:
    """The text that comes with llmasos: many languages, and code."""
    return Calibration(OWN_TEXT.read_text(encoding="utf-8"), OWN_NAME)


def read_calibration(path: Path) -> Calibration:
    """A text from a file; a newline at its end does not count, as with llama-imatrix. Raises BadInputError."""
    try:
        text = path.read_text(encoding="utf-8").removesuffix("\n")
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path} is no text in UTF-8") from error
    if not text.strip():
        raise BadInputError(f"{path} is empty", hint="give a text of some ten thousand words, or none for llmasos' own")
    return Calibration(text, str(path))


def collect(paths: Sequence[Path], calibration: Calibration, home: Home, progress: Progress) -> Importance:
    """Has a model, given by its GGUF files, read a text. Files that were not tried yet are tried first.

    Raises BadInputError for a text shorter than one pass and for models that can't read alone, DoesNotFitError, and
    what loading and the trial raise.
    """
    require_trial(paths, home.trials)
    headers = [read_header(path) for path in paths]
    shape, machine = read_shape(headers), read_machine(list_devices())
    plan = plan_offload(shape, machine, Wishes(context_length=CHUNK_TOKENS))
    model = load_model(paths, ModelOptions(plan.gpu_layers, tensor_split=plan.tensor_split))
    try:
        if model.needs_encoder:
            raise BadInputError(f"{paths[0].name} is a model with an encoder, which llmasos can't run")
        chunks = _chunks(model, calibration)
        found = collect_activations(
            model,
            chunks,
            len(calibration.text.encode()),
            threads=plan.threads,
            is_pooled=purpose_of(headers) is not Purpose.TEXT,
            progress=progress,
        )
    finally:
        model.close()
    entries = {name: Activations(squares.sums, squares.counts) for name, squares in found.items()}
    return Importance(entries, AUTO, (calibration.name,), len(chunks), len(chunks[0]))


def find_importance(wanted: str, identity: str, home: Home) -> Importance | None:
    """The importance matrix in the file `wanted`; for `auto` what `make_importance` kept before, None if nothing.

    Raises what `read_importance` does for a file.
    """
    if wanted != AUTO:
        return read_importance(Path(wanted), called=wanted)
    kept = _kept_at(identity, home)
    if not kept.exists():
        return None
    try:
        return read_importance(kept, called=AUTO)
    except BadInputError:  # made anew then
        return None


def make_importance(paths: Sequence[Path], identity: str, home: Home, progress: Progress) -> Importance:
    """What a model makes of llmasos' own text, kept by `identity`, which stands for the model's bytes."""
    importance = collect(paths, own_calibration(), home, progress)
    write_importance(_kept_at(identity, home), importance)
    return importance


def require_quantized(choices: Choices) -> None:
    """Raises UsageError for choices that leave nothing to weigh."""
    tensors = (choices.output_type, choices.embedding_type)
    if choices.mix in ("auto", *FLOAT_TYPES) and all(each is None or each in FLOAT_TYPES for each in tensors):
        raise UsageError(
            f"an importance matrix is of no use for {choices.mix}, which quantizes nothing",
            hint="leave out --imatrix, or choose a quantized type such as Q4_K_M",
        )


def _kept_at(identity: str, home: Home) -> Path:
    key = hashlib.sha256(f"{identity} {own_calibration().digest}".encode()).hexdigest()
    return home.importance / f"{key}.gguf"


def _chunks(model: Model, calibration: Calibration) -> list[list[int]]:
    """Pieces of one length; each begins with the token that begins texts, if the model wants that, in place of its own.

    What is left at the end is dropped.
    """
    tokens = model.tokenize(calibration.text, add_special=True, parse_special=False)
    length = min(CHUNK_TOKENS, model.trained_context_length or CHUNK_TOKENS)
    if len(tokens) < length:
        raise BadInputError(
            f"the text has {len(tokens)} tokens, and {length} at least are needed",
            hint="some hundred times as many are better; without -f llmasos' own text is read",
        )
    chunks = [tokens[start : start + length] for start in range(0, len(tokens) - length + 1, length)]
    begin = model.special_token("bos") if model.adds("bos") else None
    return chunks if begin is None else [[begin, *chunk[1:]] for chunk in chunks]
