"""Multiple choice by likelihood, as lm-evaluation-harness scores it: what a model finds likeliest is its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llmasos.engine.options import LoadOptions, SamplingOptions
from llmasos.errors import BadInputError
from llmasos.evaluation.choice_tasks import Question
from llmasos.evaluation.likelihood import Request, likelihoods, open_for
from llmasos.evaluation.statistics import Estimate, estimate
from llmasos.load import Loaded
from llmasos.locate import Located
from llmasos.progress import Progress

MEASURES = ("acc", "acc_norm", "acc_bytes")


@dataclass(frozen=True, slots=True)
class Choices:
    """Shares of questions that were answered right: by log-probability (`acc`), by that for each character of the
    choice (`acc_norm`, as the harness has it), and for each byte (`acc_bytes`). `chance` is what guessing gives.
    """

    n: int
    chance: float
    acc: Estimate
    acc_norm: Estimate
    acc_bytes: Estimate
    subjects: Mapping[str, float]  # acc by subject, where the questions have one


def requests_of(questions: Sequence[Question]) -> list[Request]:
    return [Request(each.query, f" {choice}") for each in questions for choice in each.choices]


def judge(questions: Sequence[Question], logs: Sequence[float]) -> Choices:
    """The shares, from the log-probabilities of all choices one after another. Pure."""
    right = np.array([_right(each, found) for each, found in _by_question(questions, logs)], np.float64)
    of_subjects: dict[str, list[float]] = {}
    for each, [is_right, *_] in zip(questions, right, strict=True):
        if each.subject:
            of_subjects.setdefault(each.subject, []).append(float(is_right))
    plain, by_characters, by_bytes = (estimate(column) for column in right.T)
    chance = float(np.mean([1 / len(each.choices) for each in questions]))
    subjects = {subject: float(np.mean(values)) for subject, values in sorted(of_subjects.items())}
    return Choices(len(questions), chance, plain, by_characters, by_bytes, subjects)


def _by_question(questions: Sequence[Question], logs: Sequence[float]) -> Iterator[tuple[Question, np.ndarray]]:
    start = 0
    for each in questions:
        yield each, np.array(logs[start : start + len(each.choices)])
        start += len(each.choices)


def _right(question: Question, logs: np.ndarray) -> list[bool]:
    lengths = [np.ones(len(logs)), [len(each) for each in question.choices]]
    lengths.append([len(each.encode()) for each in question.choices])
    return [int(np.argmax(logs / np.asarray(each))) == question.answer for each in lengths]


def measure_choices(
    located: Located,
    questions: Sequence[Question],
    loading: LoadOptions,
    *,
    sampling: SamplingOptions | None = None,
    progress: Progress | None = None,
    started: Callable[[Loaded], None] = lambda loaded: None,
) -> Choices:
    """How many a model answers right. Raises what loading raises, and BadInputError where there are no questions."""
    if not questions:
        raise BadInputError("there are no questions")
    requests = requests_of(questions)
    with open_for(requests, located, loading, sampling=sampling, progress=progress, started=started) as scorer:
        found = likelihoods(scorer, requests, progress, f"asking {located.name}")
    return judge(questions, [each.log_probability for each in found])
