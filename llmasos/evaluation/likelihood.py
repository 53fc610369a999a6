"""How likely a model holds continuations of contexts, cut where lm-evaluation-harness cuts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from llmasos.engine.debias import is_debiased
from llmasos.engine.model import Model
from llmasos.engine.options import LoadOptions, SamplingOptions
from llmasos.errors import BadInputError
from llmasos.evaluation.perplexity import vocabulary_of
from llmasos.evaluation.scorer import Scorer, Wanted, Window, open_scorer
from llmasos.formats.gguf import read_header
from llmasos.hardware.shape import read_shape
from llmasos.load import Loaded
from llmasos.locate import Located
from llmasos.progress import Progress

LONGEST = 2048  # tokens that are read at most; of longer ones the beginning is left out, as there
TOGETHER = 4


@dataclass(frozen=True, slots=True)
class Request:
    """A text of which only what stands behind the context is scored; an empty context scores all of it."""

    context: str
    continuation: str


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The natural log-probability of a continuation, its tokens, and whether each was the likeliest of all."""

    log_probability: float
    tokens: int
    is_greedy: bool

    @property
    def mean(self) -> float:
        """A token's, on average: the logarithm of their geometric mean."""
        return self.log_probability / self.tokens


def split_spaces(request: Request) -> Request:
    """The request with the spaces that end its context at the beginning of its continuation."""
    context = request.context.rstrip()
    return Request(context, request.context[len(context) :] + request.continuation)


def most_tokens(trained: int) -> int:
    """Of a window, for a model that was trained for so many; one more is read behind it."""
    return min(LONGEST, trained) - 1


def window_of(model: Model, request: Request, longest: int | None = None) -> Window:
    """The request's tokens: of the whole, of which those behind as many as the context alone has are scored.

    An empty context is the token for the beginning, or for the end. Of more than `longest` tokens (what the model was
    trained for, and LONGEST at most) the context's first are left out. Raises BadInputError where there is nothing to
    score, or too much.
    """
    longest = longest or most_tokens(model.trained_context_length)
    request, vocabulary = split_spaces(request), vocabulary_of(model)
    tokens = model.tokenize(request.context + request.continuation, add_special=False, parse_special=False)
    first = len(model.tokenize(request.context, add_special=False, parse_special=False)) if request.context else 0
    prefix = vocabulary.prefix if not first else vocabulary.beginning if vocabulary.adds_beginning else None
    if prefix is not None:
        tokens, first = [prefix, *tokens], first + 1
    first = max(first, 1)  # without anything before it, a first token has no probability
    if first >= len(tokens):
        raise BadInputError(f"there is nothing to score in {request.continuation!r} behind {request.context[-40:]!r}")
    left_out = max(0, len(tokens) - longest)
    if left_out >= first:
        raise BadInputError(
            f"{request.continuation[:40]!r}… is longer than the {longest - 1} tokens that can be scored"
        )
    return Window(tokens[left_out:], first - left_out)


def likelihoods(
    scorer: Scorer, requests: Sequence[Request], progress: Progress | None = None, label: str = "scoring"
) -> list[Likelihood]:
    """Of each request, in their order. Those that begin alike should be neighbours: that is read once."""
    progress, found = progress or Progress(), []
    sizes = [len(each.context.encode()) + len(each.continuation.encode()) for each in requests]
    windows = (window_of(scorer.model, each) for each in requests)
    with progress.work(label, sum(sizes)):
        done = 0
        for size, scores in zip(sizes, scorer.score(windows, Wanted(rank=True)), strict=True):
            assert scores.ranks is not None
            logs = scores.log_probabilities
            found.append(Likelihood(float(logs.sum()), len(logs), bool((scores.ranks == 1).all())))
            done += size
            progress.update(done)
    return found


@contextmanager
def open_for(
    requests: Sequence[Request],
    located: Located,
    loading: LoadOptions,
    *,
    sampling: SamplingOptions | None = None,
    progress: Progress | None = None,
    started: Callable[[Loaded], None] = lambda loaded: None,
) -> Iterator[Scorer]:
    """A scorer with room for the longest of the requests. Raises what `open_scorer` raises."""
    # a token stands for a byte at least, but for what stands before the text
    longest = 2 + max(len(each.context.encode()) + len(each.continuation.encode()) for each in requests)
    trained = read_shape(list(map(read_header, located.paths))).trained_context_length
    with open_scorer(
        located,
        loading,
        min(longest, most_tokens(trained)),
        parallel=1 if sampling and is_debiased(sampling) else TOGETHER,  # that is many sequences itself
        sampling=sampling,
        progress=progress,
        started=started,
    ) as scorer:
        yield scorer
