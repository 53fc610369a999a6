"""The model of a chat: loaded, asked for one answer at a time, and its cache kept between runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmasos.chat.answers.reader import read_reply
from llmasos.chat.conversation import Chat, ChatPrompt
from llmasos.chat.fitting import Tools
from llmasos.chat.messages import Message
from llmasos.chat.overflow import SUMMARY_REQUEST
from llmasos.chat.prompt import Prompter, follow
from llmasos.chat.sessions.history import Entry, messages_of
from llmasos.engine.bindings import log
from llmasos.engine.options import AnswerOptions, SamplingOptions
from llmasos.engine.sequence import Answer, Chunk, Event
from llmasos.errors import LlmasosError, PromptTooLongError
from llmasos.load import Loaded
from llmasos_cli import output
from llmasos_cli.choices import Chosen, tell_plan, warn_of_unused_gpu

LONGEST_UNASKED_CONTEXT = 32_768  # tokens; a longer one takes memory that few conversations need
KEPT = 3  # sequences that are remembered beside the conversation: other branches, summaries
SECONDS_BETWEEN_TICKS = 0.05
WORTH_SAVING = 512  # tokens that were read since the cache was last kept in its file
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
PLAIN_STOP = "\nUser:"


@dataclass(frozen=True, slots=True)
class Usage:
    """How the context was used by the last answer, in tokens."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    tokens_per_second: float = 0.0

    @property
    def all(self) -> int:
        return self.prompt + self.completion


class Speaker:
    """A model in memory that answers messages. `close` frees it."""

    def __init__(self, chosen: Chosen, *, verbose: bool) -> None:
        log.is_shown = verbose
        self.chosen = chosen
        self.usage = Usage()
        self._tokens: list[int] = []  # that the engine has read last
        self._saved = 0  # of these, how many the file of the cache holds
        self._saving: threading.Thread | None = None
        self._loaded = Loaded(
            chosen.located,
            chosen.loading,
            answer_tokens=0,
            prompt_bytes=0,
            suggested_context=chosen.suggested_context or LONGEST_UNASKED_CONTEXT,
            progress=output.make_progress(),
            draft=chosen.draft,
        )
        try:
            warn_of_unused_gpu(self._loaded)
            self.has_template = self._loaded.template is not None
            self._chat = Chat(self._loaded.model, self._loaded.template or PLAIN_TEMPLATE)
            self._engine = self._loaded.start(0, parallel=chosen.beams.num_beams, kept=KEPT)
        except BaseException:
            self._loaded.close()
            raise
        tell_plan(self._loaded, verbose=verbose)

    @property
    def name(self) -> str:
        return self.chosen.located.name

    @property
    def own_system(self) -> str | None:
        """The system prompt that the model brings."""
        return self.chosen.located.system if self.has_template else None

    @property
    def context_length(self) -> int:
        return self._engine.context.length

    def close(self) -> None:
        self._wait_for_saving()
        self._engine.close()
        self._loaded.close()

    # Asking.

    def prompt(self, messages: Sequence[Message]) -> ChatPrompt:
        has_shape = self.chosen.sampling.grammar is not None
        return self._chat.prompt(messages, think=self.chosen.chatting.think, has_shape=has_shape)

    def answer(
        self, prompt: ChatPrompt, stopping: threading.Event, *, seed: int | None
    ) -> Generator[Chunk | None, None, Answer]:
        """The pieces of an answer, None now and then while there is none; at last the Answer is returned.

        `stopping` ends it, and so does leaving early; what came stays.
        """
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        limits, beams = self.chosen.limits, self.chosen.beams
        if not self.has_template:
            limits = replace(limits, stop=(*limits.stop, PLAIN_STOP))
        sequence = self._engine.submit(
            prompt.tokens,
            replace(self.chosen.sampling, seed=seed),
            limits,
            beams if beams.num_beams > 1 else None,
            listener=events.put,
            shown=prompt.shown,
        )
        try:
            while True:
                if stopping.is_set():
                    self._engine.cancel(sequence)
                try:
                    event = events.get(timeout=SECONDS_BETWEEN_TICKS)
                except queue.Empty:
                    yield None
                    continue
                if not isinstance(event, Chunk):
                    break
                yield event
        except BaseException:
            self._engine.cancel(sequence)
            raise
        if isinstance(event, BaseException):
            raise event
        self._note(prompt, event)
        return event

    def _note(self, prompt: ChatPrompt, answer: Answer) -> None:
        self.usage = Usage(answer.prompt_tokens, answer.cached_tokens, len(answer.tokens), answer.tokens_per_second)
        self._saved = min(self._saved, answer.cached_tokens)
        self._tokens = [*prompt.tokens, *answer.tokens]

    # Counting and summarizing.

    def count(self, text: str) -> int:
        return len(self._loaded.model.tokenize(text, add_special=False, parse_special=False))

    def count_messages(self, entries: Sequence[Entry], system: str | None, summary: str = "") -> int:
        """Tokens of the prompt that these messages make; of none at all, 0."""
        messages = messages_of(list(entries), system, summary)
        if not any(message["role"] == "user" for message in messages):
            return sum(self.count(message["content"]) for message in messages)
        return len(self.prompt(messages).tokens)

    def fitting(self, system: str | None) -> Tools:
        return Tools(
            count=lambda entries, summary: self.count_messages(entries, system, summary), summarize=self._summarize
        )

    def _summarize(self, entries: Sequence[Entry], summary: str, longest: int) -> str:
        output.note("note: the context is full; the oldest turns are being summarized")
        told = [f"Before: {summary}"] if summary else []
        text = "\n\n".join([*told, *(f"{entry.role.capitalize()}: {entry.content}" for entry in entries)])
        plain = Prompter(self._loaded.model, self._chat, None, think=False)
        request = f"{SUMMARY_REQUEST}\n\n{text}"
        try:
            fitted = plain.fit(request, self._engine, "summarize")
        except PromptTooLongError:
            return summary
        prompt = plain.prompt("")
        limits = AnswerOptions(max_tokens=longest)
        sequence = self._engine.submit(fitted.tokens, SamplingOptions(temperature=0), limits, shown=prompt.shown)
        text = "".join(piece.text for piece in follow(self._engine, sequence) if isinstance(piece, Chunk))
        return read_reply(text, prompt.form).content.strip()

    # What was read, from one run to the next.

    def restore(self, path: Path | None) -> int:
        """Takes in what a file holds of an earlier run; of how many tokens that is."""
        if path is None or not path.exists() or self.chosen.loading.deterministic:
            return 0
        return self._engine.restore(path, self._loaded.identity)

    def save(self, path: Path | None, *, waits: bool) -> None:
        """Keeps what was read in a file, if that is worth it. Only the last time `waits` for the seconds it takes."""
        self._wait_for_saving()
        unsaved = len(self._tokens) - self._saved
        if path is None or self.chosen.loading.deterministic or not unsaved or (unsaved < WORTH_SAVING and not waits):
            return
        self._saving = threading.Thread(target=self._save, args=(path, self._tokens), daemon=True)
        self._saving.start()
        if waits:
            self._wait_for_saving()

    def _save(self, path: Path, tokens: list[int]) -> None:
        try:
            self._saved = self._engine.save(tokens, path, self._loaded.identity)
        except (LlmasosError, OSError) as error:
            output.note(f"note: what was read could not be kept, so it will be read again: {error}")

    def _wait_for_saving(self) -> None:
        if self._saving:
            self._saving.join()
            self._saving = None
