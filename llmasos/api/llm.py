"""The Python API: a model that is loaded once and asked from any thread.

What is asked at the same time is worked on at the same time, in the same forward passes.
"""

from __future__ import annotations

import asyncio
import functools
import operator
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from llmasos.api.asking import Asking, is_one
from llmasos.api.replies import Conversation, ask, parts_of, parts_of_async, said, said_async
from llmasos.api.requests import (
    Chatting,
    Debiasing,
    Loading,
    Request,
    Wanted,
    answers_of,
    make_request,
    require_known,
    texts_of,
    with_scores,
)
from llmasos.chat.answers.reader import Part, read_reply
from llmasos.chat.conversation import Chat, ChatPrompt
from llmasos.chat.extraction import extract
from llmasos.chat.messages import Reply
from llmasos.engine.embedder import Embedder
from llmasos.engine.engine import Engine
from llmasos.engine.options import ALL_OPTIONS, LoadOptions, SamplingOptions
from llmasos.engine.ranker import Ranked, Ranker
from llmasos.engine.sequence import Answer
from llmasos.errors import BadInputError
from llmasos.formats.purpose import Purpose, unsuited
from llmasos.load import Loaded
from llmasos.locate import locate
from llmasos.progress import Progress
from llmasos.settings import configured, is_offline, layered, own_parameters
from llmasos.tasks.task import fill_task

if TYPE_CHECKING:
    from typing_extensions import Unpack

PARALLEL = 8
CELLS_EACH = 1024  # room for so many tokens of each that is worked on at a time, if memory allows
Prompt = str | Sequence[int]
Worker = Engine | Embedder | Ranker


class LLM:
    """A model in memory. Any thread may ask it; `close`, or the end of `with`, frees it and cancels what goes on.

        with LLM.from_pretrained("smollm2") as model:
            model.generate("The quick brown fox", max_new_tokens=20)
            model.chat("Name a colour.")

    All methods raise LlmasosError: PromptTooLongError with both counts, BadInputError for what can't be read,
    UsageError for options that can't be. Options are transformers' where they mean the same (`api.requests.Wanted`).
    """

    def __init__(self, loaded: Loaded, worker: Worker, own: dict[str, Any]) -> None:
        """Use `from_pretrained`."""
        self._loaded, self._worker, self._own = loaded, worker, own
        self._close = weakref.finalize(self, _close, loaded, worker)

    @classmethod
    def from_pretrained(
        cls,
        model: str,
        *,
        parallel: int = PARALLEL,
        offline: bool = False,
        progress: Progress | None = None,
        **loading: Unpack[Loading],
    ) -> LLM:
        """Loads a model by a short name, a reference such as `org/name:Q4_K_M`, or a .gguf file; pulls it if need be.

        At most `parallel` prompts, or beams of one, are worked on at a time; others wait their turn. Raises
        ModelNotFoundError, NetworkError, DoesNotFitError with the numbers, CorruptModelError.
        """
        require_known(loading, Loading)
        options = layered(LoadOptions, *configured(LoadOptions), loading)
        offline = offline or is_offline()
        located = locate(model, progress=progress, offline=offline)
        draft = locate(options.draft, progress=progress, offline=offline) if options.draft else None
        own, _ = own_parameters(located.parameters or "{}", *ALL_OPTIONS)
        suggested = own.pop("context_length", 0)
        loaded = Loaded(
            located,
            options,
            answer_tokens=0,
            prompt_bytes=0,
            suggested_context=suggested,
            progress=progress,
            purpose=None,
            draft=draft,
        )
        try:
            worker = _start(loaded, parallel)
        except BaseException:
            loaded.close()
            raise
        return cls(loaded, worker, own)

    @property
    def name(self) -> str:
        return self._loaded.located.name

    @property
    def context_length(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        return self._worker.context.length if isinstance(self._worker, Engine) else self._worker.longest

    def close(self) -> None:
        """Ends all that goes on and frees the memory. A second call does nothing."""
        self._close()

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Tokens.

    def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = False) -> list[int]:
        """Text to token ids.

        `add_special`: with what the model wants around a text (BOS); `parse_special`: names such as `<|end|>` are read
        as the tokens that they name.
        """
        return self._loaded.model.tokenize(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Token ids to text, without control tokens."""
        return self._loaded.model.detokenize(self._checked(tokens))

    # Answers.

    @overload
    def generate(self, prompt: str | list[int], **wanted: Unpack[Wanted]) -> str: ...
    @overload
    def generate(self, prompt: list[str] | list[list[int]], **wanted: Unpack[Wanted]) -> list[str]: ...
    def generate(self, prompt: Prompt | Sequence[Prompt], **wanted: Unpack[Wanted]) -> Any:
        """Goes on from a prompt, as it is, without a chat template; returns what follows, without the prompt.

        Greedy unless an option of drawing is given (`temperature`, `top_p`, `seed`, …) or `do_sample`; with
        `num_beams` above 1 a beam search, which never draws. For a list of prompts, which are text or token ids, a list
        is returned; with `num_return_sequences` above 1 there is a list for each prompt, of beams the best first.
        """
        request = self._request(wanted, draws=False)
        asking = self._asking
        return asking.all(
            prompt, lambda one: asking.submit(self._tokens(one), request), lambda answers: texts_of(answers, request)
        )

    async def agenerate(self, prompt: Prompt | Sequence[Prompt], **wanted: Unpack[Wanted]) -> Any:
        """`generate` for asyncio. A cancelled call ends its answers."""
        return await self._gathered(prompt, self._request(wanted, draws=False), texts_of)

    @overload
    def complete(self, prompt: str | list[int], *, logprobs: int | None = None, **wanted: Unpack[Wanted]) -> Answer: ...
    @overload
    def complete(
        self, prompt: list[str] | list[list[int]], *, logprobs: int | None = None, **wanted: Unpack[Wanted]
    ) -> list[Answer]: ...
    def complete(
        self, prompt: Prompt | Sequence[Prompt], *, logprobs: int | None = None, **wanted: Unpack[Wanted]
    ) -> Any:
        """`generate` with all that is known of an answer: text, tokens, why it ended, counts, times (`Answer`).

        With `logprobs` its `token_scores` are the log-probability (natural) of each of its tokens, by the model's own
        logits before any sampling, and of so many of the likeliest ones; 0 for its tokens alone.
        """
        request, asking = with_scores(self._request(wanted, draws=False), logprobs), self._asking
        return asking.all(
            prompt, lambda one: asking.submit(self._tokens(one), request), lambda answers: answers_of(answers, request)
        )

    async def acomplete(
        self, prompt: Prompt | Sequence[Prompt], *, logprobs: int | None = None, **wanted: Unpack[Wanted]
    ) -> Any:
        """`complete` for asyncio. A cancelled call ends its answers."""
        request = with_scores(self._request(wanted, draws=False), logprobs)
        return await self._gathered(prompt, request, answers_of)

    def stream(self, prompt: Prompt, **wanted: Unpack[Wanted]) -> Iterator[str]:
        """`generate` of one answer, piece by piece. Leaving the iterator early ends the answer."""
        return self._asking.pieces(self._tokens(prompt), self._request(wanted, draws=False))

    def astream(self, prompt: Prompt, **wanted: Unpack[Wanted]) -> AsyncIterator[str]:
        """`stream` for asyncio."""
        return self._asking.apieces(self._tokens(prompt), self._request(wanted, draws=False))

    def chat(self, messages: Conversation, **wanted: Unpack[Chatting]) -> str:
        """What the model says next in a conversation, or answers to a question, by its chat template.

        Messages have `role` and `content`. Tokens are drawn, as with `llmasos run`, unless `temperature=0` or
        `do_sample=False`. Reasoning and calls of tools are left out: `reply` has them. Raises BadInputError for a model
        without a template.
        """
        return self.reply(messages, **wanted).content

    async def achat(self, messages: Conversation, **wanted: Unpack[Chatting]) -> str:
        """`chat` for asyncio."""
        return (await self.areply(messages, **wanted)).content

    def stream_chat(self, messages: Conversation, **wanted: Unpack[Chatting]) -> Iterator[str]:
        """`chat`, piece by piece."""
        return said(self.stream_reply(messages, **wanted))

    def astream_chat(self, messages: Conversation, **wanted: Unpack[Chatting]) -> AsyncIterator[str]:
        """`stream_chat` for asyncio."""
        return said_async(self.astream_reply(messages, **wanted))

    def reply(self, messages: Conversation, **wanted: Unpack[Chatting]) -> Reply:
        """The model's whole next message: what it says, its reasoning before that, and the tools that it calls."""
        asking, prompt, request = self._ask(messages, wanted)
        [answer] = asking.wait(asking.submit(prompt.tokens, request))
        return read_reply(answer.text, prompt.form)

    async def areply(self, messages: Conversation, **wanted: Unpack[Chatting]) -> Reply:
        """`reply` for asyncio."""
        asking, prompt, request = self._ask(messages, wanted)
        [answer] = await asking.gathered(prompt.tokens, request)
        return read_reply(answer.text, prompt.form)

    def stream_reply(self, messages: Conversation, **wanted: Unpack[Chatting]) -> Generator[Part]:
        """`reply`, part by part: `Said` and `Thought` pieces of text, and each `ToolCall` once it is whole."""
        asking, prompt, request = self._ask(messages, wanted)
        return parts_of(asking.pieces(prompt.tokens, request), prompt.form)

    def astream_reply(self, messages: Conversation, **wanted: Unpack[Chatting]) -> AsyncGenerator[Part]:
        """`stream_reply` for asyncio."""
        asking, prompt, request = self._ask(messages, wanted)
        return parts_of_async(asking.apieces(prompt.tokens, request), prompt.form)

    def task(
        self, name: str, given: str = "", parameters: Mapping[str, str] | None = None, **wanted: Unpack[Chatting]
    ) -> str:
        """The answer to a ready-made task: `model.task("translate", "Good morning", {"to": "French"})`.

        Where the command line takes a file for a parameter, this takes its text. What is given goes before the task's
        own options.
        """
        filled = fill_task(name, parameters or {})
        answer = self.chat(filled.prompt(given), **filled.wanted(wanted))
        return extract(answer, filled.task.extract) if filled.task.extract else answer

    # Scores.

    def score(self, text: Prompt | Sequence[Prompt], *, top: int = 0, **debiasing: Unpack[Debiasing]) -> Any:
        """The log-probability (natural) of each token of a text, the first left out, as nothing stands before it.

        With `top` come so many of the likeliest tokens at each place. For a list of texts, which may be token ids, a
        list of such lists. With `debias="self"` they are those of the distributions that debiased answers come from.
        """
        require_known(debiasing, Debiasing)
        asking, sampling = self._asking, layered(SamplingOptions, debiasing)
        return asking.all(
            text,
            lambda one: asking.submit_scoring(self._tokens(one), top, sampling),
            lambda answers: list(answers[0].prompt_scores),
        )

    async def ascore(self, text: Prompt | Sequence[Prompt], *, top: int = 0, **debiasing: Unpack[Debiasing]) -> Any:
        """`score` for asyncio."""
        return await asyncio.to_thread(self.score, text, top=top, **debiasing)

    # Embeddings.

    def embed(self, text: Prompt | Sequence[Prompt], *, normalize: bool = True) -> Any:
        """The vector of a text, as a list of numbers whose length as a vector is 1 unless `normalize` is off.

        For a list of texts, a list of vectors. Raises BadInputError for a model that writes text instead.
        """
        if not isinstance(self._worker, Embedder):
            raise self._unsuited(Purpose.EMBEDDING)
        texts: Any = [text] if is_one(text) else text
        vectors = self._worker.embed([self._tokens(each) for each in texts], normalize=normalize)
        return vectors[0] if is_one(text) else vectors

    async def aembed(self, text: Prompt | Sequence[Prompt], *, normalize: bool = True) -> Any:
        """`embed` for asyncio."""
        return await asyncio.to_thread(self.embed, text, normalize=normalize)

    # Ranking.

    def rank(self, query: str, documents: Sequence[str], *, top: int | None = None) -> list[Ranked]:
        """The documents, or the `top` best of them, by how well they answer the query, the best first.

        Each has `index`, its place among the given ones counted from 0, `score`, the higher the better, and `text`.
        Raises BadInputError for a model that is no reranker, PromptTooLongError for a document that is too long.
        """
        if not isinstance(self._worker, Ranker):
            raise self._unsuited(Purpose.RANKING)
        return self._worker.rank(query, documents, top=top)

    async def arank(self, query: str, documents: Sequence[str], *, top: int | None = None) -> list[Ranked]:
        """`rank` for asyncio."""
        return await asyncio.to_thread(self.rank, query, documents, top=top)

    # How it is done.

    @property
    def _engine(self) -> Engine:
        if not isinstance(self._worker, Engine):
            raise self._unsuited(Purpose.TEXT)
        return self._worker

    @property
    def _asking(self) -> Asking:
        return Asking(self._engine, self)

    async def _gathered(
        self, prompt: Prompt | Sequence[Prompt], request: Request, read: Callable[[list[Answer], Request], Any]
    ) -> Any:
        """What is read of the answers to one prompt, or a list of what is read of each one's."""
        asking = self._asking
        if is_one(prompt):
            one: Any = prompt
            return read(await asking.gathered(self._tokens(one), request), request)
        gathered = [asking.gathered(self._tokens(one), request) for one in prompt]  # type: ignore[arg-type]
        return [read(answers, request) for answers in await asyncio.gather(*gathered)]

    def _unsuited(self, asked: Purpose) -> BadInputError:
        use = "use rank()" if self._loaded.purpose is Purpose.RANKING else "use embed()"
        return unsuited(self.name, self._loaded.purpose, asked, use=use)

    def _request(self, wanted: Wanted, *, draws: bool) -> Request:
        return make_request(wanted, self._own, draws=draws)

    def _tokens(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            return self.tokenize(prompt, add_special=True)
        return self._checked(prompt)

    def _checked(self, tokens: Sequence[int]) -> list[int]:
        checked = [operator.index(token) for token in tokens]
        size = self._loaded.model.vocabulary_size
        if wrong := [token for token in checked if not 0 <= token < size]:
            raise BadInputError(f"{wrong[0]} is no token: the model has {size}, counted from 0")
        return checked

    def _ask(self, messages: Conversation, wanted: Chatting) -> tuple[Asking, ChatPrompt, Request]:
        asking = self._asking  # which says so of a model that writes nothing
        return asking, *ask(self._chat, messages, wanted, self._own, self._loaded.located)

    @functools.cached_property
    def _chat(self) -> Chat:
        text = self._loaded.template
        if text is None:
            raise BadInputError(f"{self.name} has no chat template", hint="generate() goes on from a text as it is")
        return Chat(self._loaded.model, text)


def _start(loaded: Loaded, parallel: int) -> Worker:
    if loaded.purpose is Purpose.EMBEDDING:
        return loaded.start_embedder()
    if loaded.purpose is Purpose.RANKING:
        return loaded.start_ranker()
    return loaded.start(0, parallel=parallel, cells=parallel * CELLS_EACH, kept=parallel)


def _close(loaded: Loaded, worker: Worker) -> None:
    worker.close()
    loaded.close()
