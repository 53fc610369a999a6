"""A process that works for another: answers, cancels, fails, crashes, hangs, goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from llmasos.errors import BadInputError, LlmasosError, PromptTooLongError, StoppedError
from llmasos.runner.runner import Patience, Runner

TARGET = "working:make"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def in_runner(
    work: Callable[[Runner], Awaitable[Any]], setup: dict[str, Any] | None = None, patience: Patience | None = None
) -> Any:
    async def run() -> Any:
        runner = await Runner.start(TARGET, setup or {}, name="the counter", patience=patience)
        try:
            return await work(runner)
        finally:
            await runner.close()
            assert not psutil.pid_exists(runner.pid)

    return asyncio.run(run())


async def all_of(pieces: AsyncGenerator[Any]) -> list[Any]:
    return [json.loads(piece) async for piece in pieces]


def test_answers_come_piece_by_piece_and_many_at_a_time():
    async def work(runner: Runner) -> None:
        assert runner.facts == {"pid": runner.pid, "a": 1}
        counted = await asyncio.gather(*(all_of(runner.ask({"count": count})) for count in range(1, 40)))
        assert counted == [list(range(count)) for count in range(1, 40)]
        assert runner.going_on == 0

    in_runner(work, {"a": 1})


@pytest.mark.parametrize("said", ["", "é漢🙂\n\0", "\ud800", "x" * 3_000_000, [1, {"a": None}]], ids=range(5))
def test_whatever_is_said_arrives(said: Any):
    async def work(runner: Runner) -> None:
        assert await all_of(runner.ask({"echo": said})) == [said]

    in_runner(work)


def test_leaving_an_answer_ends_the_work_on_it():
    async def work(runner: Runner) -> None:
        async with contextlib.aclosing(runner.ask({"wait": True})) as pieces:
            assert await anext(pieces) == b'"waiting"'
        assert await all_of(runner.ask({"cancelled": True})) == [1]

    in_runner(work)


def test_a_cancelled_task_ends_the_work_too():
    async def work(runner: Runner) -> None:
        task = asyncio.create_task(all_of(runner.ask({"wait": True})))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await all_of(runner.ask({"cancelled": True})) == [1]

    in_runner(work)


def test_an_error_is_the_same_on_this_side():
    async def work(runner: Runner) -> None:
        with pytest.raises(PromptTooLongError) as raised:
            await all_of(runner.ask({"fail": True}))
        expected = PromptTooLongError(10, 5)
        assert vars(raised.value) == vars(expected)
        with pytest.raises(LlmasosError, match="a fault in llmasos: KeyError: 'stumbled'"):
            await all_of(runner.ask({"stumble": True}))
        assert await all_of(runner.ask({"count": 2})) == [0, 1]

    in_runner(work)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ({"signal": signal.SIGKILL}, "the process of the counter was killed, perhaps because the memory was full"),
        ({"signal": signal.SIGSEGV}, r"the process of the counter crashed \(SIGSEGV\)"),
        ({"abort": True}, r"crashed \(SIGABRT\): ggml.c:123: GGML_ASSERT\(x > 0\) failed"),
    ],
    ids=["killed", "segmentation fault", "assertion"],
)
def test_a_crash_ends_all_that_goes_on_with_a_clear_error(harm: dict[str, Any], told: str):
    async def work(runner: Runner) -> None:
        waiting = asyncio.create_task(all_of(runner.ask({"wait": True})))
        await asyncio.sleep(0.05)
        with pytest.raises(StoppedError, match=told):
            await all_of(runner.ask(harm))
        with pytest.raises(StoppedError, match=told):
            await waiting
        assert not runner.is_alive
        with pytest.raises(StoppedError, match=told):
            await all_of(runner.ask({"count": 1}))

    in_runner(work)


def test_a_process_that_hangs_is_ended():
    async def work(runner: Runner) -> None:
        with pytest.raises(StoppedError, match="said nothing for 0 seconds and was ended"):
            await all_of(runner.ask({"sleep": 60}))

    in_runner(work, patience=Patience(reply=0.3, between_looks=0.1))


def test_a_process_that_hangs_before_it_has_read_all_is_ended_too():
    async def work(runner: Runner) -> None:
        hanging = asyncio.create_task(all_of(runner.ask({"sleep": 60})))
        with pytest.raises(StoppedError, match="said nothing"):
            await all_of(runner.ask({"echo": "x" * 10_000_000}))
        with pytest.raises(StoppedError, match="said nothing"):
            await hanging

    in_runner(work, patience=Patience(reply=0.5, between_looks=0.1))


def test_an_answer_that_is_left_at_once_leaves_nothing_behind():
    async def work(runner: Runner) -> None:
        for _ in range(20):
            asking = [asyncio.create_task(all_of(runner.ask({"wait": True}))) for _ in range(5)]
            await asyncio.sleep(0)  # they ask, and leave before the other side has read it
            for task in asking:
                task.cancel()
            await asyncio.wait(asking)
        assert runner.going_on == 0
        assert await all_of(runner.ask({"ended_tasks": True})) == [1]  # which made what works there

    in_runner(work)


def test_a_step_that_takes_for_ever_is_ended():
    async def work(runner: Runner) -> None:
        waiting = asyncio.create_task(all_of(runner.ask({"wait": True})))
        await all_of(runner.ask({"seem_busy": 50.0}))
        with pytest.raises(StoppedError, match="did not come to an end of one step in 40 seconds and was ended"):
            await waiting

    in_runner(work, patience=Patience(step=40, between_looks=0.1))


def test_what_can_not_be_made_says_why():
    with pytest.raises(BadInputError, match="no such thing") as raised:
        in_runner(all_of, {"fail": True})
    assert raised.value.hint == "make it"
    with pytest.raises(StoppedError, match="was killed"):
        in_runner(all_of, {"crash": True})


def test_a_start_that_is_cancelled_leaves_no_process():
    async def run() -> list[int]:
        task = asyncio.create_task(Runner.start(TARGET, {"slow": True}, name="the slow one"))
        await asyncio.sleep(0.5)
        children = [child.pid for child in psutil.Process().children()]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return [pid for pid in children if psutil.pid_exists(pid)]

    assert asyncio.run(run()) == []


STARTS_AND_WAITS = """
import asyncio, sys
from llmasos.runner.runner import Runner
async def run():
    runner = await Runner.start("working:make", {}, name="the counter")
    print(runner.pid, flush=True)
    async for piece in runner.ask({"wait": True}): pass
asyncio.run(run())
"""


def test_a_process_never_outlives_the_one_that_started_it():
    parent = subprocess.Popen([sys.executable, "-c", STARTS_AND_WAITS], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _is_running(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_running(child)


def _is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
