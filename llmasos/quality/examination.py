"""What types make of a model, tried: quantized, and compared with what it was.

Everything is made in the store's folder for what is unfinished, and gone when it was looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from llmasos.engine.options import LoadOptions
from llmasos.engine.trial import require_trial
from llmasos.errors import BadInputError
from llmasos.evaluation.compare import compare
from llmasos.evaluation.perplexity import Settings
from llmasos.evaluation.texts import Text, make_text
from llmasos.formats.gguf import TENSOR_TYPES, read_header
from llmasos.formats.gguf_tensors import open_gguf_model
from llmasos.importance import own_calibration
from llmasos.load import Loaded
from llmasos.locate import Located
from llmasos.make import made_in
from llmasos.progress import Progress
from llmasos.quality.target import Target, choose_for_target
from llmasos.quality.verdict import Verdict
from llmasos.quantization.choices import Choices
from llmasos.quantization.importance import Importance
from llmasos.quantization.prepared import Prepared
from llmasos.quantization.requantize import prepare_quantization
from llmasos.quantization.types import MIXES, TYPES, main_type
from llmasos.store.manifests import facts_of
from llmasos.store.store import ModelStore

SAMPLED_BYTES = 8000  # of the text that costs of errors are measured with: some two thousand tokens


@dataclass(frozen=True, slots=True)
class Examination:
    """How models are compared with their source: over which text, read how, loaded how."""

    text: Text
    loading: LoadOptions
    store: ModelStore
    progress: Progress
    settings: Settings = Settings()
    started: Callable[[Loaded], None] = lambda loaded: None

    def judge(self, source: Located, path: Path) -> Verdict:
        """What has become of the source in a GGUF that was made of it. Raises what comparing raises."""
        made = Located((path,), None)
        comparison = compare(
            source, made, self.text, self.settings, self.loading, progress=self.progress, started=self.started
        )
        if comparison.agreement is None:
            raise BadInputError(f"{path.name} has another vocabulary than {source.name}")
        header = read_header(path)
        weights = sum(math.prod(tensor.shape) for tensor in header.tensors)
        bits = 8 * sum(_byte_count(tensor.type_id, tensor.shape) for tensor in header.tensors) / weights
        return Verdict(facts_of([header]).quantization, path.stat().st_size, bits, comparison)

    def try_out(self, source: Located, prepared: Prepared) -> Verdict:
        """The same, of what would be written."""
        with made_in(f"{source.name} tried as {prepared.type_name}", self.store) as folder:
            [path] = prepared.write(folder / f"{prepared.type_name}.gguf", progress=self.progress)
            require_trial([path], self.store.home.trials)
            return self.judge(source, path)

    def sweep(self, source: Located, prepared: Iterable[Prepared]) -> Iterator[Verdict]:
        """The verdict on each, as they come."""
        for each in prepared:
            verdict = self.try_out(source, each)
            yield replace(verdict, type_name=each.type_name)

    def choices_for(self, source: Located, target: Target, importance: Importance, choices: Choices) -> Choices:
        """Types for all tensors that reach a size, of all such those that diverge the least, as far as is measured.

        What `choices` says of other things than types stays. Raises BadInputError for a size that can't be reached.
        """

        measuring = replace(self, text=_sample(own_calibration().text))  # not the text that the outcome is judged by

        def measure(types: Mapping[str, str]) -> float:
            tried = Choices("Q4_0", allow_requantize=True, types=types)
            return measuring.try_out(source, prepare_quantization(source.paths, tried, importance)).divergence

        model = open_gguf_model(source.paths, whole=())
        types = choose_for_target(
            list(model.tensors.values()), model.header.architecture, importance, target, measure, progress=self.progress
        )
        return replace(choices, mix=nearest_mix(types.values()), types=types)


def _sample(text: str) -> Text:
    """Paragraphs from everywhere in it, of `SAMPLED_BYTES` together."""
    paragraphs = text.split("\n\n")
    step = max(1, round(len(text.encode()) / SAMPLED_BYTES))
    return make_text("a part of llmasos' calibration text", "\n\n".join(paragraphs[::step]))


def nearest_mix(types: Iterable[str]) -> str:
    """The mix by which a file of such types is called: one of the type that most tensors have."""
    listed = list(types)
    commonest = max(sorted(set(listed)), key=listed.count)
    named = [mix for mix in MIXES if main_type(mix).name == commonest]
    return next((mix for mix in named if mix.endswith("_M")), named[0])


def _byte_count(type_id: int, shape: tuple[int, ...]) -> int:
    name, _, _ = TENSOR_TYPES[type_id]
    return math.prod(shape[1:]) * TYPES[name].row_bytes(shape[0])
