"""From what a person asks to the tokens that a model is given, and to the answer: one question, no history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmasos.chat.answers.families import AnswerForm
from llmasos.chat.answers.reader import read_reply
from llmasos.chat.conversation import Chat, ChatPrompt
from llmasos.chat.messages import Message, as_messages
from llmasos.chat.overflow import SUMMARY_REQUEST, FittedPrompt, Tools, fit_prompt
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, SamplingOptions
from llmasos.engine.sequence import Answer, Chunk, Sequence
from llmasos.errors import BadInputError


class Prompter:
    """Makes prompts for one model: through its chat template, or raw.

    `before` are messages that stand between system prompt and question. `think` turns reasoning on or off; `has_shape`:
    a grammar rules over the answers (see `Chat.prompt`).
    """

    def __init__(
        self,
        model: Model,
        chat: Chat | None,
        system: str | None,
        *,
        before: Iterable[Message] = (),
        think: bool | None = None,
        has_shape: bool = False,
    ) -> None:
        if system and chat is None:
            raise BadInputError(
                "this model has no chat template, so it takes no system prompt", hint="write it into the prompt itself"
            )
        self._model = model
        self._chat = chat
        self._system = system
        self._before = list(before)
        self._think, self._has_shape = think, has_shape

    def prompt(self, text: str) -> ChatPrompt:
        """The whole prompt for a person's text."""
        if self._chat is None:
            tokens = self._model.tokenize(text, add_special=True, parse_special=False)
            return ChatPrompt(tokens, AnswerForm(reasoning=None), frozenset())
        messages = as_messages(text, self._system, self._before)
        return self._chat.prompt(messages, think=self._think, has_shape=self._has_shape)

    def fit(self, text: str, engine: Engine, policy: str) -> FittedPrompt:
        """The prompt, made to fit the engine's context by `policy` (see `overflow`)."""
        tools = Tools(
            build=lambda text: self.prompt(text).tokens,
            tokenize=lambda part: self._model.tokenize(part, add_special=False, parse_special=False),
            detokenize=self._model.detokenize,
            summarize=lambda part, longest: self._summarize(part, longest, engine),
        )
        return fit_prompt(text, engine.context.length, policy, tools)

    def _summarize(self, text: str, longest: int, engine: Engine) -> str:
        plain = Prompter(self._model, self._chat, None, think=False)
        prompt = plain.prompt(f"{SUMMARY_REQUEST}\n\n{text}")
        limits = AnswerOptions(max_tokens=longest)
        sequence = engine.submit(prompt.tokens, SamplingOptions(temperature=0), limits, shown=prompt.shown)
        return read_reply("".join(chunk.text for chunk in sequence), prompt.form).content.strip()


def follow(engine: Engine, sequence: Sequence) -> Iterator[Chunk | Answer]:
    """The pieces of an answer, and last the Answer itself. Leaving early, or Ctrl-C, ends the answer in the engine."""
    try:
        yield from sequence
    finally:
        if sequence.answer is None:
            engine.cancel(sequence)
    if sequence.answer is not None:
        yield sequence.answer
