"""Loading: from files to an engine that answers. The joint between store, hardware and engine."""

from __future__ import annotations

from collections.abc import Sequence

from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.devices import list_devices
from llmasos.engine.engine import Engine
from llmasos.engine.model import ModelOptions, load_model
from llmasos.engine.options import LoadOptions
from llmasos.engine.trial import require_trial
from llmasos.errors import BadInputError
from llmasos.formats.gguf import GgufHeader, read_header
from llmasos.hardware.machine import read_machine
from llmasos.hardware.plan import Plan, Wishes, plan_offload
from llmasos.hardware.shape import read_shape
from llmasos.locate import Located
from llmasos.paths import find_home


class Loaded:
    """A model in memory and the plan by which it got there; `start` gives the engine once the prompt is known."""

    def __init__(self, located: Located, options: LoadOptions, *, answer_tokens: int, prompt_bytes: int) -> None:
        headers = [read_header(path) for path in located.paths]
        _refuse_what_is_no_model(headers, located)
        self.located = located
        self.options = options
        self.shape = read_shape(headers)
        self.machine = read_machine(list_devices())
        self.answer_tokens = answer_tokens
        self.plan = self._plan(prompt_bytes // 3 + answer_tokens)
        if located.manifest is None:
            self._try_first()
        self.model = load_model(located.paths, ModelOptions(self.plan.gpu_layers, options.mmap, options.mlock))

    def start(self, prompt_tokens: int) -> Engine:
        """An engine whose context has room for that prompt and an answer, as far as the model and the memory allow."""
        self.plan = self._plan(prompt_tokens + self.answer_tokens, self.plan.gpu_layers)
        context = ContextOptions(
            self.plan.context_length,
            self.plan.threads,
            self.options.batch_size,
            self.plan.kv_type,
            self.options.flash_attention,
        )
        return Engine(self.model, Context(self.model, context))

    def _plan(self, wanted_tokens: int, gpu_layers: int | None = None) -> Plan:
        wishes = Wishes(
            context_length=self.options.context_length,
            gpu_layers=self.options.gpu_layers if gpu_layers is None else gpu_layers,
            kv_type=self.options.kv_type,
            threads=self.options.threads,
            batch_size=self.options.batch_size,
            wanted_tokens=wanted_tokens,
        )
        return plan_offload(self.shape, self.machine, wishes)

    def _try_first(self) -> None:
        require_trial(self.located.paths, find_home().trials)


def _refuse_what_is_no_model(headers: Sequence[GgufHeader], located: Located) -> None:
    """Some GGUF files are adapters, projectors or vocabularies: llama.cpp would crash over them, or say little."""
    first = headers[0]
    kind = first.metadata.get("general.type", "model")
    if kind != "model" or not any(header.tensors for header in headers):
        raise BadInputError(
            f"{located.paths[0].name} is not a model to run but {kind if kind != 'model' else 'a file without weights'}"
        )
    if first.shard_count != len(located.paths):
        raise BadInputError(
            f"{located.paths[0].name} is one of {first.shard_count} parts and {len(located.paths)} are here"
        )
