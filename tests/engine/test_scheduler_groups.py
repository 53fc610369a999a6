"""Tasks that go on only together: a leader and those beside it, among others, however little room there is."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.machine import Machine, next_token
from llmasos.engine.scheduler import Task

LONGEST_PROMPT, LONGEST_PREFIX, LONGEST_ANSWER, MOST_BESIDE = 12, 12, 60, 3


@dataclass
class Group:
    """A prompt with prefixes, of which the answer has so many tokens; its asker leaves in a step, or never."""

    prompt: list[int]
    prefixes: list[list[int]]
    answer_length: int
    arrives: int
    leaves: int | None
    tasks: list[Task] = field(default_factory=list)
    done: set[Task] = field(default_factory=set)

    def begin(self, machine: Machine) -> None:
        self.done.clear()
        self.tasks = [machine.add(self.prompt, width=1 + len(self.prefixes))]

    def note(self, task: Task, machine: Machine) -> None:
        """As a debiased answer does: the leader is read, the others join it, and when all are read each grows."""
        self.done.add(task)
        if len(self.tasks) == 1 and self.prefixes:
            beside = [Task([*prefix, *self.prompt], width=0, leader=task) for prefix in self.prefixes]
            self.tasks += beside
            machine.scheduler.spread(beside)
        if len(self.done) == len(self.tasks):
            self.done.clear()
            token = next_token(self.tasks[0].tokens)
            for each in self.tasks:
                each.tokens.append(token)

    @property
    def cells(self) -> int:
        """That it needs at most, if it shares none."""
        own = len(self.prompt) + self.answer_length
        return own + sum(len(prefix) + own for prefix in self.prefixes)

    @property
    def is_answered(self) -> bool:
        return len(self.tasks[0].tokens) >= len(self.prompt) + self.answer_length

    def end(self, machine: Machine) -> None:
        for task in self.tasks:
            machine.scheduler.end(task)


class GroupMachine(Machine):
    groups: list[Group]

    def grow(self, task: Task) -> None:
        group = next(each for each in self.groups if task in each.tasks)
        if task.pending == 0:  # else the group has grown by another's part of the same pass
            group.note(task, self)


tokens = st.lists(st.integers(0, 3), min_size=1, max_size=LONGEST_PROMPT)
GROUPS = st.lists(
    st.builds(
        Group,
        prompt=tokens,
        prefixes=st.lists(
            st.lists(st.integers(4, 6), min_size=1, max_size=LONGEST_PREFIX), max_size=MOST_BESIDE
        ),
        answer_length=st.integers(20, LONGEST_ANSWER),
        arrives=st.integers(0, 5),
        leaves=st.none() | st.none() | st.integers(0, 60),
    ),
    min_size=2,
    max_size=6,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    groups=GROUPS,
    spare=st.integers(0, 20),
    batch_size=st.integers(1 + MOST_BESIDE, 100),
    parallel=st.integers(1 + MOST_BESIDE, 4 * (1 + MOST_BESIDE)),
    kept=st.integers(0, 4),
    one_by_one=st.booleans(),
)
def test_each_group_is_answered(
    groups: list[Group], spare: int, batch_size: int, parallel: int, kept: int, one_by_one: bool
):
    """None waits for ever, places and cells suffice, and all are free in the end."""
    largest = max(group.cells for group in groups)
    capacity = parallel * largest if one_by_one else largest + spare
    machine = GroupMachine(capacity, batch_size=batch_size, parallel=parallel, kept=kept, one_by_one=one_by_one)
    machine.groups, waiting, going, step = [], list(groups), [], 0
    while waiting or going:
        for group in [each for each in waiting if each.arrives <= step]:
            waiting.remove(group)
            group.begin(machine)
            machine.groups.append(group)
            going.append(group)
        parts = machine.step()
        assert parts or not going
        running = machine.scheduler.running
        assert sum(task.width for task in running) <= machine.scheduler.parallel
        assert len(running) <= machine.scheduler.parallel
        for group in list(going):
            if group.is_answered or (group.leaves is not None and group.leaves <= step):
                group.end(machine)
                going.remove(group)
                expected = list(group.prompt)
                while len(expected) < len(group.tasks[0].tokens):
                    expected.append(next_token(expected))
                assert group.tasks[0].tokens == expected
        step += 1
        assert step < 20_000
    assert machine.scheduler.is_idle
    assert machine.scheduler.cells.active == 0
    assert machine.scheduler.cells.make_room(capacity)
    assert machine.memory.used == 0
