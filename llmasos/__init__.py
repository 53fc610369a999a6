"""llmasos runs language models on the machine its user already has.

    from llmasos import LLM

    with LLM.from_pretrained("smollm2") as model:
        print(model.generate("The quick brown fox", max_new_tokens=20))

Names are imported on first use: `import llmasos` itself takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmasos.api.llm import LLM
    from llmasos.chat.answers.reader import Said, Thought
    from llmasos.chat.messages import Reply, ToolCall
    from llmasos.engine.ranker import Ranked
    from llmasos.engine.sequence import Answer, TokenScore
    from llmasos.errors import LlmasosError

__version__ = "0.1.0"
__all__ = [
    "LLM", "Answer", "LlmasosError", "Ranked", "Reply", "Said", "Thought", "TokenScore", "ToolCall", "__version__",
]  # fmt: skip

_HOMES = {
    "Answer": "llmasos.engine.sequence",
    "LLM": "llmasos.api.llm",
    "LlmasosError": "llmasos.errors",
    "Ranked": "llmasos.engine.ranker",
    "Reply": "llmasos.chat.messages",
    "Said": "llmasos.chat.answers.reader",
    "Thought": "llmasos.chat.answers.reader",
    "TokenScore": "llmasos.engine.sequence",
    "ToolCall": "llmasos.chat.messages",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llmasos' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
