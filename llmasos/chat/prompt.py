"""From what a person asks to the tokens that a model is given, and to the answer: one question, no history."""

from __future__ import annotations

from collections.abc import Iterator

from llmasos.chat.conversation import prompt_tokens
from llmasos.chat.overflow import SUMMARY_REQUEST, FittedPrompt, Tools, fit_prompt
from llmasos.chat.template import ChatTemplate, as_messages
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, SamplingOptions
from llmasos.engine.sequence import Answer, Chunk, Sequence
from llmasos.errors import BadInputError


class Prompter:
    """Makes prompts for one model: through its chat template, or raw."""

    def __init__(self, model: Model, template: ChatTemplate | None, system: str | None) -> None:
        if system and template is None:
            raise BadInputError(
                "this model has no chat template, so it takes no system prompt", hint="write it into the prompt itself"
            )
        self._model = model
        self._template = template
        self._system = system

    def tokens(self, text: str) -> list[int]:
        """The whole prompt for a person's text."""
        if self._template is None:
            return self._model.tokenize(text, add_special=True, parse_special=False)
        return prompt_tokens(self._model, self._template, as_messages(text, self._system))

    def fit(self, text: str, engine: Engine, policy: str) -> FittedPrompt:
        """The prompt, made to fit the engine's context by `policy` (see `overflow`)."""
        tools = Tools(
            build=self.tokens,
            tokenize=lambda part: self._model.tokenize(part, add_special=False, parse_special=False),
            detokenize=self._model.detokenize,
            summarize=lambda part, longest: self._summarize(part, longest, engine),
        )
        return fit_prompt(text, engine.context.length, policy, tools)

    def _summarize(self, text: str, longest: int, engine: Engine) -> str:
        plain = Prompter(self._model, self._template, None)
        tokens = plain.tokens(f"{SUMMARY_REQUEST}\n\n{text}")
        sequence = engine.submit(tokens, SamplingOptions(temperature=0), AnswerOptions(max_tokens=longest))
        return "".join(chunk.text for chunk in sequence).strip()


def follow(engine: Engine, sequence: Sequence) -> Iterator[Chunk | Answer]:
    """The pieces of an answer, and last the Answer itself. Leaving early, or Ctrl-C, ends the answer in the engine."""
    try:
        yield from sequence
    finally:
        if sequence.answer is None:
            engine.cancel(sequence)
    if sequence.answer is not None:
        yield sequence.answer
