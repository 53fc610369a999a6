"""How texts are cut into windows."""

from __future__ import annotations

import pytest

from llmasos.evaluation.windows import Vocabulary, chunks, rolling

BEGINNING = Vocabulary(100, True, 100)
NONE = Vocabulary(None, False, None)


def test_chunks_are_whole_begin_with_the_beginning_and_score_their_second_half():
    found = chunks(range(19), 8, BEGINNING)
    assert [list(each.tokens) for each in found] == [[100, *range(1, 8)], [100, *range(9, 16)]]
    assert [list(each.scored) for each in found] == [[5, 6, 7], [13, 14, 15]]


def test_chunks_keep_their_first_token_where_texts_get_no_beginning():
    assert [each.tokens[0] for each in chunks(range(16), 8, Vocabulary(100, False, 100))] == [0, 8]


@pytest.mark.parametrize("count", range(1, 20))
@pytest.mark.parametrize("stride", [None, 1, 2, 3, 4])
def test_rolling_scores_each_token_once_with_no_more_before_it_than_the_context(count: int, stride: int | None):
    found = rolling(range(count), 4, BEGINNING, stride)
    assert [token for each in found for token in each.scored] == list(range(count))
    assert all(len(each.tokens) == min(5, count + 1) for each in found)
    if stride is not None:
        assert all(each.first >= 5 - stride for each in found[1:])


def test_without_any_prefix_the_first_token_has_nothing_before_it():
    assert [list(each.scored) for each in rolling([7, 8, 9], 4, NONE)] == [[8, 9]]
