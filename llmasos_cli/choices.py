"""What a command that uses a model was told: the model, here or at a server, and its options in layers.

This is the one place where a model of this machine and one of a server part: both are `Chosen`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from llmasos.client.options import ClientOptions, KeyOptions
from llmasos.engine.options import (
    ALL_OPTIONS,
    AnswerOptions,
    BeamOptions,
    ChatOptions,
    LoadOptions,
    SamplingOptions,
)
from llmasos.server.options import ServeOptions
from llmasos_cli import output
from llmasos_cli.server_place import named_server

if TYPE_CHECKING:
    from llmasos.batch.batch import Model
    from llmasos.chat.asked import Asked, Ended
    from llmasos.engine.ranker import Ranked
    from llmasos_cli.asking import Wanted
    from llmasos_cli.chat.speaker import Speaker

ALL_SETTINGS = (*ALL_OPTIONS, ClientOptions, KeyOptions, ServeOptions)


class Answering(Protocol):
    """What answers the prompts of a run."""

    @property
    def context_length(self) -> int: ...
    def ask(
        self, text: str, sampling: SamplingOptions, tell: Callable[[str], None], *, ended: Ended | None = None
    ) -> Asked:
        """Begins an answer; `tell` is told what was done to the prompt, `ended` called by any thread at its end."""


class Vectors(Protocol):
    """What makes vectors of texts."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""

    def embed(self, texts: Sequence[str], *, normalize: bool) -> list[list[float]]: ...


class Ranking(Protocol):
    """What says how well documents answer a query."""

    def rank(self, query: str, documents: Sequence[str], *, top: int | None = None) -> list[Ranked]:
        """The documents, or the `top` best of them, the best first."""


class Vocabulary(Protocol):
    """What splits texts into tokens."""

    def split(self, text: str, *, special: bool) -> list[tuple[int, str]]:
        """The tokens with their texts; `special`: control tokens by their names, and what the model adds."""


class Chosen(Protocol):
    """A model, how it is to be asked, and what can be done with it."""

    @property
    def name(self) -> str: ...
    @property
    def reference(self) -> str:
        """What names the model again."""

    @property
    def sampling(self) -> SamplingOptions: ...
    @property
    def limits(self) -> AnswerOptions: ...
    @property
    def loading(self) -> LoadOptions: ...
    @property
    def beams(self) -> BeamOptions: ...
    @property
    def chatting(self) -> ChatOptions: ...
    def answering(
        self, wanted: Wanted, *, parallel: int, cells: int = 0, kept: int = 0
    ) -> AbstractContextManager[Answering]:
        """What answers `parallel` prompts at a time that are made as `wanted`; see `Loaded.start`."""

    def speaker(self, *, verbose: bool) -> Speaker:
        """What holds a conversation."""

    def batching(self, *, verbose: bool) -> Model:
        """What does batches."""

    def vectors(self) -> AbstractContextManager[Vectors]:
        """What makes vectors."""

    def ranking(self) -> AbstractContextManager[Ranking]:
        """What ranks documents."""

    def vocabulary(self) -> AbstractContextManager[Vocabulary]:
        """What splits texts."""

    def is_loaded_like(self, other: Chosen) -> bool:
        """Whether what speaks for one can go on with the options of the other."""

    def names(self) -> list[str]:
        """Of all models that there are beside it."""


def choose(
    model: str,
    flags: Mapping[str, Any],
    *,
    offline: bool,
    server: str | None = None,
    task: Mapping[str, Any] | None = None,
    writes: bool = True,
) -> Chosen:
    """The model by its name: at `server`, the server of the settings, or here, where it is pulled if need be.

    For a model that is not to write, the files that only concern writing are not looked for.
    What is wrong with an option is told before anything is asked for.
    """
    from llmasos.settings import configured, layered, read_config, unknown_keys

    for warning in unknown_keys(read_config(), *ALL_SETTINGS):
        output.note(f"warning: {warning}")
    task = task or {}
    for options in ALL_OPTIONS:
        layered(options, task, *configured(options), flags)
    if place := named_server(server):
        from llmasos_cli.remote import choose_there

        return choose_there(place, model, flags, task, offline=offline)
    from llmasos_cli.local import choose_here

    return choose_here(model, flags, task, offline=offline, writes=writes)
