"""Models in memory: one load for many requests, what goes to make room, what ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmasos.errors import BadInputError, DoesNotFitError, TimeUpError
from llmasos.server.pool import Held, Pool, to_evict


class Process:
    """What a pool asks of a runner."""

    def __init__(self, name: str) -> None:
        self.name, self.is_alive = name, True
        self.facts: dict[str, Any] = {} if name != "short" else {"context_length": 64, "usual_context": 4096}
        self.closed = 0

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.is_alive = False
        self.closed += 1


class Machine:
    """Loads processes that take as many bytes as their name says."""

    def __init__(
        self, room: int = 100, *, most: int | None = None, keep_alive: float = 60.0, load_seconds: float = 20.0
    ) -> None:
        self.room = room
        self.started: list[Process] = []
        self.seconds = 0.01
        self.pool = Pool(
            self.start, self.need, lambda: self.room, keep_alive=keep_alive, most=most, load_seconds=load_seconds
        )

    async def start(self, name: str, settings: Mapping[str, Any]) -> Any:
        await asyncio.sleep(self.seconds)
        if name == "bad":
            raise BadInputError("a bad model")
        assert (
            sum(self.need(each.name, {}) for each in self.started if each.is_alive) + self.need(name, {}) <= self.room
        )
        self.started.append(Process(name))
        return self.started[-1]

    def need(self, name: str, settings: Mapping[str, Any]) -> int:
        return int(name.split("-")[-1]) if "-" in name else 10

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.pool.held()]


def run(work: Callable[[Machine], Awaitable[None]], machine: Machine | None = None) -> None:
    async def with_pool() -> None:
        ours = machine or Machine()
        try:
            await asyncio.wait_for(work(ours), 20)
        finally:
            await ours.pool.close()
        assert not any(each.is_alive for each in ours.started)

    asyncio.run(with_pool())


async def use(machine: Machine, name: str, seconds: float = 0.0, **settings: Any) -> Process:
    async with machine.pool.use(name, settings) as held:
        await asyncio.sleep(seconds)
        process: Any = held.runner
        return process


def test_many_requests_wait_for_one_load():
    async def work(machine: Machine) -> None:
        used = await asyncio.gather(*(use(machine, "a") for _ in range(20)))
        assert len(machine.started) == 1
        assert set(used) == set(machine.started)

    run(work)


def test_a_load_goes_on_when_whoever_began_it_leaves():
    async def work(machine: Machine) -> None:
        machine.seconds = 0.1
        first = asyncio.create_task(use(machine, "a"))
        await asyncio.sleep(0.02)
        second = asyncio.create_task(use(machine, "a"))
        await asyncio.sleep(0.02)
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        assert await second is machine.started[0]
        assert len(machine.started) == 1

    run(work)


def test_a_load_that_fails_fails_all_and_may_be_tried_again():
    async def work(machine: Machine) -> None:
        results = await asyncio.gather(*(use(machine, "bad") for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in results] == [BadInputError] * 3
        with pytest.raises(BadInputError):
            await use(machine, "bad")
        assert machine.names == []

    run(work)


def test_the_least_used_goes_to_make_room():
    async def work(machine: Machine) -> None:
        for name in ("a-40", "b-40", "a-40", "c-40"):
            await use(machine, name)
        assert machine.names == ["c-40", "a-40"]
        await use(machine, "d-90")
        assert machine.names == ["d-90"]

    run(work)


def test_one_in_use_is_waited_for():
    async def work(machine: Machine) -> None:
        busy = asyncio.create_task(use(machine, "a-60", 0.2))
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        await use(machine, "b-60")
        assert time.monotonic() - begun > 0.1
        assert not (await busy).is_alive

    run(work)


def test_a_model_too_large_for_the_room_is_tried_alone():
    async def work(machine: Machine) -> None:
        machine.room = 1000
        await use(machine, "a-40")
        machine.room = 100
        with pytest.raises(AssertionError):  # the machine's own refusal
            await use(machine, "b-200")
        assert machine.names == []

    run(work)


def test_at_most_so_many_are_held():
    async def work(machine: Machine) -> None:
        for name in ("a", "b", "c"):
            await use(machine, name)
        assert machine.names == ["c", "b"]

    run(work, Machine(most=2))


def test_other_settings_load_it_anew_and_let_the_old_one_finish():
    async def work(machine: Machine) -> None:
        old = asyncio.create_task(use(machine, "a", 0.15, context_length=1))
        await asyncio.sleep(0.05)
        new = await use(machine, "a", context_length=2)
        assert machine.started[0].is_alive
        assert await old is machine.started[0] is not new
        assert (machine.started[0].is_alive, new.is_alive) == (False, True)
        assert await use(machine, "a", context_length=2) is new

    run(work)


def test_what_got_less_than_it_asked_for_is_not_loaded_again_and_again():
    async def work(machine: Machine) -> None:
        assert await use(machine, "short") is await use(machine, "short")
        longer = await use(machine, "short", context_length=128)
        assert (
            longer is await use(machine, "short", context_length=128) is await use(machine, "short", context_length=64)
        )
        assert len(machine.started) == 2

    run(work)


def test_one_that_died_is_loaded_again():
    async def work(machine: Machine) -> None:
        first = await use(machine, "a")
        first.is_alive = False
        second = await use(machine, "a")
        assert second is not first
        assert second.is_alive

    run(work)


def test_what_nobody_uses_ends_after_its_time():
    async def work(machine: Machine) -> None:
        process = await use(machine, "a")
        assert process.is_alive
        for _ in range(40):
            await asyncio.sleep(0.1)
            if not process.is_alive:
                break
        assert not process.is_alive
        async with machine.pool.use("b", {}, keep_alive=0) as held:
            kept = held.runner
        assert not kept.is_alive
        async with machine.pool.use("c", {}, keep_alive=-1) as held:
            pass
        assert machine.pool.held()[0].expires_at is None

    run(work, Machine(keep_alive=0.2))


def test_unloading_waits_for_those_who_use_it():
    async def work(machine: Machine) -> None:
        assert not await machine.pool.unload("a")
        busy = asyncio.create_task(use(machine, "a", 0.1))
        await asyncio.sleep(0.05)
        assert await machine.pool.unload("a")
        assert (machine.names, machine.started[0].is_alive) == ([], True)
        await busy
        assert not machine.started[0].is_alive

    run(work)


def test_there_is_an_error_where_nothing_could_ever_leave():
    with pytest.raises(DoesNotFitError):
        run(lambda machine: use(machine, "a"), Machine(most=0))  # type: ignore[arg-type]


def held_of(name: str, byte_count: int, users: int, used_at: float) -> Held:
    process: Any = Process(name)
    return Held(name, {}, byte_count, process, 60.0, users, used_at)


sizes = st.integers(1, 50)
present = st.lists(st.tuples(sizes, st.integers(0, 2), st.floats(0, 100)), max_size=6).map(
    lambda rows: [held_of(str(number), *row) for number, row in enumerate(rows)]
)


@given(present, sizes, st.integers(1, 100), st.none() | st.integers(1, 5))
def test_only_idle_ones_go_the_least_used_first_and_no_more_than_needed(
    held: list[Held], needed: int, room: int, most: int | None
):
    def fits(going: list[Held]) -> bool:
        rest = [each for each in held if each not in going]
        return (most is None or len(rest) < most) and (
            not rest or sum(each.byte_count for each in rest) + needed <= room
        )

    idle = sorted((each for each in held if not each.users), key=lambda each: each.used_at)
    going = to_evict(held, needed, room, most)
    if going is None:
        assert not fits(idle)
    else:
        assert going == idle[: len(going)]
        assert fits(going)
        assert not going or not fits(going[:-1])


@given(st.lists(st.tuples(st.sampled_from(["a-40", "b-30", "c-60", "d-20"]), st.integers(0, 3)), max_size=25))
def test_whatever_is_asked_the_room_is_kept_to(asked: list[tuple[str, int]]):
    async def work(machine: Machine) -> None:
        machine.seconds = 0.0
        await asyncio.gather(*(use(machine, name, 0.0, n=setting) for name, setting in asked))

    run(work)  # the machine asserts it at every start


def test_a_load_that_takes_too_long_is_given_up_and_holds_nobody_up():
    async def work(machine: Machine) -> None:
        machine.seconds = 60
        with pytest.raises(TimeUpError, match="a was not in memory within 0.1 seconds"):
            await use(machine, "a")
        await asyncio.sleep(0.05)  # whoever comes in the moment of its end is told the same
        machine.seconds = 0.01
        await use(machine, "a")
        await use(machine, "b")
        assert len(machine.started) == 2

    run(work, Machine(load_seconds=0.1))


def test_nobody_waits_for_room_for_ever():
    async def work(machine: Machine) -> None:
        async with machine.pool.use("a-80", {}):
            with pytest.raises(TimeUpError, match="b-80 was not in memory"):
                await use(machine, "b-80")
        await use(machine, "c-80")

    run(work, Machine(load_seconds=0.1))
