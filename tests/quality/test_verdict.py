"""The Pareto front, and what is picked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmasos.evaluation.compare import Agreement, Comparison, Side
from llmasos.evaluation.gates import parse_gate
from llmasos.evaluation.perplexity import Perplexity
from llmasos.quality.verdict import Verdict, gates_of, pareto_front, passes, smallest_that_passes


def verdict(size: int, kld: float, *, perplexity: float = 10.0) -> Verdict:
    agreement = Agreement(0, 0, kld, 0, {0.99: 5 * kld}, 1, 0, 0, 0.01, 0, 0.97, 0)
    source, own = (
        Side("model", size, Perplexity(each, 0.1, (9, 11), 1.0, 100, 400, ()), 5.0) for each in (10.0, perplexity)
    )
    return Verdict("Q4_0", size, 4.5, Comparison(source, own, agreement))


VERDICTS = st.lists(st.builds(verdict, st.integers(1, 9), st.floats(0, 1)), max_size=8)


@given(VERDICTS)
def test_of_the_front_none_is_beaten_and_all_others_are(verdicts: list[Verdict]):
    def beats(one: Verdict, other: Verdict) -> bool:
        no_worse = one.byte_count <= other.byte_count and one.divergence <= other.divergence
        return no_worse and (one.byte_count, one.divergence) != (other.byte_count, other.divergence)

    front = pareto_front(verdicts)
    assert front == sorted(front, key=lambda each: each.byte_count)
    for each in verdicts:
        assert any(beats(other, each) for other in verdicts) or each in front
    assert not any(beats(other, each) for each in front for other in verdicts)


def test_the_smallest_that_passes_is_picked():
    verdicts = [verdict(5, 0.5), verdict(7, 0.1), verdict(7, 0.05), verdict(9, 0.01)]
    assert smallest_that_passes(verdicts, [parse_gate("kld>0.2")]) is verdicts[2]
    assert smallest_that_passes(verdicts, [parse_gate("kld>0.001")]) is None


def test_every_gate_has_to_be_passed():
    found = verdict(5, 0.1, perplexity=10.3)
    assert passes(found, [parse_gate("ppl>+4%"), parse_gate("kld>0.1")])
    assert not passes(found, [parse_gate("ppl>+2%"), parse_gate("kld>0.1")])


def test_figures_are_told_by_name():
    figures = verdict(5, 0.1, perplexity=11.0).figures
    assert figures["perplexity_increase"] == 11 / 10 - 1
    assert (figures["kld"], figures["kld99"], figures["top1"], figures["size"]) == (0.1, 0.5, 0.97, 5)


def test_gates_of_numbers_are_those_that_people_write():
    assert gates_of(0.05, 2.5) == [parse_gate("kld>0.05"), parse_gate("ppl>+2.5%")]
    assert gates_of(None, None) == []
