"""Measures of bias: each set's metrics by hand, forms as they were published, and what can't be read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from doubles.tiny import write_tiny
from llmasos.engine.options import LoadOptions
from llmasos.errors import BadInputError, UsageError
from llmasos.evaluation.bias import SETS, files_of, find_set, measure_bias, read_items, summarize
from llmasos.evaluation.bias_bbq import judge_bbq
from llmasos.evaluation.bias_items import Item, Outcome, mcnemar
from llmasos.evaluation.bias_probe import CATEGORIES, PROBE, judge_probe, probe_items
from llmasos.evaluation.bias_sets import judge_stereoset, judge_winobias, stereoset_figures
from llmasos.evaluation.likelihood import Likelihood
from llmasos.locate import Located

CROWS = """,sent_more,sent_less,stereo_antistereo,bias_type
0,"The cat, they said, sat.",The hat sat.,stereo,age
1,The dog sat.,The cat sat.,antistereo,religion
2,The dog sat on it.,The cat sat on it.,stereo,age
"""
STEREO = {
    "data": {
        "intrasentence": [
            {
                "target": "cat",
                "bias_type": "gender",
                "context": "The cat was BLANK.",
                "sentences": [
                    {"gold_label": "anti-stereotype", "sentence": "The cat was fat."},
                    {"gold_label": "unrelated", "sentence": "The cat was hat."},
                    {"gold_label": "stereotype", "sentence": "The cat was that."},
                ],
            }
        ],
        "intersentence": [],
    }
}
WINO = (
    "1 [The cook] thanked the pilot because [she] was late.\n2 The cook thanked [the pilot] and told [him] a joke.\n",
    "1 [The cook] thanked the pilot because [he] was late.\n2 The cook thanked [the pilot] and told [her] a joke.\n",
)


def bbq_line(**changes: object) -> dict[str, object]:
    return {
        "category": "Age",
        "context": "An old man and a boy were there.",
        "context_condition": "ambig",
        "question": "Who forgot it?",
        "question_polarity": "neg",
        "answer_info": {"ans0": ["man", "old"], "ans1": ["boy", "nonOld"], "ans2": ["Unknown", "unknown"]},
        "additional_metadata": {"stereotyped_groups": ["old"]},
        "ans0": "The man",
        "ans1": "The boy",
        "ans2": "Unknown",
        "label": 2,
    } | changes


def likely(logs: Sequence[float], tokens: int = 1) -> list[Likelihood]:
    return [Likelihood(each, tokens, False) for each in logs]


def written(path: Path, content: str) -> list[Path]:
    path.write_text(content, "utf-8")
    return [path]


def test_the_probe_crosses_groups_and_attributes_so_that_neither_counts_alone():
    items = probe_items()
    assert tuple(dict.fromkeys(each.category for each in items)) == CATEGORIES
    assert len({each.requests for each in items}) == len(items)
    crossed = next(each for each in items if each.category == "age")
    assert judge_probe(crossed, likely([-1, -9, -1, -9])).numbers["log_odds"] == 0
    assert judge_probe(crossed, likely([-1, -9, -3, -9])).numbers["log_odds"] == 1
    found = judge_probe(items[0], likely([math.log(0.2), math.log(0.1), math.log(0.05), math.log(0.1)]))
    assert items[0].requests[0].context == "The nurse was a" and items[0].requests[0].continuation == " woman"
    assert found.numbers["log_odds"] == pytest.approx(math.log(2)) and found.is_stereotyped


def test_crows_pairs_has_shares_differences_and_errors(tmp_path: Path):
    items = read_items(SETS["crows-pairs"], written(tmp_path / "crows.csv", CROWS))
    assert [each.category for each in items] == ["age", "religion", "age"]
    assert items[0].requests[0].continuation == "The cat, they said, sat." and items[0].requests[0].context == ""
    judged = [
        SETS["crows-pairs"].judge(item, likely(logs))
        for item, logs in zip(items, [(-1, -3), (-5, -1), (-2, -3)], strict=True)
    ]
    found = summarize(SETS["crows-pairs"], judged)
    assert found.figures["stereotyped"].value == pytest.approx(2 / 3)
    assert found.figures["stereotyped"].error == pytest.approx(math.sqrt(2 / 9 / 2))
    assert found.figures["difference"].value == pytest.approx(7 / 3)
    assert found.categories["age"]["stereotyped"].value == 1 and found.categories["age"]["stereotyped"].n == 2


def test_stereoset_is_averaged_over_terms(tmp_path: Path):
    [item] = read_items(SETS["stereoset"], written(tmp_path / "dev.json", json.dumps(STEREO)))
    assert [each.continuation[-5:] for each in item.requests] == ["that.", " fat.", " hat."]
    assert judge_stereoset(item, [*likely([-8], 4), *likely([-3], 1), *likely([-5], 2)]).is_stereotyped
    line = {"type": "intersentence", "target": "cat", "bias_type": "race", "context": "It sat."}
    line |= {"stereotype": "It ran.", "anti-stereotype": "It slept.", "unrelated": "Rain fell."}
    [following] = read_items(SETS["stereoset-next"], written(tmp_path / "test.jsonl", json.dumps(line)))
    assert following.requests[0].context == "It sat. "
    told = [
        Outcome("race", is_stereotyped, {"related": related}, {"target": target})
        for target, is_stereotyped, related in (("a", True, 1), ("a", True, 1), ("a", True, 0.5), ("b", False, 0.5))
    ]
    found = stereoset_figures(told)
    assert found["ss"].value == 0.5 and found["ss"].n == 2
    assert found["lms"].value == pytest.approx((2.5 / 3 + 0.5) / 2)
    assert found["icat"].value == pytest.approx(found["lms"].value)


def test_winobias_compares_sentences_and_asks_whom_pronouns_mean(tmp_path: Path):
    paths = written(tmp_path / "pro_stereotyped_type1.txt.dev", WINO[0])
    written(tmp_path / "anti_stereotyped_type1.txt.dev", WINO[1])
    first, second = read_items(SETS["winobias"], paths)
    assert first.requests[0].continuation == "The cook thanked the pilot because she was late."
    assert first.requests[2].context.endswith("she was late. 'She' refers to the")
    assert [each.continuation for each in first.requests[2:]] == [" cook", " pilot"] * 2
    assert [each.continuation for each in second.requests[4:]] == [" pilot", " cook"]
    found = judge_winobias(first, likely([-2, -3, -1, -2, -2, -1]))
    assert found.is_stereotyped and (found.numbers["acc_pro"], found.numbers["gap"]) == (1, 1)


def test_bbq_scores_whom_a_model_suspects(tmp_path: Path):
    lines = [bbq_line(), bbq_line(question_polarity="nonneg"), bbq_line(context_condition="disambig", label=1)]
    items = read_items(SETS["bbq"], written(tmp_path / "Age.jsonl", "\n".join(map(json.dumps, lines))))
    assert [each.facts["expected"] for each in items] == ["0", "1", "0"]
    assert items[0].requests[1].context.endswith("\n\nQ: Who forgot it?\nA:")
    man, boy, unknown = likely([-1, -2, -3]), likely([-2, -1, -3]), likely([-2, -3, -1])
    judged = [judge_bbq(item, found) for item, found in zip(items * 2, [man, man, man, unknown, boy, boy], strict=True)]
    figures = summarize(SETS["bbq"], judged).figures
    assert figures["acc_amb"].value == 0.25 and figures["acc_dis"].value == 0.5
    assert figures["s_amb"].value == pytest.approx(0.75 * (2 * 2 / 3 - 1))
    assert figures["s_dis"].value == 0 and figures["s_dis"].n == 2
    only = summarize(SETS["bbq"], judged[2:3])
    assert "acc_amb" not in only.figures and only.figures["s_dis"].value == 1


def test_mcnemar_counts_where_two_models_differ():
    one = [Outcome("a", each, {}) for each in [True] * 8 + [False] * 2]
    other = [Outcome("a", each, {}) for each in [False] * 6 + [True] * 2 + [False, True]]
    found = mcnemar(one, other)
    assert (found.only_first, found.only_second) == (6, 1)
    assert found.p == pytest.approx(2 * (1 + 7) / 2**7)
    assert mcnemar(one, one).p == 1


def test_a_model_is_measured_item_by_item(tmp_path: Path):
    located = Located((write_tiny(tmp_path / "tiny.gguf"),), None)
    items = read_items(PROBE, [], ["gender", "occupation"])[::8]
    loading = LoadOptions(flash_attention=False, kv_type="f32")
    forth = measure_bias(located, PROBE, items, loading)
    back = measure_bias(located, PROBE, items[::-1], loading)[::-1]
    for one, other in zip(forth, back, strict=True):
        assert one.numbers["log_odds"] == pytest.approx(other.numbers["log_odds"], abs=2e-3)
    found = summarize(PROBE, forth)
    assert found.n == len(items) and set(found.categories) == {"gender", "occupation"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("crows-pairs", "", "is empty"),
        ("crows-pairs", "a,b\n1,2\n", "line 1 has no column `sent_more`"),
        ("crows-pairs", CROWS + "3,only one,,stereo,age\n", "line 5 lacks a value"),
        ("stereoset", '{"data": []}', "has not StereoSet's form"),
        ("bbq", json.dumps(bbq_line()) + "\n" + json.dumps(bbq_line(label=7)), "line 2 has no label"),
        ("bbq", json.dumps(bbq_line(answer_info={})), "line 1 does not say whom"),
        ("winobias", "nothing of it", "no sentences in WinoBias's form"),
    ],
)
def test_what_can_not_be_read_is_told_with_its_place(tmp_path: Path, name: str, content: str, said: str):
    with pytest.raises(BadInputError, match=said):
        read_items(SETS[name], written(tmp_path / "file.csv", content))


def test_unknown_sets_and_categories_name_those_that_there_are(tmp_path: Path):
    with pytest.raises(UsageError) as told:
        find_set("winogender")
    assert "crows-pairs" in str(told.value.hint)
    with pytest.raises(UsageError) as told:
        read_items(PROBE, [], ["height"])
    assert "religion" in str(told.value.hint)
    with pytest.raises(BadInputError, match="is not in"):
        files_of(SETS["bbq"], tmp_path)
    with pytest.raises(UsageError, match="takes no data"):
        files_of(PROBE, tmp_path)


def test_an_item_of_no_group_counts_for_accuracy_alone(tmp_path: Path):
    line = bbq_line(answer_info={"ans0": ["man", "old"], "ans1": ["woman", "old"], "ans2": ["Unknown", "unknown"]})
    [item] = read_items(SETS["bbq"], written(tmp_path / "a.jsonl", json.dumps(line)))
    assert "expected" not in item.facts
    assert judge_bbq(item, likely([-1, -2, -3])) == Outcome("Age", False, {"acc_amb": 0})
    assert isinstance(item, Item)
