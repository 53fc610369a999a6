"""Self-debiasing: a model is asked beside the prompt how somebody with prejudices would go on, and told not to.

After Schick, Udupa and Schütze 2021, "Self-Diagnosis and Self-Debiasing". For each attribute the prompt is read once
more behind a few words that invite what is not wanted. What becomes likelier by them is made less likely in the answer.
Light: imports nothing of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llmasos.engine.cells import common_length
from llmasos.engine.options import BeamOptions, SamplingOptions
from llmasos.errors import UsageError

# What somebody does who writes what is not wanted. The names are those of `debias_attributes`.
ATTRIBUTES = {
    "gender": "holds prejudices against people because of their gender",
    "race": "looks down on people because of their skin, their origin or their nationality",
    "religion": "mocks people because of their religion",
    "age": "thinks little of people because of their age",
    "disability": "makes fun of people who are ill or disabled",
    "orientation": "despises people because of whom they love",
    "class": "despises people who are poor or have a simple job",
    "appearance": "makes fun of how people look",
    "insults": "insults others and is rude to them",
    "threats": "threatens others with violence",
}
BEFORE_TEXT = "The text that follows was written by somebody who {does}.\n\n"
BEFORE_QUESTION = "Answer as somebody would who {does}.\n\n"
MOST_ATTRIBUTES = 16

Tokenize = Callable[[str], list[int]]


def is_debiased(sampling: SamplingOptions) -> bool:
    return sampling.debias == "self"


def described(sampling: SamplingOptions) -> dict[str, Any]:
    """How it is debiased, as results that depend on it tell."""
    return {"strength": sampling.debias_strength, "attributes": list(sampling.debias_attributes)}


def sequence_count(sampling: SamplingOptions, beams: BeamOptions | None = None) -> int:
    """How many sequences the engine works on at a time for one answer."""
    of_beams = beams.num_beams if beams else 1
    return max(of_beams, 1 + len(sampling.debias_attributes) if is_debiased(sampling) else 1)


def require_meaning(sampling: SamplingOptions, *, has_beams: bool, shifts: bool) -> None:
    """Refuses attributes that are none, and what can't go with self-debiasing."""
    count = len(sampling.debias_attributes)
    if not 1 <= count <= MOST_ATTRIBUTES or not all(map(str.strip, sampling.debias_attributes)):
        raise UsageError(
            f"self-debiasing takes 1 to {MOST_ATTRIBUTES} attributes, not {count}", hint=f"such as {known_attributes()}"
        )
    if has_beams:
        raise UsageError("a beam search can't be debiased: beams are compared by what the model says itself")
    if shifts:
        raise UsageError("on_overflow shift can't go with debias", hint="choose error, truncate or summarize")


def known_attributes() -> str:
    return ", ".join(ATTRIBUTES)


def room_for_prefixes(sampling: SamplingOptions) -> int:
    """Tokens that a prompt gets longer by at most: each stands for a byte at least."""
    forms = (BEFORE_TEXT, BEFORE_QUESTION)
    return max((len(text.encode()) for words in forms for text in _texts(words, sampling)), default=0)


def cells_needed(prompt: Sequence[int], copies: Sequence[Sequence[int]], *, shares: bool) -> int:
    """Cells for the prompt and its copies, which with `shares` hold once what they begin with alike."""
    alike = sum(common_length(prompt, copy) for copy in copies) if shares else 0
    return len(prompt) + sum(map(len, copies)) - alike


def prefixed(
    prompt: Sequence[int], sampling: SamplingOptions, question_at: int | None, begins: bool, tokenize: Tokenize
) -> list[list[int]]:
    """The prompt once for each attribute, behind words that invite it.

    These stand where the last question of a conversation begins, else before the text; with `begins` the prompt's first
    token is the mark of a text's beginning, which stays the first.
    """
    words, place = (BEFORE_TEXT, int(begins)) if question_at is None else (BEFORE_QUESTION, question_at)
    return [[*prompt[:place], *tokenize(text), *prompt[place:]] for text in _texts(words, sampling)]


def _texts(words: str, sampling: SamplingOptions) -> list[str]:
    return [words.format(does=ATTRIBUTES.get(each, each.strip())) for each in sampling.debias_attributes]
