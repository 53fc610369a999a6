"""What the files with a checkpoint's weights are called, in a folder as in a repository."""

from __future__ import annotations

import re

PART = r"(?:-(?P<index>\d{5})-of-(?P<count>\d{5}))?"
# In the order in which they are preferred: the files' ending, and the names of whole weights and their parts.
LAYOUTS = (
    (".safetensors", re.compile(rf"(?P<stem>model){PART}\.safetensors")),
    (".bin", re.compile(rf"(?P<stem>pytorch_model){PART}\.bin")),
)
# The same weights in another layout, or weights that are no model by themselves.
NOT_WEIGHTS = re.compile(r"(consolidated|adapter_model|training_args|optimizer|model\.fp16|model\.fp32).*")


def is_weights(name: str) -> bool:
    """True for a file of weights among a checkpoint's; the others are small."""
    return name.endswith(tuple(ending for ending, _ in LAYOUTS))
