"""Whoever comes, however much they ask for and whenever they leave: everybody is answered as if alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from doubles.machine import Machine, guesses_for, next_token, sizes
from llmasos.engine.scheduler import Task


@dataclass
class Request:
    """What a person asks for: a prompt, how long the answer becomes, and the step in which they lose patience."""

    prompt: list[int]
    answer_length: int
    arrives: int
    leaves: int | None
    task: Task | None = None
    waited: list[int] = field(default_factory=list)


PROMPTS = st.tuples(st.integers(0, 3), st.integers(0, 60), st.lists(st.integers(0, 5), min_size=1, max_size=30)).map(
    lambda drawn: [1000 + drawn[0]] * drawn[1] + drawn[2]
)
REQUESTS = st.lists(
    st.builds(
        Request,
        prompt=PROMPTS,
        answer_length=st.integers(1, 40),
        arrives=st.integers(0, 40),
        leaves=st.none() | st.integers(0, 80),
    ),
    min_size=1,
    max_size=12,
)


def answered_alone(request: Request, length: int) -> list[int]:
    tokens = list(request.prompt)
    while len(tokens) < length:
        tokens.append(next_token(tokens))
    return tokens


@given(
    requests=REQUESTS,
    capacity=st.integers(132, 400),
    batch_size=st.integers(1, 200),
    parallel=st.integers(1, 6),
    kept=st.integers(0, 4),
    guessed=st.sampled_from([0, 0, 1, 5]),
)
def test_everybody_is_answered_as_if_alone(
    requests: list[Request], capacity: int, batch_size: int, parallel: int, kept: int, guessed: int
):
    """No token is lost or read twice, the cache never holds more than it can, nobody starves or is delayed."""
    machine = Machine(capacity, batch_size=batch_size, parallel=parallel, kept=kept)
    machine.guess = lambda tokens: guesses_for(tokens, guessed)
    waiting, open_requests, step = list(requests), [], 0
    while waiting or open_requests:
        for request in [each for each in waiting if each.arrives <= step]:
            waiting.remove(request)
            request.task = machine.add(request.prompt)
            open_requests.append(request)
        answers = {task for task in machine.scheduler.running if task.is_growing}
        parts = machine.step()
        read = set(sizes(parts))
        assert all(task in read or task.number == -1 for task in answers)
        assert sum(sizes(parts).values()) <= batch_size
        assert parts or not machine.scheduler.running
        for request in list(open_requests):
            assert request.task is not None
            is_done = request.task.settled_length >= len(request.prompt) + request.answer_length
            if is_done or (request.leaves is not None and request.leaves <= step):
                machine.scheduler.end(request.task)
                open_requests.remove(request)
                assert answered_alone(request, len(request.task.tokens)) == request.task.tokens
        step += 1
        assert step < 20_000
    assert machine.scheduler.is_idle
    assert machine.scheduler.cells.active == 0
    assert machine.scheduler.cells.make_room(capacity)
    assert machine.memory.used == 0


@given(requests=REQUESTS, batch_size=st.integers(1, 200), parallel=st.integers(1, 6))
def test_one_by_one_everybody_is_read_in_the_same_parts_as_if_alone(
    requests: list[Request], batch_size: int, parallel: int
):
    together = parts_of(requests, batch_size, parallel)
    for request, parts in zip(requests, together, strict=True):
        assert parts_of([request], batch_size, 1) == [parts]


def parts_of(requests: list[Request], batch_size: int, parallel: int) -> list[list[tuple[int, int]]]:
    """Of each request, the position and length of its parts, which are alone in their passes."""
    machine = Machine(parallel * 200, batch_size=batch_size, parallel=parallel, kept=0, one_by_one=True)
    tasks = [machine.add(request.prompt) for request in requests]
    read: dict[Task, list[tuple[int, int]]] = {task: [] for task in tasks}
    while not machine.scheduler.is_idle:
        [part] = machine.step()
        read[part.task].append((part.position, len(part.tokens)))
        request = requests[tasks.index(part.task)]
        if len(part.task.tokens) >= len(request.prompt) + request.answer_length:
            machine.scheduler.end(part.task)
    return list(read.values())
