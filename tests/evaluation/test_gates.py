"""Gates: what people write, and what fails by it."""

from __future__ import annotations

import pytest

from llmasos.errors import QualityGateError, UsageError
from llmasos.evaluation.compare import SHARES, Agreement, Comparison, Side
from llmasos.evaluation.gates import failures, parse_gate, require
from llmasos.evaluation.perplexity import Perplexity


def side(perplexity: float, size: int, speed: float) -> Side:
    return Side("it", size, Perplexity(perplexity, 0.1, (1, 2), 1.0, 100, 400, (perplexity,)), speed)


AGREEMENT = Agreement(0.02, 0.01, 0.04, 0.01, dict.fromkeys(SHARES, 0.3), 1.0, 0.0, 0.0, 0.05, 0.01, 0.94, 0.01)
COMPARISON = Comparison(side(10.0, 1000, 50.0), side(10.3, 400, 80.0), AGREEMENT)
OF_STRANGERS = Comparison(COMPARISON.reference, COMPARISON.other, None)


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("ppl>+2%", True),
        ("ppl>+3.1%", False),
        ("ppl > +0.2", True),
        ("ppl>+.4", False),
        ("ppl>10.2", True),
        ("ppl>10.4", False),
        ("kld>0.03", True),
        ("kld>0.05", False),
        ("kld99>0.2", True),
        ("top1<95%", True),
        ("top1<0.93", False),
        ("dp>4%", True),
        ("speed<-10%", False),
        ("speed<+70%", True),
        ("size>-50%", False),
        ("size>-70%", True),
    ],
)
def test_limits_are_absolute_or_relative_to_the_reference(text: str, fails: bool):
    assert bool(failures([parse_gate(text)], COMPARISON)) is fails


@pytest.mark.parametrize(
    "text", ["", "ppl", "ppl>", "ppl=3", "ppl>x", "ppl>2%", "kld>+2%", "top1<-1%", "unknown>1", "ppl>>1", "ppl>1e3"]
)
def test_what_is_no_gate_is_refused(text: str):
    with pytest.raises(UsageError) as caught:
        parse_gate(text)
    assert caught.value.hint


def test_all_that_fail_are_told_with_their_figures():
    with pytest.raises(QualityGateError) as caught:
        require([parse_gate("ppl>+2%"), parse_gate("kld>1"), parse_gate("top1<95%")], [COMPARISON])
    assert caught.value.message == "it: ppl>+2% (ppl is 10.3, 10 in the reference); it: top1<95% (top1 is 0.94)"
    assert caught.value.exit_code == 6


def test_strangers_have_no_perplexities_to_compare():
    with pytest.raises(UsageError, match="different vocabularies"):
        failures([parse_gate("ppl>+2%")], OF_STRANGERS)
    assert failures([parse_gate("bpb>+2%")], OF_STRANGERS) == []
