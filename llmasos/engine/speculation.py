"""Speculation: guessing several tokens ahead, which one forward pass then checks. Pure Python.

Every token is still chosen by the model's own logits; a guess that is not chosen, and what was read behind it, is
forgotten. So only time is at stake, and a guess is made where it is expected to pay. Prompt lookup guesses that what
comes is what stood behind the same tokens before (Saxena 2023, "Prompt Lookup Decoding").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

ALIKE = 3  # tokens that have to stand before a guess as they stand now
MOST_GUESSED = 16
FADING = 0.95  # what a success or failure, or the time of a pass, weighs when another has come
MARGIN = 1.1  # so much more than its price a guess has to promise
SURE, TRIED = 0.8, 2  # with more of them coming true than this share, so many are guessed at an unknown price
LONGEST_PASS = 128  # tokens
LEAST_SPREAD = 0.1  # variance of the passes' tokens that tells what one more costs
BELIEVED_FOR = 256  # passes: as long as a price holds that no pass has confirmed


class Lookup:
    """The tokens of one sequence, and where what stands at its end stood before."""

    def __init__(self, tokens: Sequence[int] = ()) -> None:
        self._tokens: list[int] = []
        self._behind: dict[tuple[int, ...], int] = {}  # the place behind the last tokens like these
        self._match: int | None = None
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        self._tokens.append(token)
        if len(self._tokens) < ALIKE:
            return
        last = tuple(self._tokens[-ALIKE:])
        self._match = self._behind.get(last)
        self._behind[last] = len(self._tokens)

    def guess(self, count: int) -> list[int]:
        """At most `count` tokens that may come next; what stood there before, again and again if it ends here."""
        if self._match is None:
            return []
        period = self._tokens[self._match :]
        return [period[place % len(period)] for place in range(count)]


class Acceptance:
    """How likely a guessed token comes true, by those that were made lately; at first that is not believed."""

    def __init__(self) -> None:
        self._hits, self._misses = 0.0, 1.0

    @property
    def rate(self) -> float:
        return self._hits / (self._hits + self._misses)

    def note(self, *, is_hit: bool) -> None:
        self._hits, self._misses = FADING * self._hits + is_hit, FADING * self._misses + (not is_hit)


class PassTimes:
    """What a forward pass takes by the number of its tokens: a straight line through those made lately."""

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self._slope: float | None = None
        self._passes_since_slope = 0

    def note(self, token_count: int, seconds: float) -> None:
        """Takes a pass into account; long ones say little of short ones."""
        if token_count > LONGEST_PASS:
            return
        x = float(token_count)
        self._weight = FADING * self._weight + 1
        self._x, self._y = FADING * self._x + x, FADING * self._y + seconds
        self._xx, self._xy = FADING * self._xx + x * x, FADING * self._xy + x * seconds
        spread = self._weight * self._xx - self._x * self._x
        self._passes_since_slope += 1
        if spread >= LEAST_SPREAD * self._weight * self._weight:
            self._slope = max(0.0, (self._weight * self._xy - self._x * self._y) / spread)
            self._passes_since_slope = 0
        elif self._passes_since_slope > BELIEVED_FOR:
            self._slope = None

    def price(self, token_count: int) -> float | None:
        """What one more token costs in a pass of so many, in tokens made in that time. None: unknown."""
        if self._slope is None or self._y <= 0:
            return None
        whole = self._y / self._weight + self._slope * (token_count - self._x / self._weight)
        return self._slope * token_count / max(whole, self._slope * token_count)


def worthwhile(rate: float, price: float | None) -> int:
    """How many tokens to guess, each of which comes true by `rate` if those before it did.

    The one at place k comes to use with rate**k, and has to be worth its price. Where that is not known, a guess that
    is likely to come true finds it out.
    """
    if price is None:
        return TRIED if rate > SURE else 0
    if rate <= MARGIN * price:
        return 0
    if rate >= 1 or price <= 0:
        return MOST_GUESSED
    return min(MOST_GUESSED, int(math.log(MARGIN * price) / math.log(rate)))


class Guesser:
    """Guesses what an answer goes on with, as far as its guesses came true so far, made or not."""

    def __init__(self, prompt_tokens: Sequence[int]) -> None:
        self._lookup = Lookup(prompt_tokens)
        self._acceptance = Acceptance()

    def take(self, token: int) -> None:
        """Learns which token came."""
        if expected := self._lookup.guess(1):
            self._acceptance.note(is_hit=expected == [token])
        self._lookup.add(token)

    def guess(self, price: float | None, most: int) -> list[int]:
        """At most so many tokens, none if they would not be worth the price of each (`PassTimes.price`)."""
        return self._lookup.guess(max(0, min(most, worthwhile(self._acceptance.rate, price))))
