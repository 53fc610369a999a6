"""Models in memory: loaded when they are asked for, gone when nobody asks any more or others need the room."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llmasos.errors import DoesNotFitError, TimeUpError
from llmasos.runner.runner import Runner
from llmasos.server.options import FOR_EVER

A_CENTURY = 100 * 365 * 86_400.0
Start = Callable[[str, Mapping[str, Any]], Awaitable[Runner]]
Result = TypeVar("Result")
Need = Callable[[str, Mapping[str, Any]], int]  # bytes that a model would take


@dataclass(eq=False)
class Held:
    """A model in memory. `settings` are those that it was loaded with; `expires_at` is None while it stays for ever."""

    name: str
    settings: Mapping[str, Any]
    byte_count: int
    runner: Runner
    keep_alive: float
    users: int = 0
    used_at: float = field(default_factory=time.monotonic)
    is_leaving: bool = False  # nobody new gets it; it goes when its last user has

    def serves(self, settings: Mapping[str, Any]) -> bool:
        """Whether a request for those settings can be answered: by a longer context too, and by any, if none is named.

        One that was loaded with a shorter context than usual is for requests for such alone. What was loaded for the
        same settings serves whatever it got: it would get no more another time.
        """
        if settings == self.settings:
            return True
        context = self.runner.facts.get("context_length", self.settings.get("context_length", 0))
        wanted = settings.get("context_length") or self.runner.facts.get("usual_context", 0)
        others = {name: value for name, value in settings.items() if name != "context_length"}
        return context >= wanted and all(self.settings.get(name) == value for name, value in others.items())

    @property
    def expires_at(self) -> float | None:
        return None if self.keep_alive == FOR_EVER else self.used_at + self.keep_alive

    @property
    def seconds_left(self) -> float:
        """Until it goes if nobody asks any more; a hundred years if it stays for ever."""
        if self.expires_at is None:
            return A_CENTURY
        return max(0.0, self.keep_alive if self.users else self.expires_at - time.monotonic())


def to_evict(held: Iterable[Held], needed: int, room: int, most: int | None) -> list[Held] | None:
    """Which models have to go for another one of `needed` bytes, the least used first.

    `room` is what all may take together, `most` how many there may be. None if there is no room while those in use
    stay; what is leaving counts until it has gone.
    """
    staying = list(held)
    going: list[Held] = []
    idle = sorted((each for each in staying if not each.users and not each.is_leaving), key=lambda each: each.used_at)

    def fits() -> bool:
        rest = [each for each in staying if each not in going]
        is_few = most is None or len(rest) < most
        return is_few and (not rest or sum(each.byte_count for each in rest) + needed <= room)

    while not fits():
        if len(going) == len(idle):
            return None
        going.append(idle[len(going)])
    return going


class Pool:
    """The models of one server. Everything happens in its event loop.

    `start` loads a model, `need` says how many bytes it would take, `room` how many all may take together. A load that
    takes longer than `load_seconds` is given up, and nobody waits longer for one.
    """

    def __init__(
        self,
        start: Start,
        need: Need,
        room: Callable[[], int],
        *,
        keep_alive: float,
        most: int | None = None,
        load_seconds: float = math.inf,
    ) -> None:
        self._start, self._need, self._room, self._load_seconds = start, need, room, load_seconds
        self._keep_alive, self._most = keep_alive, most
        self._held: dict[str, Held] = {}
        self._leaving: set[Held] = set()
        self._loading: dict[str, asyncio.Task[Held]] = {}
        self._making_room = asyncio.Lock()
        self._changed = asyncio.Event()  # somebody has left
        self._watching: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def use(
        self, name: str, settings: Mapping[str, Any], *, keep_alive: float | None = None
    ) -> AsyncIterator[Held]:
        """The model while it is used, loaded if need be; anew if it was with settings that do not serve.

        `keep_alive` is for how many seconds it stays from the end of this use on. Raises what `start` raises, and
        TimeUpError.
        """
        held = await self._get(name, settings)
        try:
            yield held
        finally:
            held.users -= 1
            held.used_at = time.monotonic()
            if keep_alive is not None:
                held.keep_alive = keep_alive
            if not held.users and (held.is_leaving or held.keep_alive == 0):
                await asyncio.shield(self._remove(held))
            self._tell()

    def held(self) -> list[Held]:
        """All that are in memory, the last used first."""
        return sorted(self._held.values(), key=lambda each: -each.used_at)

    async def unload(self, name: str) -> bool:
        """Takes a model out of memory, when its last user has left; False if it is not there."""
        held = self._held.get(name)
        if held is None:
            return False
        await self._dismiss(held)
        return True

    async def close(self) -> None:
        for task in filter(None, [self._watching, *self._loading.values()]):
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        await asyncio.gather(*(held.runner.close() for held in [*self._held.values(), *self._leaving]))
        self._held.clear()
        self._leaving.clear()

    async def _get(self, name: str, settings: Mapping[str, Any]) -> Held:
        """The model with one user more."""
        while True:
            held = self._held.get(name)
            if held and held.runner.is_alive and held.serves(settings):
                held.users += 1
                return held
            if held:
                await self._dismiss(held)
            await self._loaded(name, settings)

    async def _loaded(self, name: str, settings: Mapping[str, Any]) -> None:
        """Waits for the one load of a model, which goes on if whoever began it leaves: others may wait for it too."""
        loading = self._loading.get(name)
        if loading is None:
            loading = self._loading[name] = asyncio.create_task(self._load(name, settings))
            loading.add_done_callback(lambda task: self._forget(name, task))
        await self._in_time(name, asyncio.shield(loading))

    async def _in_time(self, name: str, work: Awaitable[Result]) -> Result:
        try:
            return await asyncio.wait_for(work, None if math.isinf(self._load_seconds) else self._load_seconds)
        except asyncio.TimeoutError:
            raise TimeUpError(
                f"{name} was not in memory within {self._load_seconds:g} seconds", hint="try again a while later"
            ) from None

    def _forget(self, name: str, task: asyncio.Task[Held]) -> None:
        del self._loading[name]
        if not task.cancelled():
            task.exception()  # whoever waits gets it; if nobody does, nobody is to be told

    async def _load(self, name: str, settings: Mapping[str, Any]) -> Held:
        async with self._making_room:  # one load at a time knows how much room there is
            needed = await asyncio.to_thread(self._need, name, settings)  # it reads the model's header
            await self._make_room(name, needed)
            runner = await self._in_time(name, self._start(name, settings))
            byte_count = int(runner.facts.get("byte_count") or needed)
            held = self._held[name] = Held(name, settings, byte_count, runner, self._keep_alive)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        return held

    async def _make_room(self, name: str, needed: int) -> None:
        while True:
            present = [*self._held.values(), *self._leaving]
            going = to_evict(present, needed, self._room(), self._most)
            if going is not None:
                await asyncio.gather(*map(self._remove, going))
                return
            if not self._leaving and not any(each.users for each in present):
                raise DoesNotFitError(f"there is no room in memory for {name}")
            self._changed.clear()
            await self._changed.wait()

    async def _dismiss(self, held: Held) -> None:
        """Nobody new gets it, and it goes when its last user has."""
        held.is_leaving = True
        if self._held.get(held.name) is held:
            del self._held[held.name]
        if not held.users:
            await self._remove(held)
        else:
            self._leaving.add(held)

    async def _remove(self, held: Held) -> None:
        if self._held.get(held.name) is held:
            del self._held[held.name]
        self._leaving.add(held)
        await held.runner.close()
        self._leaving.discard(held)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()

    async def _watch(self) -> None:
        """Takes out what nobody has used for its time."""
        while self._held:
            now = time.monotonic()
            due = [each for each in self._held.values() if not each.users and each.expires_at is not None]
            for held in due:
                if held.expires_at is not None and held.expires_at <= now:
                    await self._dismiss(held)
            await asyncio.sleep(1.0)
