"""One prompt, put to a model that was chosen, and its answers written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmasos.engine.options import ScoreOptions
from llmasos.errors import UsageError
from llmasos_cli import output
from llmasos_cli.answers import Writing, write_answers
from llmasos_cli.choices import Chosen, tell_plan, warn_of_unused_gpu

if TYPE_CHECKING:
    from llmasos.chat.conversation import ChatPrompt
    from llmasos.chat.prompt import Prompter
    from llmasos.engine.engine import Engine
    from llmasos.engine.sequence import Sequence
    from llmasos.load import Loaded

MOST_AT_A_TIME = 16  # answers to one prompt
WORTH_KEEPING = 32  # tokens that were read anew, for which the file of --prompt-cache is written again
UNKNOWN_ANSWER_TOKENS = 1024  # room planned for an answer whose length nobody set


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the flags of one call say, beside the options of the library."""

    text: str
    system: str | None = None
    is_raw: bool = False
    count: int = 1
    as_json: bool = False
    with_stats: bool = False
    to_file: Path | None = None
    prompt_cache: Path | None = None
    logprobs: int | None = None
    extract: str | None = None
    is_verbose: bool = False

    @property
    def scores(self) -> ScoreOptions | None:
        return None if self.logprobs is None else ScoreOptions(top=self.logprobs)


def answer(chosen: Chosen, wanted: Wanted) -> None:
    """Answers one prompt, as often as wanted."""
    with loaded_for(chosen, wanted) as (loaded, prompter):
        asked = prompter.prompt(wanted.text)
        at_a_time = 1 if chosen.loading.deterministic else min(wanted.count, MOST_AT_A_TIME)
        with loaded.start(len(asked.tokens), parallel=max(chosen.beams.num_beams, at_a_time)) as engine:
            tell_plan(loaded, verbose=wanted.is_verbose)
            if wanted.prompt_cache:
                engine.restore(wanted.prompt_cache, loaded.identity)
            fitted = prompter.fit(wanted.text, engine, chosen.limits.on_overflow)
            if fitted.note:
                output.note(f"note: {fitted.note}")
            sequences = _submit(engine, replace(asked, tokens=fitted.tokens), chosen, wanted)
            answers = write_answers(engine, sequences, _writing(asked, chosen, wanted))
            if wanted.prompt_cache and answers[0].prompt_tokens - answers[0].cached_tokens >= WORTH_KEEPING:
                engine.save(fitted.tokens, wanted.prompt_cache, loaded.identity)


@contextlib.contextmanager
def loaded_for(chosen: Chosen, wanted: Wanted) -> Iterator[tuple[Loaded, Prompter]]:
    """The model in memory, and what makes prompts for it."""
    from llmasos.engine.bindings import log
    from llmasos.load import Loaded

    log.is_shown = wanted.is_verbose
    most = chosen.limits.max_tokens
    with Loaded(
        chosen.located,
        chosen.loading,
        answer_tokens=UNKNOWN_ANSWER_TOKENS if most is None else most,
        prompt_bytes=len(wanted.text.encode()),
        suggested_context=chosen.suggested_context,
        progress=output.make_progress(),
        meanwhile=_import_what_comes_next,
        draft=chosen.draft,
    ) as loaded:
        warn_of_unused_gpu(loaded)
        yield loaded, _make_prompter(loaded, chosen, wanted)


def _import_what_comes_next() -> None:
    """The template engine takes 70 ms to import, and reading the weights needs no interpreter."""
    import llmasos.chat.prompt  # noqa: F401


def _make_prompter(loaded: Loaded, chosen: Chosen, wanted: Wanted) -> Prompter:
    from llmasos.chat.conversation import Chat
    from llmasos.chat.messages import stored_messages
    from llmasos.chat.prompt import Prompter

    text = loaded.template
    if wanted.is_raw:
        if wanted.system:
            raise UsageError("--raw sends the text as it is, so there is no place for --system")
        return Prompter(loaded.model, None, None)
    if text is None and (loaded.located.template or loaded.located.system):
        output.note("note: the model's template is in a language that llmasos does not run; the prompt goes as it is")
    own = loaded.located.system if text else None
    system = own if wanted.system is None else wanted.system
    chat = Chat(loaded.model, text) if text else None
    has_shape = chosen.sampling.grammar is not None
    before = stored_messages(loaded.located.messages) if chat else []
    return Prompter(loaded.model, chat, system, before=before, think=chosen.chatting.think, has_shape=has_shape)


def _submit(engine: Engine, asked: ChatPrompt, chosen: Chosen, wanted: Wanted) -> list[Sequence]:
    """One sequence for each answer, or one for all of a beam search."""
    from llmasos.engine.sampler import with_seeds

    sampling, limits, beams = chosen.sampling, chosen.limits, chosen.beams
    if beams.num_beams > 1:
        return [engine.submit(asked.tokens, sampling, limits, beams, shown=asked.shown)]
    return [
        engine.submit(asked.tokens, each, limits, scores=wanted.scores, shown=asked.shown)
        for each in with_seeds(sampling, wanted.count)
    ]


def _writing(asked: ChatPrompt, chosen: Chosen, wanted: Wanted) -> Writing:
    return Writing(
        form=asked.form,
        shows_thought=output.is_seen() if chosen.chatting.think is None else chosen.chatting.think,
        as_json=wanted.as_json,
        with_stats=wanted.with_stats,
        to_file=wanted.to_file,
        most=wanted.count,
        extract=wanted.extract,
    )
