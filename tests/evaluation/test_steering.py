"""Directions from pairs of states, by arithmetic that can be done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from llmasos.errors import BadInputError
from llmasos.evaluation.steering import own_pairs, read_pairs, steering_directions


def states() -> tuple[np.ndarray, np.ndarray]:
    """Of 20 pairs, 3 layers: they lie apart by 4 along an axis of each layer's own, and a little by chance."""
    chance = np.random.default_rng(3)
    negative = chance.normal(0, 1, (20, 3, 8)).astype(np.float32)
    apart = np.zeros((3, 8), np.float32)
    apart[[0, 1, 2], [5, 1, 3]] = 4
    return negative + apart + chance.normal(0, 0.1, negative.shape).astype(np.float32), negative


@pytest.mark.parametrize("method", ["mean", "pca"])
def test_layers_share_what_the_pairs_lie_apart(method: str):
    positive, negative = states()
    found = steering_directions(positive, negative, method)
    expected = np.zeros((3, 8))
    expected[[0, 1, 2], [5, 1, 3]] = 4 / 3
    np.testing.assert_allclose(found, expected, atol=0.05)
    np.testing.assert_allclose(steering_directions(negative, positive, method), -found, atol=1e-5)


def test_the_mean_is_exact():
    positive, negative = states()
    found = steering_directions(positive, negative, "mean")
    np.testing.assert_allclose(found, (positive - negative).mean(axis=0) / 3, atol=1e-6)


def test_our_pairs_are_alike_but_for_their_attitude():
    pairs = own_pairs()
    assert len({pair.positive for pair in pairs} | {pair.negative for pair in pairs}) == 2 * len(pairs)
    assert all(pair.positive.split()[-1] == pair.negative.split()[-1] for pair in pairs)


@pytest.mark.parametrize(
    "text", ["", '{"positive": "a", "negative": "b"}', "[]\n[]", '{"positive": "a", "negative": ""}\n' * 2, "no\nno"]
)
def test_what_holds_no_pairs_is_refused(text: str):
    with pytest.raises(BadInputError):
        read_pairs(text, "pairs.jsonl")
