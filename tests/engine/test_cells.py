"""The ledger of the KV cache: shared prefixes are held once, what ended is kept as long as there is room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.memory import ListMemory
from llmasos.engine.cells import Cells, common_length


class Cache:
    """A ledger, the memory that it keeps account of, and both changed together."""

    def __init__(self, capacity: int = 100, sequences: int = 4, *, is_recurrent: bool = False) -> None:
        self.memory = ListMemory(capacity, is_recurrent)
        self.cells = Cells(capacity, sequences, self.memory)

    def open_and_read(self, tokens: str) -> int:
        number, held = self.cells.open(ids(tokens))
        rest = ids(tokens)[held:]
        self.memory.read(number, rest, held)
        self.cells.extend(number, rest)
        return number


def ids(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def test_a_new_sequence_holds_nothing():
    assert Cache().cells.open(ids("abc"))[1] == 0


def test_a_common_prefix_is_held_once():
    cache = Cache()
    cache.open_and_read("abcd")
    number, held = cache.cells.open(ids("abxy"))
    assert (held, cache.cells.used) == (2, 4)
    assert cache.memory.tokens(number) == ids("ab")


def test_the_longest_prefix_is_taken_whether_its_sequence_has_ended_or_not():
    cache = Cache()
    cache.cells.release(cache.open_and_read("abcd"))
    cache.open_and_read("abxyz")
    assert cache.cells.open(ids("abxyw"))[1] == 4
    assert cache.cells.open(ids("abcdw"))[1] == 4


def test_what_has_ended_is_kept_and_does_not_count_as_active():
    cache = Cache()
    cache.cells.release(cache.open_and_read("abcd"))
    assert (cache.cells.used, cache.cells.active) == (4, 0)


def test_what_was_dropped_is_gone():
    cache = Cache()
    cache.cells.drop(cache.open_and_read("abcd"))
    assert (cache.cells.used, cache.memory.used, cache.cells.open(ids("abcd"))[1]) == (0, 0, 0)


def test_room_is_made_by_the_least_recently_used():
    cache = Cache(capacity=12)
    for text in ("aaaa", "bbbb", "cccc"):
        cache.cells.release(cache.open_and_read(text))
    cache.cells.release(cache.cells.open(ids("aaaa"))[0])  # used just now
    assert cache.cells.make_room(4)
    assert [cache.cells.common_prefix(ids(text)) for text in ("aaaa", "bbbb", "cccc")] == [4, 0, 4]


def test_the_active_make_no_room():
    cache = Cache(capacity=6)
    cache.open_and_read("abcd")
    assert not cache.cells.make_room(3)
    assert cache.cells.make_room(2)


def test_a_shared_prefix_stays_when_its_first_reader_goes():
    cache = Cache(capacity=6)
    first = cache.open_and_read("abcd")
    second = cache.open_and_read("abxy")
    cache.cells.drop(first)
    assert cache.memory.tokens(second) == ids("abxy")
    assert cache.cells.used == cache.memory.used == 4


def test_without_another_number_the_only_one_is_taken_over():
    cache = Cache(sequences=1)
    cache.cells.release(cache.open_and_read("abcd"))
    number, held = cache.cells.open(ids("abxy"))
    assert (number, held, cache.memory.tokens(0)) == (0, 2, ids("ab"))


def test_a_number_is_taken_from_another_than_the_prefix_comes_from():
    cache = Cache(sequences=2)
    cache.cells.release(cache.open_and_read("abcd"))
    cache.cells.release(cache.open_and_read("zzzz"))
    assert cache.cells.open(ids("abxy"))[1] == 2
    assert cache.cells.common_prefix(ids("zzzz")) == 0


def test_what_is_gone_on_from_as_it_is_takes_no_other_number():
    cache = Cache(sequences=2)
    for text in ("abcd", "zzzz"):
        cache.cells.release(cache.open_and_read(text))
    assert cache.cells.open(ids("abcdef"))[1] == 4
    assert cache.cells.common_prefix(ids("zzzz")) == 4


def test_what_others_hold_too_gives_up_its_number_first():
    cache = Cache(sequences=3)
    for text in ("zzzz", "abcd", "ab"):
        cache.cells.release(cache.open_and_read(text))
    cache.open_and_read("xxxx")
    assert [cache.cells.common_prefix(ids(text)) for text in ("zzzz", "abcd")] == [4, 4]


def test_a_shifted_sequence_keeps_only_what_was_read_before():
    cache = Cache()
    number = cache.open_and_read("abcdefgh")
    assert cache.memory.shift(2, 5, sequence=number)
    cache.cells.shifted(number, 2, 5)
    assert [*cache.cells.tokens(number)] == ids("abfgh") == cache.memory.tokens(number)
    assert cache.cells.common_prefix(ids("abfgh")) == 2
    cache.cells.release(number)
    assert cache.cells.used == cache.memory.used == 2


def test_whose_cells_they_are_is_known():
    cache = Cache()
    number = cache.open_and_read("abcd")
    assert cache.cells.owns_alone(number, 0)
    cache.open_and_read("abxy")
    assert not cache.cells.owns_alone(number, 1)
    assert cache.cells.owns_alone(number, 2)


def test_a_recurrent_model_shares_but_whole_sequences():
    cache = Cache(is_recurrent=True)
    first = cache.open_and_read("abcd")
    assert cache.cells.open(ids("abxy"))[1] == 0
    assert cache.cells.open(ids("abcdef"))[1] == 4
    assert cache.cells.truncate(first, 2) == 0


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_a_common_length_is_where_both_part(one: list[int], other: list[int]):
    length = common_length(one, other)
    assert one[:length] == other[:length]
    assert one[length : length + 1] != other[length : length + 1] or length == min(len(one), len(other))


STEPS = st.lists(
    st.tuples(st.sampled_from(["open", "open", "extend", "truncate", "release", "drop", "room"]), st.integers(0, 99)),
    max_size=60,
)
TEXTS = ("aaaaaaaa", "aaaabbbb", "aaaabbcc", "ab", "baaaaaaa", "aaaaaaaabbbb")


@pytest.mark.parametrize("is_recurrent", [False, True])
@given(steps=STEPS)
def test_the_ledger_always_says_what_the_memory_holds(is_recurrent: bool, steps: list[tuple[str, int]]):
    cache, active = Cache(10_000, 4, is_recurrent=is_recurrent), []
    for what, choice in steps:
        if what == "open" and len(active) < 4:
            active.append(cache.open_and_read(TEXTS[choice % len(TEXTS)]))
        elif what == "room":
            cache.cells.make_room(cache.cells.capacity - choice)
        elif active:
            number = active[choice % len(active)]
            held = len(cache.cells.tokens(number))
            if what == "extend":
                cache.memory.read(number, [choice], held)
                cache.cells.extend(number, [choice])
            elif what == "truncate":
                cache.cells.truncate(number, min(choice, held))
            elif what in ("release", "drop"):
                getattr(cache.cells, what)(number)
                active.remove(number)
        assert cache.cells.used == cache.memory.used
        assert all([*cache.cells.tokens(number)] == cache.memory.tokens(number) for number in active)
