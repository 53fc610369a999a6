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
    from llmasos.engine.ranker import Ranked
    from llmasos.engine.sequence import Answer, TokenScore
    from llmasos.errors import LlmasosError

__version__ = "0.1.0"
__all__ = ["LLM", "Answer", "LlmasosError", "Ranked", "TokenScore", "__version__"]

_HOMES = {
    "Answer": "llmasos.engine.sequence",
    "LLM": "llmasos.api.llm",
    "LlmasosError": "llmasos.errors",
    "Ranked": "llmasos.engine.ranker",
    "TokenScore": "llmasos.engine.sequence",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llmasos' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
