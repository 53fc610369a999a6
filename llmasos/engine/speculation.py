"""Speculation: guessing several tokens ahead, which one forward pass then checks. Pure Python.

Every token is still chosen by the model's own logits; a guess that is not chosen, and what was read behind it, is
forgotten. So only time is at stake, and a guess is made where it is expected to pay. Prompt lookup guesses that what
comes is what stood behind the same tokens before (Saxena 2023, "Prompt Lookup Decoding").
"""

from __future__ import annotations

from collections.abc import Sequence

ALIKE = 3  # tokens that have to stand before a guess as they stand now
COUNTS = (1, 3, 7, 15)  # of guessed tokens: with the one before them they fill what matrices are multiplied in
FADING = 0.95  # what a success or failure weighs when another has come
HOPED = 0.5  # for what part of a token's time one more is had in a pass of a length that was not tried yet
MARGIN = 1.05  # so much faster it has to become
LONGEST_PASS = 64  # tokens
REMEMBERED = 512  # passes: as long as it is believed what one of that length took
NEWEST = 0.3  # what the last pass of a length counts beside those before
ASSUMED_OF_DRAFTS = 8.0  # that came true, before any was made: who names a draft model has a reason
RETRIED_AFTER = 64  # tokens without a draft


class Lookup:
    """The tokens of one sequence, and where what stands at its end stood before.

    A place that foretold the last token is kept to; else the latest with the same last tokens is taken.
    """

    def __init__(self, tokens: Sequence[int] = ()) -> None:
        self._tokens: list[int] = []
        self._behind: dict[tuple[int, ...], int] = {}  # the place behind the last tokens like these
        self._match: int | None = None
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        went_on = self._match is not None and self._tokens[self._match] == token
        self._tokens.append(token)
        if len(self._tokens) < ALIKE:
            return
        last = tuple(self._tokens[-ALIKE:])
        self._match = self._match + 1 if went_on and self._match is not None else self._behind.get(last)
        self._behind[last] = len(self._tokens)

    def guess(self, count: int) -> list[int]:
        """At most `count` tokens that may come next; what stood there before, again and again if it ends here."""
        if self._match is None:
            return []
        period = self._tokens[self._match :]
        return [period[place % len(period)] for place in range(count)]


class Acceptance:
    """How likely a guessed token comes true, by those that were made lately, and by `hits` that are assumed."""

    def __init__(self, *, hits: float = 0.0) -> None:
        self._hits, self._misses = hits, 1.0

    @property
    def rate(self) -> float:
        return self._hits / (self._hits + self._misses)

    def note(self, *, is_hit: bool) -> None:
        self._hits, self._misses = FADING * self._hits + is_hit, FADING * self._misses + (not is_hit)


class PassTimes:
    """What forward passes took, by how many tokens they had: no straight line, matrices are multiplied by blocks."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._noted_at: dict[int, int] = {}
        self._passes = 0

    def note(self, token_count: int, seconds: float) -> None:
        self._passes += 1
        if token_count <= LONGEST_PASS:
            before = self.seconds(token_count)
            self._seconds[token_count] = seconds if before is None else before + NEWEST * (seconds - before)
            self._noted_at[token_count] = self._passes

    def seconds(self, token_count: int) -> float | None:
        """What a pass of so many tokens takes. None: not known, or not any more."""
        is_fresh = self._passes - self._noted_at.get(token_count, -REMEMBERED) < REMEMBERED
        return self._seconds[token_count] if is_fresh else None


def worthwhile(rates: Sequence[float], times: PassTimes, token_count: int, *, seconds_each: float = 0.0) -> int:
    """How many tokens to guess of each of some sequences, in a pass of so many tokens, so that most come in the time.

    Each comes true by its sequence's rate if those before it did, and costs `seconds_each` to be guessed. What was not
    tried yet is hoped for: so it is tried, where the guesses are good enough.
    """
    now = times.seconds(token_count)
    if now is None:
        return 0
    best, fastest = 0, MARGIN * token_count / now
    for count in COUNTS:
        come_true = sum(count if rate == 1 else rate * (1 - rate**count) / (1 - rate) for rate in rates)
        guessed = count * len(rates)
        seconds = times.seconds(token_count + guessed) or now * (1 + HOPED * guessed / token_count)
        speed = (token_count + come_true) / (seconds + guessed * seconds_each)
        if speed > fastest:
            best, fastest = count, speed
    return best


def guess_alike(guessers: Sequence[Guesser], times: PassTimes, most: int) -> list[list[int]]:
    """As many tokens for each of these, at most so many, as pay for all together; no lists where none would.

    Where nothing is known what may come, it is any token.
    """
    count = min(most, worthwhile([guesser.rate for guesser in guessers], times, len(guessers)))
    return [guesser.lookup.guess(count) or [0] * count for guesser in guessers] if count > 0 else []


class Guesser:
    """Guesses what an answer goes on with, as far as its guesses came true so far, made or not.

    There are those of the lookup; and how many a draft model should make, which are known once they are made.
    """

    def __init__(self, prompt_tokens: Sequence[int]) -> None:
        self.lookup = Lookup(prompt_tokens)
        self._acceptance = Acceptance()
        self._of_drafts = Acceptance(hits=ASSUMED_OF_DRAFTS)
        self._tokens_without_draft = 0

    @property
    def rate(self) -> float:
        """How likely the token comes that the lookup expects."""
        return self._acceptance.rate if self.lookup.guess(1) else 0.0

    def take(self, token: int) -> None:
        """Learns which token came."""
        if expected := self.lookup.guess(1):
            self._acceptance.note(is_hit=expected == [token])
        self.lookup.add(token)

    def guess(self, times: PassTimes, token_count: int, most: int) -> list[int]:
        """At most so many tokens for a pass that has `token_count` without them; none where they would not pay."""
        return self.lookup.guess(max(0, min(most, worthwhile([self._acceptance.rate], times, token_count))))

    def draft_count(self, times: PassTimes, token_count: int, most: int, *, seconds_each: float) -> int:
        """How many tokens are worth drafting; now and then a few, to see whether they come true."""
        count = worthwhile([self._of_drafts.rate], times, token_count, seconds_each=seconds_each)
        self._tokens_without_draft = 0 if count else self._tokens_without_draft + 1
        if self._tokens_without_draft > RETRIED_AFTER:
            self._tokens_without_draft, count = 0, COUNTS[0]
        return max(0, min(most, count))

    def note_drafts(self, right: int, count: int) -> None:
        """Learns how many of the drafted tokens came true, of which those behind a wrong one say nothing."""
        for place in range(min(right + 1, count)):
            self._of_drafts.note(is_hit=place < right)
