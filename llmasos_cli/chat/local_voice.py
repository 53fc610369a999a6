"""A model in this process's memory that speaks in a chat, and its cache, kept between runs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llmasos.chat.asked import EngineAsked
from llmasos.chat.conversation import Chat, ChatPrompt
from llmasos.chat.messages import Message
from llmasos.chat.prompt import Prompter
from llmasos.engine.bindings import log
from llmasos.engine.debias import is_debiased, sequence_count
from llmasos.engine.figures import Figures
from llmasos.engine.options import AnswerOptions, SamplingOptions
from llmasos.errors import LlmasosError, PromptTooLongError
from llmasos.load import Loaded
from llmasos_cli import output
from llmasos_cli.chat.speaker import PLAIN_STOP, PLAIN_TEMPLATE
from llmasos_cli.choices import Chosen
from llmasos_cli.local import LocalModel, tell_plan, warn_of_unused_gpu

CELLS_OF_A_COPY = 1_024  # of a question and its answer, read once more to debias it
LONGEST_UNASKED_CONTEXT = 32_768  # tokens; a longer one takes memory that few conversations need
KEPT = 3  # sequences that are remembered beside the conversation: other branches, summaries
WORTH_SAVING = 512  # tokens that were read since the cache was last kept in its file


class LocalVoice:
    """`close` frees the model (`speaker.Voice`)."""

    def __init__(self, model: LocalModel, *, verbose: bool) -> None:
        log.is_shown = verbose
        self._last: EngineAsked | None = None
        self._saved = 0  # of the tokens that the engine has read last, how many the file of the cache holds
        self._saving: threading.Thread | None = None
        self._is_deterministic = model.loading.deterministic
        self._loaded = Loaded(
            model.located,
            model.loading,
            answer_tokens=0,
            prompt_bytes=0,
            suggested_context=model.suggested_context or LONGEST_UNASKED_CONTEXT,
            progress=output.make_progress(),
            draft=model.draft,
        )
        try:
            warn_of_unused_gpu(self._loaded)
            self.has_template = self._loaded.template is not None
            self.own_system = model.located.system if self.has_template else None
            self._chat = Chat(self._loaded.model, self._loaded.template or PLAIN_TEMPLATE)
            parallel = sequence_count(model.sampling, model.beams)
            # what is said before the last question is held once, however many read the rest
            cells = self._loaded.plan.context_length + parallel * CELLS_OF_A_COPY if is_debiased(model.sampling) else 0
            self._engine = self._loaded.start(0, parallel=parallel, cells=cells, kept=KEPT)
        except BaseException:
            self._loaded.close()
            raise
        tell_plan(self._loaded, verbose=verbose)

    @property
    def context_length(self) -> int:
        return self._engine.context.length

    def close(self) -> None:
        self._wait_for_saving()
        self._engine.close()
        self._loaded.close()

    def ask(self, messages: Sequence[Message], chosen: Chosen, seed: int | None) -> EngineAsked:
        prompt = self._prompt(messages, chosen)
        limits = chosen.limits
        if not self.has_template:
            limits = replace(limits, stop=(*limits.stop, PLAIN_STOP))
        sampling = replace(chosen.sampling, seed=seed)
        self._last = EngineAsked(self._engine, prompt, sampling, limits, beams=chosen.beams)
        return self._last

    def ended(self, figures: Figures) -> None:
        self._saved = min(self._saved, figures.cached_tokens)

    def shorten(self, request: str, longest: int) -> str:
        plain = Prompter(self._loaded.model, self._chat, None, think=False)
        try:
            fitted = plain.fit(request, self._engine, "summarize")
        except PromptTooLongError:
            return ""
        prompt: ChatPrompt = replace(plain.prompt(""), tokens=fitted.tokens)
        asked = EngineAsked(self._engine, prompt, SamplingOptions(temperature=0), AnswerOptions(max_tokens=longest))
        for _ in asked.pieces():  # Ctrl-C ends it
            pass
        return asked.told().reply.content.strip()

    def count(self, text: str) -> int:
        return len(self._loaded.model.tokenize(text, add_special=False, parse_special=False))

    def count_prompt(self, messages: Sequence[Message], chosen: Chosen) -> int:
        return len(self._prompt(messages, chosen).tokens)

    def restore(self, path: Path | None) -> int:
        if path is None or not path.exists() or self._is_deterministic:
            return 0
        return self._engine.restore(path, self._loaded.identity)

    def save(self, path: Path | None, *, waits: bool) -> None:
        self._wait_for_saving()
        tokens = self._last.tokens if self._last else []
        unsaved = len(tokens) - self._saved
        if path is None or self._is_deterministic or not unsaved or (unsaved < WORTH_SAVING and not waits):
            return
        self._saving = threading.Thread(target=self._save, args=(path, tokens), daemon=True)
        self._saving.start()
        if waits:
            self._wait_for_saving()

    def _prompt(self, messages: Sequence[Message], chosen: Chosen) -> ChatPrompt:
        has_shape = chosen.sampling.grammar is not None
        return self._chat.prompt(messages, think=chosen.chatting.think, has_shape=has_shape)

    def _save(self, path: Path, tokens: list[int]) -> None:
        try:
            self._saved = self._engine.save(tokens, path, self._loaded.identity)
        except (LlmasosError, OSError) as error:
            output.note(f"note: what was read could not be kept, so it will be read again: {error}")

    def _wait_for_saving(self) -> None:
        if self._saving:
            self._saving.join()
            self._saving = None
