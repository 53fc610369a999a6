"""The scheduler over a cache of lists: what each pass reads, who waits for whom, and that nothing is ever lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.machine import Machine, guesses_for, next_token, sizes
from llmasos.engine.scheduler import (
    LOGIT_ROWS,
    PROMPT_TOKENS_BESIDE_ANSWER,
    ROOM_TO_GROW,
    WORTH_WAITING,
    share_room,
)


def test_a_prompt_is_read_in_passes_of_the_batch_size():
    machine = Machine(batch_size=64)
    task = machine.add([1] * 150)
    assert [sizes(machine.step())[task] for _ in range(4)] == [64, 64, 22, 1]


def test_a_long_prompt_never_delays_a_running_answer():
    machine = Machine(batch_size=512)
    answer = machine.add([1, 2, 3])
    machine.step()
    prompt = machine.add(list(range(1000, 1900)))
    for _ in range(7):
        assert sizes(machine.step()) == {answer: 1, prompt: PROMPT_TOKENS_BESIDE_ANSWER}
    assert sizes(machine.step()) == {answer: 1, prompt: 4}


def test_a_short_prompt_is_read_at_once_beside_a_long_one():
    machine = Machine(batch_size=64)
    long = machine.add(list(range(500)))
    short = machine.add(list(range(600, 610)))
    assert sizes(machine.step()) == {long: 54, short: 10}


def test_those_who_come_together_read_their_common_beginning_once():
    machine, beginning = Machine(batch_size=64), list(range(100))
    tasks = [machine.add([*beginning, 500 + number]) for number in range(4)]
    for _ in range(4):
        machine.step()
    assert machine.memory.read_tokens - sum(len(task.tokens) - 101 for task in tasks) <= 100 + 4 + 1
    assert [task.spared for task in tasks] == [0, 100, 100, 100]


def test_a_beginning_too_short_to_wait_for_is_not_waited_for():
    machine = Machine(batch_size=64)
    tasks = [machine.add([*range(WORTH_WAITING - 1), 500 + number, *[number] * 50]) for number in range(2)]
    machine.step()
    assert machine.scheduler.running == tasks


def test_what_an_ended_task_has_read_is_spared():
    machine = Machine()
    machine.scheduler.end(first := machine.add([1, 2, 3, 4]))
    first = machine.add([1, 2, 3, 4])
    machine.step()
    machine.scheduler.end(first)
    second = machine.add([1, 2, 3, 9])
    machine.step()
    assert second.spared == 3


def test_the_last_token_is_read_again_for_its_logits():
    machine = Machine()
    first = machine.add([1, 2, 3])
    machine.step()
    machine.scheduler.end(first)
    second = machine.add([1, 2, 3])
    assert sizes(machine.step()) == {second: 1}


def test_tokens_whose_logits_are_wanted_are_read_in_small_parts():
    machine = Machine(batch_size=512)
    task = machine.add(list(range(300)), logits_from=10)
    parts = [machine.step()[0] for _ in range(3)]
    assert [(len(part.tokens), part.logit_count) for part in parts] == [
        (10 + LOGIT_ROWS, LOGIT_ROWS),
        (LOGIT_ROWS, LOGIT_ROWS),
        (290 - 2 * LOGIT_ROWS, 290 - 2 * LOGIT_ROWS),
    ]
    assert task.pending == 1


def test_a_context_may_be_made_for_more_rows_of_logits_at_a_time():
    machine = Machine(batch_size=512, logit_rows=256)
    machine.add(list(range(512)), logits_from=256)
    [part] = machine.step()
    assert (len(part.tokens), part.logit_count) == (512, 256)


def test_who_is_alone_neither_gets_what_others_read_nor_leaves_anything():
    machine = Machine()
    first = machine.add([1, 2, 3, 4])
    machine.step()
    machine.scheduler.end(first)
    for is_alone, spared in ((True, 0), (False, 4)):
        task = machine.add([1, 2, 3, 4, 5, 6], is_alone=is_alone)
        machine.step()
        assert task.spared == spared
        machine.scheduler.end(task)
    assert machine.scheduler.cells.common_prefix([1, 2, 3, 4, 5, 6]) == 6
    machine.scheduler.end(machine.add([7, 8, 9], is_alone=True))
    assert machine.scheduler.cells.common_prefix([7, 8, 9]) == 0


def test_tokens_whose_logits_are_wanted_are_not_spared():
    machine = Machine()
    for logits_from, spared in ((None, 0), (2, 2), (None, 3)):
        task = machine.add([1, 2, 3, 4], logits_from=logits_from)
        machine.step()
        assert task.spared == spared
        machine.scheduler.end(task)


def test_who_does_not_fit_waits_and_those_behind_wait_too():
    machine = Machine(capacity=100)
    running = machine.add([1] * 60)
    machine.step()
    large, small = machine.add([2] * 60), machine.add([3] * 2)
    assert set(sizes(machine.step())) == {running}
    machine.scheduler.end(running)
    assert large in sizes(machine.step())
    assert small.number == -1 or small in machine.scheduler.running


def test_a_full_cache_sends_back_the_last_and_it_goes_on_where_it_was():
    machine, alone = Machine(capacity=130), Machine(capacity=130)
    first, second = machine.add([1] * 20), machine.add([2] * 20)
    for _ in range(60):
        machine.step()
    assert (second.number, len(first.tokens)) == (-1, 20 + 60)
    machine.scheduler.end(first)
    while len(second.tokens) < 100:
        machine.step()
    expected = alone.add([2] * 20)
    while len(expected.tokens) < 100:
        alone.step()
    assert second.tokens == expected.tokens


def test_an_undone_pass_is_read_again():
    machine = Machine(batch_size=8)
    task = machine.add(list(range(20)))
    machine.step()
    [part] = machine.scheduler.next_parts()
    machine.memory.read(task.number, part.tokens[:3], part.position)  # and then it was aborted
    machine.scheduler.undone(task)
    assert [(len(part.tokens), part.position) for part in machine.step()] == [(8, 8)]


def test_a_task_may_forget_its_middle():
    machine = Machine()
    task = machine.add(list(range(20)))
    machine.step()
    del task.tokens[-1]
    machine.scheduler.shift(task, 5, 10, machine.memory.shift)
    assert machine.memory.tokens(task.number) == task.tokens == [*range(5), *range(10, 20)]


def test_what_others_have_a_part_in_is_read_again_instead_of_moved():
    machine = Machine()
    task = machine.add(list(range(20)))
    machine.step()
    other = machine.add([*range(15), 99])
    machine.step()
    machine.scheduler.shift(task, 5, 10, machine.memory.shift)
    assert task.read == 5
    machine.step()
    assert machine.memory.tokens(task.number)[:15] == [*range(5), *range(10, 20)]
    assert machine.memory.tokens(other.number)[:15] == [*range(15)]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=10), st.integers(0, 100))
def test_half_the_room_is_for_the_first_and_the_shortest_get_the_rest(wanted: list[int], room: int):
    shares = share_room(wanted, room)
    assert sum(shares) == min(room, sum(wanted))
    assert all(0 <= share <= want for share, want in zip(shares, wanted, strict=True))
    assert shares[0] >= min(wanted[0], room / 2)
    others = list(zip(wanted[1:], shares[1:], strict=True))
    assert all(share == want for want, share in others if any(want < longer for longer, given in others if given))


@pytest.mark.parametrize("parallel", [1, 3])
def test_nobody_starves_while_others_keep_coming(parallel: int):
    machine = Machine(capacity=200, batch_size=32, parallel=parallel)
    large = machine.add([7] * 150)
    for number in range(300):
        machine.add([number % 50] * 20)
        for task in list(machine.scheduler.running):
            if task is not large and len(task.tokens) > 22:
                machine.scheduler.end(task)
        machine.step()
        if len(large.tokens) >= 160:
            return
    raise AssertionError("the large prompt starved")


def test_one_by_one_they_take_turns():
    machine = Machine(one_by_one=True)
    tasks = [machine.add([number] * 5) for number in range(3)]
    assert [machine.step()[0].task for _ in range(7)] == [*tasks, *tasks, tasks[0]]


def test_who_was_sent_back_is_let_in_before_those_who_only_wait():
    machine = Machine(capacity=130)
    first, second = machine.add([1] * 20), machine.add([2] * 20)
    later = machine.add([3] * 80)
    for _ in range(60):
        machine.step()
    assert list(machine.scheduler.waiting) == [second, later]
    machine.scheduler.end(first)
    machine.step()
    assert (second.number >= 0, later.number) == (True, -1)


def test_nobody_is_let_in_without_room_for_answers_to_grow():
    machine = Machine(capacity=100)
    machine.add([1] * 50)
    machine.step()
    tight, growth = machine.add([2] * 45), 2 * ROOM_TO_GROW
    machine.step()
    assert tight.number == -1
    machine.scheduler.end(tight)
    fitting = machine.add([2] * (100 - 52 - growth))
    machine.step()
    assert fitting.number >= 0


def test_guesses_that_come_true_spare_passes():
    machine = Machine()
    machine.guess = lambda tokens: guesses_for(tokens, 5)
    task = machine.add([1, 2, 3])
    passes = 0
    while task.settled_length < 63:
        machine.step()
        passes += 1
    assert passes < 40
    expected = [1, 2, 3]
    while len(expected) < task.settled_length:
        expected.append(next_token(expected))
    assert task.tokens[: task.settled_length] == expected


def test_guesses_are_given_up_before_anybody_is_sent_back():
    machine = Machine(capacity=60, parallel=2)
    machine.guess = lambda tokens: [0] * 9
    tasks = [machine.add([number + 1] * 10) for number in range(2)]
    while sum(task.settled_length for task in tasks) < 59:
        machine.step()
        assert all(task.number >= 0 for task in tasks)
