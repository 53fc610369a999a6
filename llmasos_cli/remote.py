"""A model of a server, for commands: named there, loaded there, asked over HTTP. Nothing is looked up here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from llmasos.engine.options import (
    AnswerOptions,
    BeamOptions,
    ChatOptions,
    LoadOptions,
    SamplingOptions,
)
from llmasos.errors import BadInputError, UsageError
from llmasos.openai.bodies import LOADED_WITH
from llmasos_cli import output
from llmasos_cli.server_place import connect

if TYPE_CHECKING:
    from llmasos.batch.batch import Model
    from llmasos.chat.asked import Ended
    from llmasos.client.connection import Connection
    from llmasos.client.served import Question, ServedAsked, ServedModel
    from llmasos.formats.purpose import Purpose
    from llmasos_cli.asking import Wanted
    from llmasos_cli.chat.speaker import Speaker
    from llmasos_cli.choices import Chosen

NOT_OF_A_RUN = ("truncate", "summarize")  # of --on-overflow: a server cuts no prompts
SENT = (SamplingOptions, AnswerOptions, ChatOptions, BeamOptions)


@dataclass(frozen=True, slots=True)
class ServerModel:
    """A model by the server's name for it (`choices.Chosen`).

    `given` are the options that somebody named here, by their fields: all others are the server's and the model's own.
    """

    server: str
    name: str
    given: Mapping[str, Any]
    loaded_with: Mapping[str, Any]
    sampling: SamplingOptions
    limits: AnswerOptions
    chatting: ChatOptions
    loading: LoadOptions
    beams: BeamOptions
    offline: bool

    @property
    def reference(self) -> str:
        return self.name

    @contextlib.contextmanager
    def answering(self, wanted: Wanted, *, parallel: int, cells: int = 0, kept: int = 0) -> Iterator[ServerAnswering]:
        if wanted.prompt_cache:
            raise UsageError("a server keeps what it has read by itself", hint="leave out --prompt-cache")
        if self.limits.on_overflow in NOT_OF_A_RUN:
            raise UsageError(f"a server can't {self.limits.on_overflow} prompts", hint="--on-overflow error or shift")
        with self.connected(patient=parallel > 1) as model:
            if wanted.is_verbose:
                output.note(f"llmasos: {self.name} at {model.connection.address.text}")
            yield ServerAnswering(model, self, wanted)

    def speaker(self, *, verbose: bool) -> Speaker:
        from llmasos_cli.chat.server_voice import ServerVoice
        from llmasos_cli.chat.speaker import Speaker

        if verbose:
            output.note(f"llmasos: {self.name} at {self.server}")
        return Speaker(self, ServerVoice(self))

    def batching(self, *, verbose: bool) -> Model:
        from llmasos.client.batches import ServerBatchModel

        return ServerBatchModel(
            partial(self.connected, patient=True), self.given, self.limits, output.note if verbose else None
        )

    @contextlib.contextmanager
    def vectors(self) -> Iterator[ServerVectors]:
        from llmasos.formats.purpose import Purpose

        with self.connected(Purpose.EMBEDDING, patient=True) as model:
            yield ServerVectors(model)

    @contextlib.contextmanager
    def ranking(self) -> Iterator[ServedModel]:
        from llmasos.formats.purpose import Purpose

        with self.connected(Purpose.RANKING, patient=True) as model:
            yield model

    @contextlib.contextmanager
    def vocabulary(self) -> Iterator[ServedModel]:
        with self.connected(patient=True) as model:
            yield model

    def is_loaded_like(self, other: Chosen) -> bool:
        return isinstance(other, ServerModel) and (self.server, self.name, self.loaded_with) == (
            other.server,
            other.name,
            other.loaded_with,
        )

    def names(self) -> list[str]:
        with connect(self.server, offline=self.offline) as connection:
            return names_at(connection)

    @contextlib.contextmanager
    def connected(self, purpose: Purpose | None = None, *, patient: bool = False) -> Iterator[ServedModel]:
        """The model, which has to be made for `purpose` if one is given; see `ServedModel`."""
        from llmasos.client.served import ServedModel

        with connect(self.server, offline=self.offline) as connection:
            model = ServedModel(connection, self.name, self.loaded_with, patient=patient)
            if purpose:
                model.require(purpose)
            yield model


def choose_there(
    server: str, model: str, flags: Mapping[str, Any], task: Mapping[str, Any], *, offline: bool
) -> ServerModel:
    """The layers: a task's options, config.toml, the environment, the flags; below them stand the server's.

    How models are loaded is the server's affair, but for what a request may say of it. Raises UsageError for the rest.
    """
    from llmasos.settings import configured, given_values, layered

    for each in fields(LoadOptions):
        if each.name in flags and each.name not in LOADED_WITH:
            raise UsageError(f"--{each.name.replace('_', '-')} is for models that are loaded here", hint="leave it out")
    layers = {options: (task, *configured(options), flags) for options in SENT}
    given = {name: value for options, each in layers.items() for name, value in given_values(options, each).items()}
    loaded_with = {name: flags[name] for name in LOADED_WITH if name in flags}
    return ServerModel(
        server=server,
        name=model,
        given=given,
        loaded_with=loaded_with,
        loading=layered(LoadOptions, loaded_with),
        sampling=layered(SamplingOptions, *layers[SamplingOptions]),
        limits=layered(AnswerOptions, *layers[AnswerOptions]),
        chatting=layered(ChatOptions, *layers[ChatOptions]),
        beams=layered(BeamOptions, *layers[BeamOptions]),
        offline=offline,
    )


class ServerAnswering:
    """A server's model that answers the prompts of a run (`choices.Answering`)."""

    def __init__(self, model: ServedModel, chosen: ServerModel, wanted: Wanted) -> None:
        from llmasos.formats.purpose import Purpose

        model.require(Purpose.TEXT)
        self._model, self._chosen, self._wanted = model, chosen, wanted
        self._is_raw = wanted.is_raw or not model.about.has_template
        if wanted.system and self._is_raw:
            raise BadInputError(
                "this model has no chat template, so it takes no system prompt", hint="write it into the prompt itself"
            )

    @property
    def context_length(self) -> int:
        return self._model.about.context_length

    def ask(
        self, text: str, sampling: SamplingOptions, tell: Callable[[str], None], *, ended: Ended | None = None
    ) -> ServedAsked:
        return self._model.ask(self._question(text, sampling), ended=ended)

    def _question(self, text: str, sampling: SamplingOptions) -> Question:
        from llmasos.client.served import Question

        options = {**self._chosen.given, "seed": sampling.seed}
        if self._chosen.beams.num_beams > 1:
            options["n"] = self._wanted.count  # the best of one search
        if self._is_raw:
            return Question(text, options, self._wanted.scores)
        asked = [*self._model.about.messages, {"role": "user", "content": text}]
        return Question(self._model.conversation(asked, self._wanted.system), options, self._wanted.scores)


class ServerVectors:
    """A server's model that makes vectors (`choices.Vectors`)."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    def count(self, texts: Sequence[str]) -> list[int]:
        return self._model.count_texts(texts)

    def embed(self, texts: Sequence[str], *, normalize: bool) -> list[list[float]]:
        return self._model.vectors(texts, normalize=normalize)


def names_at(connection: Connection) -> list[str]:
    """Of the models that a server has."""
    return [str(each["id"]) for each in connection.get("/v1/models", "data")]
