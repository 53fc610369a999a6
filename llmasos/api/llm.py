"""The Python API: a model that is loaded once and asked from any thread, by prompts, chats and scores.

What is asked at the same time is worked on at the same time, in the same forward passes.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import itertools
import numbers
import operator
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

from llmasos.api.loops import call_in, settle
from llmasos.api.requests import Loading, Request, Wanted, make_request, require_known
from llmasos.chat.conversation import prompt_tokens
from llmasos.chat.template import ChatTemplate, Message, as_messages
from llmasos.engine.embedder import Embedder
from llmasos.engine.engine import Engine
from llmasos.engine.options import ALL_OPTIONS, AnswerOptions, LoadOptions, SamplingOptions, ScoreOptions
from llmasos.engine.sampler import SEEDS
from llmasos.engine.sequence import Answer, Chunk, Event
from llmasos.engine.sequence import Sequence as Submitted
from llmasos.errors import BadInputError, UsageError
from llmasos.formats.gguf import read_header
from llmasos.load import Loaded, is_embedding_model
from llmasos.locate import locate
from llmasos.progress import Progress
from llmasos.settings import configured, is_offline, layered, own_parameters

if TYPE_CHECKING:
    from typing_extensions import Unpack

PARALLEL = 8
WINDOW = 512  # prompts of a list that are submitted at a time
CELLS_EACH = 1024  # room for so many tokens of each that is worked on at a time, if memory allows
Prompt = str | Sequence[int]
Given = TypeVar("Given")


class LLM:
    """A model in memory. Any thread may ask it; `close`, or the end of `with`, frees it and cancels what goes on.

        with LLM.from_pretrained("smollm2") as model:
            model.generate("The quick brown fox", max_new_tokens=20)
            model.chat("Name a colour.")

    All methods raise LlmasosError: PromptTooLongError with both counts, BadInputError for what can't be read,
    UsageError for options that can't be. Options are transformers' where they mean the same (`api.requests.Wanted`).
    """

    def __init__(self, loaded: Loaded, worker: Engine | Embedder, own: dict[str, Any]) -> None:
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
        located = locate(model, progress=progress, offline=offline or is_offline())
        own, _ = own_parameters(located.parameters or "{}", *ALL_OPTIONS)
        suggested = own.pop("context_length", 0)
        embeds = is_embedding_model(read_header(located.paths[0]))
        loaded = Loaded(
            located,
            options,
            answer_tokens=0,
            prompt_bytes=0,
            suggested_context=suggested,
            progress=progress,
            embeds=embeds,
        )
        try:
            worker = loaded.start_embedder() if embeds else _start(loaded, parallel)
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
        return self._worker.longest if isinstance(self._worker, Embedder) else self._engine.context.length

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
        return self._all(
            prompt, lambda one: self._submit(self._tokens(one), request), lambda answers: _texts(answers, request)
        )

    async def agenerate(self, prompt: Prompt | Sequence[Prompt], **wanted: Unpack[Wanted]) -> Any:
        """`generate` for asyncio. A cancelled call ends its answers."""
        request = self._request(wanted, draws=False)
        if _is_one(prompt):
            one: Any = prompt
            return _texts(await self._gathered(self._tokens(one), request), request)
        gathered = [self._gathered(self._tokens(one), request) for one in prompt]  # type: ignore[arg-type]
        return [_texts(answers, request) for answers in await asyncio.gather(*gathered)]

    def stream(self, prompt: Prompt, **wanted: Unpack[Wanted]) -> Iterator[str]:
        """`generate` of one answer, piece by piece. Leaving the iterator early ends the answer."""
        return self._pieces(self._tokens(prompt), self._request(wanted, draws=False))

    def astream(self, prompt: Prompt, **wanted: Unpack[Wanted]) -> AsyncIterator[str]:
        """`stream` for asyncio."""
        return self._apieces(self._tokens(prompt), self._request(wanted, draws=False))

    def chat(self, messages: str | Sequence[Message], *, system: str | None = None, **wanted: Unpack[Wanted]) -> str:
        """The model's next message in a conversation, or its answer to a question, by its chat template.

        Messages have `role` and `content`. Tokens are drawn, as with `llmasos run`, unless `temperature=0` or
        `do_sample=False`. Raises BadInputError for a model without a template.
        """
        request = self._request(wanted, draws=True)
        return str(_texts(self._wait(self._submit(self._chat_tokens(messages, system), request)), request))

    async def achat(
        self, messages: str | Sequence[Message], *, system: str | None = None, **wanted: Unpack[Wanted]
    ) -> str:
        """`chat` for asyncio."""
        request = self._request(wanted, draws=True)
        return str(_texts(await self._gathered(self._chat_tokens(messages, system), request), request))

    def stream_chat(
        self, messages: str | Sequence[Message], *, system: str | None = None, **wanted: Unpack[Wanted]
    ) -> Iterator[str]:
        """`chat`, piece by piece."""
        return self._pieces(self._chat_tokens(messages, system), self._request(wanted, draws=True))

    def astream_chat(
        self, messages: str | Sequence[Message], *, system: str | None = None, **wanted: Unpack[Wanted]
    ) -> AsyncIterator[str]:
        """`stream_chat` for asyncio."""
        return self._apieces(self._chat_tokens(messages, system), self._request(wanted, draws=True))

    # Scores.

    def score(self, text: Prompt | Sequence[Prompt], *, top: int = 0) -> Any:
        """The log-probability (natural) of each token of a text, the first left out, as nothing stands before it.

        With `top` come so many of the likeliest tokens at each place. For a list of texts, which may be token ids, a
        list of such lists.
        """
        return self._all(
            text, lambda one: self._submit_scoring(one, top), lambda answers: list(answers[0].prompt_scores)
        )

    async def ascore(self, text: Prompt | Sequence[Prompt], *, top: int = 0) -> Any:
        """`score` for asyncio."""
        return await asyncio.to_thread(self.score, text, top=top)

    # Embeddings.

    def embed(self, text: Prompt | Sequence[Prompt], *, normalize: bool = True) -> Any:
        """The vector of a text, as a list of numbers whose length as a vector is 1 unless `normalize` is off.

        For a list of texts, a list of vectors. Raises BadInputError for a model that writes text instead.
        """
        if not isinstance(self._worker, Embedder):
            raise BadInputError(
                f"{self.name} writes text; it was not made to turn text into numbers", hint="take an embedding model"
            )
        texts: Any = [text] if _is_one(text) else text
        vectors = self._worker.embed([self._tokens(each) for each in texts], normalize=normalize)
        return vectors[0] if _is_one(text) else vectors

    async def aembed(self, text: Prompt | Sequence[Prompt], *, normalize: bool = True) -> Any:
        """`embed` for asyncio."""
        return await asyncio.to_thread(self.embed, text, normalize=normalize)

    # How it is done.

    @property
    def _engine(self) -> Engine:
        if isinstance(self._worker, Embedder):
            raise BadInputError(
                f"{self.name} is an embedding model: it turns text into numbers and writes none", hint="use embed()"
            )
        return self._worker

    def _request(self, wanted: Wanted, *, draws: bool) -> Request:
        return make_request(wanted, self._own, draws=draws)

    def _submit(
        self, tokens: list[int], request: Request, listener: Callable[[int, Event], None] | None = None
    ) -> list[Submitted]:
        """One sequence for each answer, or one for all of a beam search. A listener gets their events by number."""
        limits = request.limits
        if request.max_length is not None:
            if request.max_length < len(tokens):
                raise UsageError(
                    f"the prompt has {len(tokens)} tokens and max_length is {request.max_length}",
                    hint="max_new_tokens counts the answer's alone",
                )
            limits = replace(limits, max_tokens=request.max_length - len(tokens))
        beams = request.beams if request.beams.num_beams > 1 else None
        sequences: list[Submitted] = []
        for number in range(request.sequence_count):
            seed = request.sampling.seed
            sampling = request.sampling if seed is None else replace(request.sampling, seed=(seed + number) % SEEDS)
            own = None if listener is None else functools.partial(listener, number)
            sequences.append(self._engine.submit(tokens, sampling, limits, beams, listener=own))
        return sequences

    def _submit_scoring(self, text: Prompt, top: int) -> list[Submitted]:
        if not 0 <= top <= self._loaded.model.vocabulary_size:
            raise UsageError(f"top is from 0 to {self._loaded.model.vocabulary_size}, not {top}")
        nothing, wanted = AnswerOptions(max_tokens=0), ScoreOptions(prompt_from=0, top=top)
        return [self._engine.submit(self._tokens(text), SamplingOptions(), nothing, scores=wanted)]

    def _all(self, asked: Any, submit: Callable[[Any], list[Submitted]], read: Callable[[list[Answer]], Given]) -> Any:
        """What is read of one, or a list of what is read of each; so many at a time are submitted as wait anyway."""
        if _is_one(asked):
            return read(self._wait(submit(asked)))
        going: collections.deque[list[Submitted]] = collections.deque()
        given: list[Given] = []
        try:
            for one in asked:
                going.append(submit(one))
                if len(going) == WINDOW:
                    given.append(read(self._wait(going.popleft())))
            while going:
                given.append(read(self._wait(going.popleft())))
        except BaseException:
            self._cancel(itertools.chain.from_iterable(going))
            raise
        return given

    def _wait(self, sequences: list[Submitted]) -> list[Answer]:
        answers: list[Answer] = []
        try:
            for sequence in sequences:
                collections.deque(sequence, maxlen=0)
                assert sequence.answer is not None
                answers.append(sequence.answer)
        except BaseException:
            self._cancel(sequences)
            raise
        return answers

    def _cancel(self, sequences: Iterable[Submitted]) -> None:
        for sequence in sequences:
            self._engine.cancel(sequence)

    def _pieces(self, tokens: list[int], request: Request) -> Iterator[str]:
        _require_one(request)
        [sequence] = self._submit(tokens, request)
        try:
            for chunk in sequence:
                yield chunk.text
            if sequence.beams and sequence.answer:
                yield sequence.answer.text
        finally:
            self._engine.cancel(sequence)

    async def _gathered(self, tokens: list[int], request: Request) -> list[Answer]:
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Answer]] = [loop.create_future() for _ in range(request.sequence_count)]

        def listen(number: int, event: Event) -> None:
            if not isinstance(event, Chunk):
                call_in(loop, settle, futures[number], event)

        sequences = self._submit(tokens, request, listen)
        try:
            return list(await asyncio.gather(*futures))
        finally:
            self._cancel(sequences)

    async def _apieces(self, tokens: list[int], request: Request) -> AsyncIterator[str]:
        _require_one(request)
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()
        sequences = self._submit(tokens, request, lambda _, event: call_in(loop, events.put_nowait, event))
        try:
            while isinstance(event := await events.get(), Chunk):
                yield event.text
            if isinstance(event, BaseException):
                raise event
            if sequences[0].beams:
                yield event.text
        finally:
            self._cancel(sequences)

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

    def _chat_tokens(self, messages: str | Sequence[Message], system: str | None) -> list[int]:
        template = self._template
        if isinstance(messages, str):
            own = self._loaded.located.system if system is None else system
            return prompt_tokens(self._loaded.model, template, as_messages(messages, own))
        before = [] if system is None else [{"role": "system", "content": system}]
        return prompt_tokens(self._loaded.model, template, [*before, *messages])

    @functools.cached_property
    def _template(self) -> ChatTemplate:
        text = self._loaded.model.template
        if text is None:
            raise BadInputError(f"{self.name} has no chat template", hint="generate() goes on from a text as it is")
        return ChatTemplate(text)


def _start(loaded: Loaded, parallel: int) -> Engine:
    return loaded.start(0, parallel=parallel, cells=parallel * CELLS_EACH, kept=parallel)


def _close(loaded: Loaded, worker: Engine | Embedder) -> None:
    worker.close()
    loaded.close()


def _is_one(asked: Any) -> bool:
    """Whether it is one text or one list of token ids, and not a list of these."""
    return isinstance(asked, str) or (len(asked) > 0 and isinstance(asked[0], numbers.Integral))


def _texts(answers: list[Answer], request: Request) -> str | list[str]:
    texts = [each.text for answer in answers for each in (answer, *answer.others)][: request.count]
    return texts[0] if request.count == 1 else texts


def _require_one(request: Request) -> None:
    if request.count > 1:
        raise UsageError("a stream is of one answer; num_return_sequences can't be more", hint="use generate()")
