"""Loading: from files to an engine that answers. The joint between store, hardware and engine."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmasos.engine.adapter import load_adapter
from llmasos.engine.background import do_nothing
from llmasos.engine.bindings import shared
from llmasos.engine.context import Context, ContextOptions, reproducible
from llmasos.engine.devices import list_devices
from llmasos.engine.embedder import Embedder
from llmasos.engine.engine import Engine
from llmasos.engine.model import ModelOptions, load_model
from llmasos.engine.options import LoadOptions
from llmasos.engine.pooled import PooledOptions
from llmasos.engine.ranker import Ranker
from llmasos.engine.scheduler import LOGIT_ROWS
from llmasos.engine.trial import is_tried, require_trial
from llmasos.errors import BadInputError, UsageError
from llmasos.formats import control_vector
from llmasos.formats.gguf import GgufHeader, read_header
from llmasos.formats.lora import require_adapter, require_same_model
from llmasos.formats.purpose import Purpose, purpose_of, reads_in_pieces, unsuited
from llmasos.go_templates.jinja import jinja_of
from llmasos.hardware.machine import read_machine
from llmasos.hardware.plan import Wishes, plan_context, plan_offload
from llmasos.hardware.shape import read_shape
from llmasos.locate import Located, LocatedPart, locate_adapter, locate_control_vector
from llmasos.modelfile import is_go_template
from llmasos.paths import find_home
from llmasos.progress import Progress

if TYPE_CHECKING:
    from llmasos.engine.control import Control
    from llmasos.engine.draft import Drafter

LARGE_FILE_BYTES = 500_000_000  # reading it once more takes long enough to say why


class Loaded:
    """A model in memory and the plan by which it got there; `start` gives an engine once the prompt is known.

    `suggested_context` is a length to have if memory allows; `meanwhile` is called while the weights are read.
    `purpose` is what the model has to be made for, None if that may be anything: then the attribute says what to start.
    `draft` is the model that `options.draft` names. `with` frees the model; what was started has to be closed before.
    """

    def __init__(
        self,
        located: Located,
        options: LoadOptions,
        *,
        answer_tokens: int,
        prompt_bytes: int,
        suggested_context: int = 0,
        progress: Progress | None = None,
        meanwhile: Callable[[], None] = do_nothing,
        purpose: Purpose | None = Purpose.TEXT,
        draft: Located | None = None,
    ) -> None:
        _refuse_contradictions(options)
        headers = [read_header(path) for path in located.paths]
        _refuse_what_is_no_model(headers, located)
        self.purpose = purpose_of(headers)
        if purpose and purpose is not self.purpose:
            raise unsuited(located.name, self.purpose, purpose)
        if self.purpose is not Purpose.TEXT and (options.lora or located.adapters):
            raise UsageError("adapters (LoRA) are applied to models that write text", hint="leave out --lora")
        if self.purpose is not Purpose.TEXT and options.control_vector:
            raise UsageError("control vectors are applied to models that write text", hint="leave out --control-vector")
        vectors = [locate_control_vector(each) for each in options.control_vector]
        self.control = _make_control(vectors, options.control_layers, headers, located)
        adapters = [*located.adapters, *map(locate_adapter, options.lora)]
        for adapter in adapters:
            _refuse_what_does_not_fit(adapter, headers, located)
        self.located = located
        self.options = options
        self._draft = draft
        self._progress = progress or Progress()
        self.answer_tokens = answer_tokens
        self.suggested_context = suggested_context
        self.shape = read_shape(headers)
        self._reads_in_pieces = reads_in_pieces(headers[0])
        self.machine = read_machine(list_devices())
        self.plan = plan_offload(self.shape, self.machine, self._wishes(prompt_bytes // 3 + answer_tokens))
        if located.manifest is None:
            _try_first(located.paths, progress or Progress())
        for adapter in adapters:
            _try_first(located.paths, progress or Progress(), adapter)
        model_options = ModelOptions(self.plan.gpu_layers, options.mmap, options.mlock, self.plan.tensor_split)
        self.model = load_model(located.paths, model_options, meanwhile=meanwhile)
        if self.model.needs_encoder:
            self.model.close()
            raise BadInputError(f"{located.name} is a model with an encoder, which llmasos can't run")
        try:
            self.adapters = [load_adapter(self.model, each.path, each.name, each.scale) for each in adapters]
        except BaseException:
            self.model.close()
            raise

    def start(
        self,
        prompt_tokens: int,
        *,
        parallel: int = 1,
        cells: int = 0,
        kept: int = 0,
        cells_each: int = 0,
        logit_rows: int = LOGIT_ROWS,
    ) -> Engine:
        """An engine whose context has room for that prompt and an answer, as far as the model and the memory allow.

        `parallel` sequences may be worked on at a time; `cells` tokens all together shall have, as many as that many
        answers to the one prompt if it is 0. `kept` more sequences are remembered for those that begin like them.
        With `cells_each` fewer are worked on where the memory does not hold so many tokens of each.
        Each has a context of its own, which is faster, where that takes no more than `cells` or no shared cache is
        wanted: then there may be fewer, and none more are remembered. Of what is scored `logit_rows` rows are made at a
        time.
        """
        wishes = self._wishes(prompt_tokens + self.answer_tokens)
        length = plan_context(self.plan, self.shape, self.machine, wishes).context_length
        apart = self._is_apart(parallel * length, cells if parallel > 1 else 0)
        if apart:
            cells = parallel * length
        elif parallel > 1 and not cells:
            cells = prompt_tokens + parallel * self.answer_tokens
        self.plan = plan_context(self.plan, self.shape, self.machine, replace(wishes, wanted_cells=cells))
        if cells_each:
            parallel = max(1, min(parallel, self.plan.cells // cells_each))
        options = ContextOptions(
            self.plan.context_length,
            self.plan.threads,
            self.options.batch_size,
            self.plan.kv_type,
            self.options.flash_attention,
            parallel,
            self.plan.cells,
            kept,
            adapts=self.options.threads is None,
            guesses=self.options.speculation,
            logit_rows=logit_rows,
        )
        if apart:
            fitting = max(1, self.plan.cells // self.plan.context_length)
            options = replace(options, parallel=fitting, kept=0, pooled=False)
        if self.options.deterministic:
            options = reproducible(options)
        context = Context(self.model, options, self.adapters, control=self.control)
        try:
            return Engine(self.model, context, drafter=self._start_drafter(self._draft, options))
        except BaseException:
            context.close()
            raise

    def _is_apart(self, wanted: int, given: int) -> bool:
        """Whether each that is worked on is to have cells of its own: so many are wanted for that, so many given."""
        if self.options.deterministic or self.options.shared_cache is not None:
            return self.options.deterministic or not self.options.shared_cache
        return wanted <= given and self._draft is None  # drafts are for one at a time there

    def _start_drafter(self, draft: Located | None, options: ContextOptions) -> Drafter | None:
        """A model that guesses ahead, in the memory that is left."""
        if draft is None:
            return None
        from llmasos.engine.draft import Drafter, require_same_vocabulary

        headers = [read_header(path) for path in draft.paths]
        _refuse_what_is_no_model(headers, draft)
        shape, machine = read_shape(headers), read_machine(list_devices())
        wishes = self._wishes(options.context_length)
        plan = plan_offload(shape, machine, replace(wishes, context_length=options.context_length))
        plan = plan_context(plan, shape, machine, replace(wishes, wanted_cells=options.all_cells))
        if draft.manifest is None:
            _try_first(draft.paths, self._progress)
        model = load_model(draft.paths, ModelOptions(plan.gpu_layers, tensor_split=plan.tensor_split))
        try:
            require_same_vocabulary(self.model, model)
            own = replace(
                options, context_length=plan.context_length, cells=plan.cells, kept=options.parallel, pooled=True
            )
            return Drafter(model, Context(model, own))
        except BaseException:
            model.close()
            raise

    def start_embedder(self) -> Embedder:
        """What makes vectors of texts as long as the model learned, or as the plan's context."""
        return Embedder(self.model, self._pooled_options())

    def start_ranker(self) -> Ranker:
        """What scores documents for a query; both together may be as long as a text for an embedder."""
        from llmasos.segments import vectors_of_segments  # NumPy, which nothing else here needs

        return Ranker(self.model, self._pooled_options(), vectors_of=vectors_of_segments(self.located.paths))

    @property
    def template(self) -> str | None:
        """The chat template, in Jinja: one that was stored with the model, or its file's; None if there is none."""
        return chat_template(self.located, self.model.template)

    @property
    def identity(self) -> str:
        """All that has to be the same for what a cache holds to be of use again (`Engine.restore`)."""
        files = [Path(shared._name), *self.located.paths, *(each.path for each in self.located.adapters)]
        files += [locate_adapter(each).path for each in self.options.lora]
        files += [locate_control_vector(each).path for each in self.options.control_vector]
        known = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        added = (self.options.lora, self.options.control_vector, self.options.control_layers)
        return repr((known, added, self.plan.kv_type, self.options.flash_attention))

    def close(self) -> None:
        for adapter in self.adapters:
            adapter.close()
        self.model.close()

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pooled_options(self) -> PooledOptions:
        return PooledOptions(
            min(self.plan.context_length, self.model.trained_context_length),
            self.plan.threads,
            False if self.options.deterministic else self.options.flash_attention,
            self.plan.kv_type,
            in_pieces=self._reads_in_pieces,
            one_by_one=self.options.deterministic,
        )

    def _wishes(self, wanted_tokens: int) -> Wishes:
        return Wishes(
            context_length=self.options.context_length,
            gpu_layers=self.options.gpu_layers,
            kv_type=self.options.kv_type,
            threads=self.options.threads,
            batch_size=self.options.batch_size,
            flash_attention=False if self.options.deterministic else self.options.flash_attention,
            wanted_tokens=max(wanted_tokens, self.suggested_context),
        )


def chat_template(located: Located, of_file: str | None) -> str | None:
    """The chat template that counts, in Jinja, where the model's own file has that one.

    One in Go's language counts if there is no other: what is in the file says more of tools and reasoning.
    """
    stored = located.template
    if stored is None or not is_go_template(stored):
        return stored or of_file
    return of_file or jinja_of(stored)


def _refuse_contradictions(options: LoadOptions) -> None:
    if options.deterministic and options.flash_attention:
        raise UsageError("flash attention adds up in an order of its own", hint="leave it out, or deterministic")
    if options.draft and (options.deterministic or not options.speculation):
        raise UsageError("a draft model has no part in an answer without speculation", hint="leave it out")


def _try_first(paths: Sequence[Path], progress: Progress, adapter: LocatedPart | None = None) -> None:
    """A file that no pull has looked at yet, or an adapter that was not used with this model yet."""
    verdicts = find_home().trials
    size = sum(path.stat().st_size for path in paths)
    files = [*paths, *([adapter.path] if adapter else [])]
    if size > LARGE_FILE_BYTES and not is_tried(files, verdicts):
        progress.note(f"trying {(adapter or paths[0]).name} first, since nobody vouches for it")
    if adapter is None:
        require_trial(paths, verdicts)
    else:
        require_trial(paths, verdicts, adapter=adapter.path, called=adapter.name)


def _refuse_what_does_not_fit(adapter: LocatedPart, headers: Sequence[GgufHeader], located: Located) -> None:
    """What is no LoRA adapter, and adapters for other models."""
    header = read_header(adapter.path)
    require_adapter(header, adapter.name)
    require_same_model(header, adapter.name, headers, located.name)


def _make_control(
    vectors: Sequence[LocatedPart], layers: str | None, headers: Sequence[GgufHeader], located: Located
) -> Control | None:
    """What control vectors together add to which layers. Raises BadInputError for those of another model."""
    if not vectors:
        if layers:
            raise UsageError("--control-layers goes with --control-vector", hint="leave it out")
        return None
    from llmasos.engine.control import combined  # NumPy, which models without one do without

    for vector in vectors:
        header = read_header(vector.path)
        control_vector.require_control_vector(header, vector.name)
        control_vector.require_same_model(header, vector.name, headers, located.name)
    count = headers[0].number("block_count") or 0
    read = [(control_vector.read_directions(each.path), each.scale) for each in vectors]
    return combined(read, count, _layers_of(layers, control_vector.FIRST_LAYER, count - 1))


def _layers_of(text: str | None, first: int, last: int) -> tuple[int, int]:
    """The layers `A-B`, within what there is; all of them if that is None."""
    if text is None:
        return first, last
    found = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text.strip())
    numbers = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not first <= numbers[0] <= numbers[1] <= last:
        raise UsageError(
            f"--control-layers can't be `{text}`", hint=f"A-B, of the layers {first} to {last} of this model"
        )
    return numbers


def _refuse_what_is_no_model(headers: Sequence[GgufHeader], located: Located) -> None:
    """GGUF files that are adapters, projectors, vocabularies, or parts."""
    first, name = headers[0], located.name
    if control_vector.is_control_vector(first):
        raise BadInputError(
            f"{name} is a control vector, which runs with a model",
            hint=f'llmasos run MODEL --control-vector {located.paths[0]} "PROMPT"',
        )
    kind = first.metadata.get("general.type", "model")
    if kind != "model":
        hint = f'llmasos run MODEL --lora {located.paths[0]} "PROMPT"' if kind == "adapter" else None
        raise BadInputError(f"{name} is not a model to run: it says that it is `{kind}`", hint=hint)
    if not any(header.tensors for header in headers):
        raise BadInputError(f"{name} is not a model to run: it has no weights")
    if first.shard_count != len(located.paths):
        raise BadInputError(f"{name} is one of {first.shard_count} parts and {len(located.paths)} are here")
