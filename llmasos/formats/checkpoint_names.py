"""Which files hold a checkpoint's weights, in a folder as in a repository: by their names and by their index."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

PART = r"(?:-(?P<index>\d{5})-of-(?P<count>\d{5}))?"
# In the order in which they are preferred: the files' ending, and the names of whole weights and their parts.
LAYOUTS = (
    (".safetensors", re.compile(rf"(?P<stem>model){PART}\.safetensors")),
    (".bin", re.compile(rf"(?P<stem>pytorch_model){PART}\.bin")),
)
# The same weights in another layout, or weights that are no model by themselves.
NOT_WEIGHTS = re.compile(r"(consolidated|adapter_model|training_args|optimizer|model\.fp16|model\.fp32).*")
USUAL_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The names of the files with a checkpoint's weights, and of the index of split ones; empty if there are none."""

    present: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    index: str | None = None

    def __bool__(self) -> bool:
        return bool(self.present or self.missing)


def find_weights(names: Sequence[str], files_in_index: Callable[[str], Iterable[str]] | None = None) -> WeightFiles:
    """Chooses among the files of a folder: one whole file before parts, safetensors before PyTorch's format.

    `files_in_index` gives the files that an index names, where it can be read: they are the parts then. Else it is the
    parts that count themselves completely; others may be left of an earlier split.
    """
    candidates = [name for name in names if "/" not in name and not NOT_WEIGHTS.fullmatch(name)]
    for ending, pattern in LAYOUTS:
        matches = [match for name in candidates if (match := pattern.fullmatch(name))]
        index = _find_index(candidates, ending)
        if whole := [match.string for match in matches if match["index"] is None]:
            return WeightFiles((whole[0],))
        if index and files_in_index:
            return _compared(files_in_index(index), names, index)
        if matches:
            return _most_complete(matches, names, index)
        if ending == ".safetensors" and (others := [name for name in candidates if name.endswith(ending)]):
            return WeightFiles(tuple(others), (), index)
    return WeightFiles()


def _find_index(names: Sequence[str], ending: str) -> str | None:
    """The index of split weights; others than the usual name may be alone."""
    indices = [name for name in names if name.endswith(f"{ending}.index.json")]
    return next((name for name in indices if name in USUAL_INDICES), next(iter(indices), None))


def _most_complete(matches: Iterable[re.Match[str]], names: Sequence[str], index: str | None) -> WeightFiles:
    """Of splits into different numbers of parts one that lacks none, and of these the one into the most."""
    splits = defaultdict[int, list[str]](list)
    for match in matches:
        count = int(match["count"])
        splits[count] = splits[count] or _all_parts(match)
    found = [_compared(parts, names, index) for parts in splits.values()]
    return max(found, key=lambda files: (not files.missing, len(files.present)))


def _all_parts(part: re.Match[str]) -> list[str]:
    """The names of all parts, from that of one: `model-00001-of-00002.safetensors`."""
    count = int(part["count"])
    ending = part.string[part.end("count") :]
    return [f"{part['stem']}-{index:05}-of-{count:05}{ending}" for index in range(1, count + 1)]


def _compared(wanted: Iterable[str], names: Sequence[str], index: str | None) -> WeightFiles:
    existing, wanted = set(names), sorted(set(wanted))
    present = tuple(name for name in wanted if name in existing)
    return WeightFiles(present, tuple(name for name in wanted if name not in existing), index)


def is_weights(name: str) -> bool:
    """True for a file of weights among a checkpoint's; the others are small."""
    return name.endswith(tuple(ending for ending, _ in LAYOUTS))
