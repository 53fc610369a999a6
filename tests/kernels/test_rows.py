"""Kernels over rows of logits, on every level of this machine and in NumPy: the same as float64 computes."""

from __future__ import annotations

import numpy as np
import pytest

from llmasos import kernels, native
from llmasos.errors import BadInputError

WIDTHS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 255, 257, 511, 513, 999, 1000, 1025, 4099]
TOLERANCE = 1e-6


@pytest.fixture(params=[0, *kernels.available_levels()], ids=kernels.LEVELS.__getitem__, autouse=True)
def level(request, monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, kernels.LEVELS[request.param])


def normal(width: int, rows: int = 3, scale: float = 3) -> np.ndarray:
    return np.random.default_rng(width).normal(0, scale, (rows, width)).astype(np.float32)


def log_sums(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    greatest = wide.max(axis=1, keepdims=True)
    return greatest[:, 0] + np.log(np.exp(wide - greatest).sum(axis=1))


def log_probabilities(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float64) - log_sums(rows)[:, None]


def entropies(rows: np.ndarray) -> np.ndarray:
    surprises = log_probabilities(rows)
    return -np.where(np.isinf(rows), 0, np.exp(surprises) * np.where(np.isinf(rows), 0, surprises)).sum(axis=1)


def divergences(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    own, other = log_probabilities(rows), log_probabilities(others)
    return (np.exp(own) * (own - other)).sum(axis=1)


def ranking(row: np.ndarray, count: int) -> np.ndarray:
    return np.lexsort((np.arange(len(row)), -row.astype(np.float64)))[:count]


KINDS = {
    "normal": normal,
    "steep": lambda width: normal(width, scale=30),
    "flat": lambda width: normal(width, scale=1e-3),
    "equal": lambda width: np.full((2, width), 7.25, np.float32),
    "far from 0": lambda width: normal(width) - 5000,
    "huge": lambda width: normal(width, scale=1e30),
    "as far apart as can be": lambda width: np.resize(np.float32([3.4e38, -3.4e38]), (2, width)),
    "few of them possible": lambda width: np.where(np.arange(width) % 7 == 3 % width, normal(width), -np.inf).astype(
        "f4"
    ),
    "rising": lambda width: np.arange(2 * width, dtype=np.float32).reshape(2, width) / 100,
    "of few values": lambda width: np.round(normal(width)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_log_sum_exp_is_that_of_float64(kind):
    for rows in map(KINDS[kind], WIDTHS):
        np.testing.assert_allclose(native.log_sum_exp(rows), log_sums(rows), rtol=1e-7, atol=TOLERANCE)


def test_every_width_up_to_a_few_vectors():
    for width in range(1, 300):
        rows = normal(width)
        found = native.top(rows, min(width, 5))
        np.testing.assert_allclose(found.log_sums, log_sums(rows), atol=TOLERANCE)
        assert [*found.tokens[0]] == [*ranking(rows[0], 5)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 5, 64, 300])
def test_the_greatest_logits_come_in_order_and_equal_ones_by_token(kind, count):
    for rows in map(KINDS[kind], WIDTHS):
        found = native.top(rows, count)
        for row, logits, tokens in zip(rows, found.logits, found.tokens, strict=True):
            assert np.array_equal(tokens, ranking(row, count))
            assert np.array_equal(logits, row[tokens])
        np.testing.assert_allclose(found.log_sums, log_sums(rows), rtol=1e-7, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["normal", "equal", "rising", "of few values", "few of them possible"])
@pytest.mark.parametrize("count", [64, 1023, 1024, 1025])
@pytest.mark.parametrize("width", [49_152, 300_001])
def test_a_whole_vocabulary_has_its_greatest_logits(kind, count, width):
    rows = KINDS[kind](width)[:1]
    found = native.top(rows, count)
    assert np.array_equal(found.tokens[0], ranking(rows[0], count))
    np.testing.assert_allclose(found.log_sums, log_sums(rows), atol=TOLERANCE)


def test_a_million_small_shares_are_added_up_without_loss():
    """Each is rounded the same way when it is added to a lane's sum."""
    rows = np.full((1, 2**20), -1.234, np.float32)
    rows[0, 77] = 0
    np.testing.assert_allclose(native.log_sum_exp(rows), log_sums(rows), atol=3e-7)
    np.testing.assert_allclose(native.entropy(rows), entropies(rows), atol=TOLERANCE)


@pytest.mark.parametrize("way", [1e-5, 1, 40, 5000])
def test_a_sum_may_rise_as_long_as_the_row_is_read(way):
    rows = np.linspace(-way, 0, 2**20, dtype=np.float32)[None]
    np.testing.assert_allclose(native.log_sum_exp(rows), log_sums(rows), atol=TOLERANCE)
    np.testing.assert_allclose(native.top(rows, 3).log_sums, log_sums(rows), atol=TOLERANCE)


def test_a_row_may_begin_with_what_is_impossible():
    rows = np.full((1, 20_000), -np.inf, np.float32)
    rows[0, 15_000:] = normal(5000, rows=1)[0] - 300
    np.testing.assert_allclose(native.log_sum_exp(rows), log_sums(rows), rtol=1e-8, atol=TOLERANCE)
    assert [*native.top(rows, 9).tokens[0]] == [*ranking(rows[0], 9)]


def test_zeros_of_either_sign_are_equal_and_come_back_as_they_were():
    found = native.top(np.array([[-1, -0.0, 0.0, -0.0]], np.float32), 3)
    assert found.tokens.tolist() == [[1, 2, 3]]
    assert np.signbit(found.logits).tolist() == [[True, False, True]]


def test_the_log_probability_of_a_token():
    rows, tokens = normal(1000), np.array([0, 500, 999])
    expected = log_probabilities(rows)[np.arange(3), tokens]
    np.testing.assert_allclose(native.log_probabilities(rows, tokens), expected, atol=TOLERANCE)


@pytest.mark.parametrize("token", [-1, 8])
def test_there_is_no_log_probability_of_no_token(token):
    with pytest.raises(IndexError):
        native.log_probabilities(normal(8), [0, token, 0])


@pytest.mark.parametrize("kind", ["normal", "steep", "flat", "equal", "far from 0", "huge", "few of them possible"])
def test_entropy_is_that_of_float64(kind):
    for rows in map(KINDS[kind], WIDTHS):
        np.testing.assert_allclose(native.entropy(rows), entropies(rows), atol=3e-6)


def test_the_entropy_of_equal_logits_is_the_logarithm_of_their_number():
    assert native.entropy(np.zeros((1, 1000), np.float32)) == pytest.approx(np.log(1000), abs=TOLERANCE)


@pytest.mark.parametrize("kind", ["normal", "steep", "flat", "equal", "far from 0"])
@pytest.mark.parametrize("noise", [0, 0.01, 2])
def test_divergence_is_that_of_float64(kind, noise):
    for rows in map(KINDS[kind], WIDTHS):
        others = rows + np.float32(noise) * normal(rows.shape[1] + 1, rows=len(rows))[:, 1:] + 3
        np.testing.assert_allclose(native.divergence(rows, others), divergences(rows, others), rtol=1e-6, atol=3e-6)


def test_divergence_from_oneself_is_0():
    assert native.divergence(normal(1000), normal(1000)).tolist() == [0, 0, 0]


def test_divergence_is_infinite_where_the_other_row_lacks_what_the_row_has_and_not_the_other_way_round():
    rows, others = np.zeros((2, 40), np.float32), np.zeros((2, 40), np.float32)
    others[0, 37] = rows[1, 37] = -np.inf
    assert native.divergence(rows, others)[0] == np.inf
    assert native.divergence(rows, others)[1] == pytest.approx(np.log(40 / 39), abs=TOLERANCE)
    assert native.divergence(rows[1:], rows[1:]) == [0]


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf])
@pytest.mark.parametrize("width", [1, 128, 1000])
@pytest.mark.parametrize("ask", [native.log_sum_exp, lambda rows: native.top(rows, 3), native.entropy])
def test_a_row_that_is_no_distribution_is_named(bad, width, ask):
    rows = normal(width)
    rows[1, width - 1] = bad
    with pytest.raises(BadInputError, match="row 1 of the logits is no distribution"):
        ask(rows)


def test_nothing_but_minus_infinity_is_no_distribution():
    with pytest.raises(BadInputError, match="row 0 .* nothing but -infinity"):
        native.log_sum_exp(np.full((1, 9), -np.inf, np.float32))


@pytest.mark.parametrize("side", [0, 1])
def test_a_divergence_of_what_is_no_distribution_is_refused(side):
    pair = [normal(100), normal(100)]
    pair[side][2, 50] = np.nan
    with pytest.raises(BadInputError, match="row 2"):
        native.divergence(*pair)


@pytest.mark.parametrize("offset", range(1, 8))
def test_rows_are_read_where_they_lie(offset):
    """Not at a vector's boundary, with more than their width between them."""
    place = normal(200, rows=4)
    rows = place[:, offset : offset + 101]
    np.testing.assert_allclose(native.log_sum_exp(rows), log_sums(rows), atol=TOLERANCE)
    assert [*native.top(rows[::-2], 4).tokens[0]] == [*ranking(rows[3], 4)]
    np.testing.assert_allclose(native.divergence(rows, place[:, :101]), divergences(rows, place[:, :101]), atol=3e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda rows: rows.astype(np.float64),
        lambda rows: np.asfortranarray(rows),
        lambda rows: np.frombuffer(b"?" + rows.tobytes(), np.uint8)[1:].view(np.float32).reshape(rows.shape),
    ],
    ids=["float64", "by columns", "at an odd address"],
)
def test_other_arrays_are_taken_too(make):
    rows = normal(77)
    np.testing.assert_allclose(native.log_sum_exp(make(rows)), log_sums(rows), atol=TOLERANCE)


def test_what_is_no_rows_is_refused():
    for wrong in (np.zeros(5, np.float32), np.zeros((2, 0), np.float32)):
        with pytest.raises(ValueError, match="rows of logits are wanted"):
            native.log_sum_exp(wrong)
    with pytest.raises(ValueError, match="can't be compared"):
        native.divergence(normal(5), normal(6))
    with pytest.raises(ValueError, match="at least one"):
        native.top(normal(5), 0)


def test_no_rows_have_no_sums():
    assert native.log_sum_exp(np.zeros((0, 5), np.float32)).shape == (0,)
    assert native.top(np.zeros((0, 5), np.float32), 2).tokens.shape == (0, 2)


def candidates(row: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    """What the library returns, and the candidates that it found."""
    used = kernels.find_kernels()
    if used is None:
        pytest.skip("NumPy has no part in this")
    found = np.zeros(count, [("token", np.int32), ("logit", np.float32), ("probability", np.float32)])
    place = row.ctypes.data, len(row), count, found.ctypes.data
    return used.library.llmasos_row_candidates(used.level, *place), found


@pytest.mark.parametrize("width", [1, 5, 100, 1024, 49_152])
@pytest.mark.parametrize("count", [1, 40, 1024])
def test_candidates_are_the_top_in_llama_cpps_form(width, count):
    row = normal(width)[0]
    done, found = candidates(row, min(count, width))
    assert done == -1
    assert found["token"].tolist() == [*ranking(row, min(count, width))]
    assert found["logit"].tolist() == row[found["token"]].tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_candidates_of_what_is_no_distribution_are_none(value):
    assert candidates(np.full(1000, value, np.float32), 40)[0] == 0


@pytest.mark.parametrize("place", [0, 17, 500, 999])
def test_candidates_beside_nan_are_tokens_still(place):
    row = normal(1000)[0]
    row[place:] = np.nan
    done, found = candidates(row, 40)
    assert done == 0 or 0 <= found["token"].min() <= found["token"].max() < 1000
