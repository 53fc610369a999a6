"""Filling in the middle: prompts at whose end a model writes what stands between two texts. Pure but for the tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmasos.engine.model import Model
from llmasos.errors import UsageError

MARKS = {"fim_pre": "prefix", "fim_suf": "suffix", "fim_mid": "middle"}
PROJECT, HERE = (
    "myproject",
    "filename",
)  # names that stand for those of which a request says nothing, as in llama-server
DIVIDER = "\n\n--- snippet ---\n\n"  # between extra texts, for models that have no token for it
SHARE_BEFORE, SHARES = 3, 4  # of the room for both texts, the one before the gap has three parts in four


def can_fill(model: Model) -> bool:
    return all(model.special_token(kind) is not None for kind in MARKS)


def tokens_between(model: Model, before: Sequence[int], after: Sequence[int], extra: Sequence[int] = ()) -> list[int]:
    """The prompt for what stands between two texts' tokens; `extra` goes before all.

    Raises UsageError for a model that never learned to fill in.
    """
    marks = [model.special_token(kind) for kind in MARKS]
    prefix, suffix, middle = (-1 if mark is None else mark for mark in marks)
    if missing := [name for mark, name in zip(marks, MARKS.values(), strict=True) if mark is None]:
        raise UsageError(
            f"the model can't fill in: it has no token for {', '.join(missing)}",
            hint="models made for code often can, such as qwen2.5-coder",
        )
    bos = model.special_token("bos") if model.adds("bos") else None
    return [*([] if bos is None else [bos]), *extra, prefix, *before, suffix, *after, middle]


def tokens_of_files(model: Model, files: Iterable[tuple[str, str]]) -> list[int]:
    """Other texts of the same project, by their names, in the form in which models learn repositories."""
    repository, separator = model.special_token("fim_rep"), model.special_token("fim_sep")
    tokens = [] if repository is None else [repository, *_tokens(model, f"{PROJECT}\n")]
    for name, text in files:
        head = _tokens(model, DIVIDER) if separator is None else [separator, *_tokens(model, f"{name}\n")]
        tokens += [*head, *_tokens(model, text)]
    return tokens if separator is None else [*tokens, separator, *_tokens(model, f"{HERE}\n")]


def cut_to_room(
    before: Sequence[int], after: Sequence[int], extra: Sequence[int], room: int
) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """What is nearest to the gap, of no more than `room` tokens together; the extra has what the others leave."""
    room = max(0, room)
    of_before = min(len(before), max(room * SHARE_BEFORE // SHARES, room - len(after)))
    of_after = min(len(after), room - of_before)
    of_extra = min(len(extra), room - of_before - of_after)
    return before[len(before) - of_before :], after[:of_after], extra[len(extra) - of_extra :]


def _tokens(model: Model, text: str) -> list[int]:
    return model.tokenize(text, add_special=False, parse_special=False)
