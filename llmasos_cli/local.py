"""A model of this machine, for commands: found on this disk or pulled, loaded into this process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmasos.engine.debias import is_debiased, room_for_prefixes, sequence_count
from llmasos.engine.options import (
    ALL_OPTIONS,
    AnswerOptions,
    BeamOptions,
    ChatOptions,
    LoadOptions,
    SamplingOptions,
)
from llmasos_cli import output

if TYPE_CHECKING:
    from llmasos.batch.batch import Model
    from llmasos.chat.asked import Ended, EngineAsked
    from llmasos.chat.conversation import ChatPrompt
    from llmasos.chat.prompt import Prompter
    from llmasos.engine.embedder import Embedder
    from llmasos.engine.engine import Engine
    from llmasos.engine.model import Model as LoadedModel
    from llmasos.engine.ranker import Ranker
    from llmasos.formats.purpose import Purpose
    from llmasos.load import Loaded
    from llmasos.locate import Located
    from llmasos_cli.asking import Wanted
    from llmasos_cli.chat.speaker import Speaker
    from llmasos_cli.choices import Chosen

FILES_OF_A_MODEL = ("lora", "control_vector", "draft")
WORTH_KEEPING = 32  # tokens that were read anew, for which the file of --prompt-cache is written again
UNKNOWN_ANSWER_TOKENS = 1024  # room planned for an answer whose length nobody set


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model and how it is to be loaded and asked (`choices.Chosen`)."""

    located: Located
    draft: Located | None
    sampling: SamplingOptions
    limits: AnswerOptions
    loading: LoadOptions
    beams: BeamOptions
    chatting: ChatOptions
    suggested_context: int

    @property
    def name(self) -> str:
        return self.located.name

    @property
    def reference(self) -> str:
        """A stored one by its name, a file by its path."""
        return str(self.located.manifest.name) if self.located.manifest else str(self.located.paths[0].absolute())

    @contextlib.contextmanager
    def answering(self, wanted: Wanted, *, parallel: int, cells: int = 0, kept: int = 0) -> Iterator[LocalAnswering]:
        with self._loaded_for(wanted) as (loaded, prompter):
            prompt_tokens = len(prompter.prompt(wanted.text).tokens)
            if is_debiased(self.sampling):
                prompt_tokens += room_for_prefixes(self.sampling)
                cells = cells or parallel * (prompt_tokens + loaded.answer_tokens)
            with loaded.start(prompt_tokens, parallel=parallel, cells=cells, kept=kept) as engine:
                tell_plan(loaded, verbose=wanted.is_verbose)
                if wanted.prompt_cache:
                    engine.restore(wanted.prompt_cache, loaded.identity)
                answering = LocalAnswering(engine, prompter, self, wanted)
                yield answering
                if wanted.prompt_cache and answering.first_read >= WORTH_KEEPING:
                    engine.save(answering.first_prompt, wanted.prompt_cache, loaded.identity)

    def speaker(self, *, verbose: bool) -> Speaker:
        from llmasos_cli.chat.local_voice import LocalVoice
        from llmasos_cli.chat.speaker import Speaker

        return Speaker(self, LocalVoice(self, verbose=verbose))

    def batching(self, *, verbose: bool) -> Model:
        from llmasos.batch.local import LocalBatchModel
        from llmasos.engine.bindings import log

        log.is_shown = verbose

        def tell_start(loaded: Loaded, at_a_time: int) -> None:
            warn_of_unused_gpu(loaded)
            tell_plan(loaded, verbose=verbose)
            if verbose:
                output.note(f"llmasos: {at_a_time} at a time")

        return LocalBatchModel(
            self.located,
            self.draft,
            self.loading,
            self.sampling,
            self.limits,
            self.chatting,
            self.suggested_context,
            tell_start,
            output.make_progress(),
        )

    @contextlib.contextmanager
    def vectors(self) -> Iterator[LocalVectors]:
        from llmasos.formats.purpose import Purpose

        with self._loaded(Purpose.EMBEDDING) as loaded, loaded.start_embedder() as embedder:
            yield LocalVectors(embedder)

    @contextlib.contextmanager
    def ranking(self) -> Iterator[Ranker]:
        from llmasos.formats.purpose import Purpose

        with self._loaded(Purpose.RANKING) as loaded, loaded.start_ranker() as ranker:
            yield ranker

    @contextlib.contextmanager
    def vocabulary(self) -> Iterator[LocalVocabulary]:
        from llmasos.engine.model import ModelOptions, load_model

        model = load_model(self.located.paths, ModelOptions(vocabulary_only=True))
        try:
            yield LocalVocabulary(model)
        finally:
            model.close()

    def is_loaded_like(self, other: Chosen) -> bool:
        return (
            isinstance(other, LocalModel)
            and (self.located, self.loading) == (other.located, other.loading)
            and sequence_count(self.sampling, self.beams) == sequence_count(other.sampling, other.beams)
        )

    def names(self) -> list[str]:
        return installed_names()

    def _loaded(self, purpose: Purpose) -> Loaded:
        """The model in memory, for one that writes no text."""
        from llmasos.load import Loaded

        return Loaded(
            self.located,
            self.loading,
            answer_tokens=0,
            prompt_bytes=0,
            suggested_context=self.suggested_context,
            progress=output.make_progress(),
            purpose=purpose,
        )

    @contextlib.contextmanager
    def _loaded_for(self, wanted: Wanted) -> Iterator[tuple[Loaded, Prompter]]:
        """The model in memory, and what makes prompts for it."""
        from llmasos.engine.bindings import log
        from llmasos.load import Loaded

        log.is_shown = wanted.is_verbose
        most = self.limits.max_tokens
        with Loaded(
            self.located,
            self.loading,
            answer_tokens=UNKNOWN_ANSWER_TOKENS if most is None else most,
            prompt_bytes=len(wanted.text.encode()),
            suggested_context=self.suggested_context,
            progress=output.make_progress(),
            meanwhile=_import_what_comes_next,
            draft=self.draft,
        ) as loaded:
            warn_of_unused_gpu(loaded)
            yield loaded, self._make_prompter(loaded, wanted)

    def _make_prompter(self, loaded: Loaded, wanted: Wanted) -> Prompter:
        from llmasos.chat.conversation import Chat
        from llmasos.chat.messages import stored_messages
        from llmasos.chat.prompt import Prompter

        text = loaded.template
        if wanted.is_raw:
            return Prompter(loaded.model, None, None)
        if text is None and (self.located.template or self.located.system):
            output.note(
                "note: the model's template is in a language that llmasos does not run; the prompt goes as it is"
            )
        own = self.located.system if text else None
        system = own if wanted.system is None else wanted.system
        chat = Chat(loaded.model, text) if text else None
        has_shape = self.sampling.grammar is not None
        before = stored_messages(self.located.messages) if chat else []
        return Prompter(loaded.model, chat, system, before=before, think=self.chatting.think, has_shape=has_shape)


def choose_here(
    model: str, flags: Mapping[str, Any], task: Mapping[str, Any], *, offline: bool, writes: bool
) -> LocalModel:
    """Pulls the model if need be. The layers: its own parameters, a task's, config.toml, the environment, the flags."""
    from llmasos.locate import locate, locate_adapter, locate_control_vector
    from llmasos.settings import configured, is_offline, layered, own_parameters

    asked = layered(LoadOptions, *configured(LoadOptions), flags)
    for adapter in asked.lora if writes else ():
        locate_adapter(adapter)
    for vector in asked.control_vector if writes else ():
        locate_control_vector(vector)
    offline = offline or is_offline()
    located = locate(model, progress=output.make_progress(), offline=offline)
    own, troubles = own_parameters(located.parameters or "{}", *ALL_OPTIONS)
    for trouble in troubles:
        output.note(f"note: {trouble}")
    suggested_context = own.pop("context_length", 0)
    for name in FILES_OF_A_MODEL:
        own.pop(name, None)  # a model names no files of this disk

    def chosen(options: type[Any]) -> Any:
        return layered(options, own, task, *configured(options), flags)

    loading = chosen(LoadOptions)
    draft = loading.draft if writes else None
    return LocalModel(
        located=located,
        draft=locate(draft, progress=output.make_progress(), offline=offline) if draft else None,
        sampling=chosen(SamplingOptions),
        limits=chosen(AnswerOptions),
        loading=loading,
        beams=chosen(BeamOptions),
        chatting=chosen(ChatOptions),
        suggested_context=suggested_context,
    )


class LocalAnswering:
    """An engine that answers the prompts of a run (`choices.Answering`)."""

    def __init__(self, engine: Engine, prompter: Prompter, model: LocalModel, wanted: Wanted) -> None:
        self._engine, self._prompter, self._model, self._wanted = engine, prompter, model, wanted
        self._first: tuple[list[int], EngineAsked] | None = None
        self._made: tuple[str, ChatPrompt] | None = None

    @property
    def context_length(self) -> int:
        return self._engine.context.length

    @property
    def first_prompt(self) -> list[int]:
        """The tokens of the first prompt that was put to it."""
        return self._first[0] if self._first else []

    @property
    def first_read(self) -> int:
        """How many of these had to be read."""
        if self._first is None:
            return 0
        figures = self._first[1].told().figures
        return figures.prompt_tokens - figures.cached_tokens

    def ask(
        self, text: str, sampling: SamplingOptions, tell: Callable[[str], None], *, ended: Ended | None = None
    ) -> EngineAsked:
        from llmasos.chat.asked import EngineAsked

        prompt = self._prompt(text, tell)
        asked = EngineAsked(
            self._engine,
            prompt,
            sampling,
            self._model.limits,
            beams=self._model.beams,
            scores=self._wanted.scores,
            ended=ended,
        )
        self._first = self._first or (prompt.tokens, asked)
        return asked

    def _prompt(self, text: str, tell: Callable[[str], None]) -> ChatPrompt:
        """The prompt, made to fit; of several answers to the same one, it is made once."""
        if self._made is None or self._made[0] != text:
            asked = self._prompter.prompt(text)
            fitted = self._prompter.fit(text, self._engine, self._model.limits.on_overflow)
            if fitted.note:
                tell(fitted.note)
            is_whole = fitted.tokens == asked.tokens
            place = asked.question_at if is_whole else None
            self._made = text, replace(asked, tokens=fitted.tokens, question_at=place)
        return self._made[1]


class LocalVectors:
    """An embedder (`choices.Vectors`)."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(tokens) for tokens in self._tokens(texts)]

    def embed(self, texts: Sequence[str], *, normalize: bool) -> list[list[float]]:
        return self._embedder.embed(self._tokens(texts), normalize=normalize)

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        model = self._embedder.model
        return [model.tokenize(text, add_special=True, parse_special=False) for text in texts]


class LocalVocabulary:
    """A model of which only the vocabulary is in memory (`choices.Vocabulary`)."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def split(self, text: str, *, special: bool) -> list[tuple[int, str]]:
        tokens = self._model.tokenize(text, add_special=special, parse_special=special)
        return [(token, self._model.piece(token, special=True).decode("utf-8", "replace")) for token in tokens]


def installed_names() -> list[str]:
    """Of the models in the store that can be asked."""
    from llmasos.store.store import ModelStore

    return [str(manifest.name) for manifest in ModelStore().models() if manifest.kind == "model"]


def tell_plan(loaded: Loaded, *, verbose: bool) -> None:
    """What was chosen for this machine, where that is of concern or asked for."""
    from llmasos.hardware.plan import describe

    if verbose:
        output.note(f"llmasos: {describe(loaded.plan, loaded.machine)}")
    if loaded.plan.beyond_training:
        output.note("warning: the context is longer than what the model was trained for; answers may suffer")


def warn_of_unused_gpu(loaded: Loaded) -> None:
    """Nothing runs on the processor silently while a graphics card is there, unless that was asked for."""
    from llmasos.engine.build import FLAGS, install_command

    asked = loaded.options.gpu_layers
    if loaded.machine.cards or asked == 0:
        return
    if maker := loaded.machine.unused_gpu:
        output.note(f"warning: the engine was not built for this machine's {maker} graphics card; the processor works")
        output.note(f"hint: {install_command(FLAGS[maker])}, or --gpu-layers 0 to be content with that")
    elif asked:
        output.note(f"warning: --gpu-layers {asked} was asked for and there is no graphics card; the processor works")


def _import_what_comes_next() -> None:
    """The template engine takes 70 ms to import, and reading the weights needs no interpreter."""
    import llmasos.chat.prompt  # noqa: F401
