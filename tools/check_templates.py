"""Tries chat templates in files: whether a conversation with tools gets into the prompt, and its calls are read back.

python tools/check_templates.py FOLDER   # such as models/templates of llama.cpp's sources, which holds published ones
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from llmasos.chat.answers.reader import read_reply
from llmasos.chat.dialect import Dialect
from llmasos.chat.template import ChatTemplate
from llmasos.errors import LlmasosError

ARGUMENTS = {"city": 'São "Paulo" </tool_call>', "days": 3}
PROPERTIES = {
    "city": {"type": "string", "description": "Where."},
    "days": {"type": "integer", "description": "How long."},
}
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "forecast",
            "description": "The weather to come.",
            "parameters": {"type": "object", "properties": PROPERTIES},
        },
    },
    {"type": "function", "function": {"name": "now", "description": "The time."}},
]
CALLS = [
    {"id": "a-long-identity", "type": "function", "function": {"name": "forecast", "arguments": ARGUMENTS}},
    {"id": "another-identity", "type": "function", "function": {"name": "now", "arguments": "{}"}},
]
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be-brief."},
    {"role": "user", "content": "What-weather?"},
    {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "tool", "tool_call_id": "a-long-identity", "content": "Rain-result"},
    {"role": "tool", "tool_call_id": "another-identity", "content": "Noon-result"},
    {"role": "assistant", "content": "It-will-rain."},
    {"role": "user", "content": "Thanks-then."},
]


def main(folder: Path) -> int:
    wrong = 0
    for path in sorted(folder.glob("*.jinja")):
        try:
            dialect = Dialect(ChatTemplate(path.read_text(encoding="utf-8")), bos="<s>", eos="</s>")
            family = dialect.family.name if dialect.family else "generic"
            troubles = check(dialect)
        except LlmasosError as error:
            family, troubles = "-", [error.message]
        wrong += bool(troubles)
        print(f"{'WRONG' if troubles else 'ok':<6}{path.stem:<55}{family:<14}{'; '.join(troubles)}")
    return 1 if wrong else 0


def check(dialect: Dialect) -> list[str]:
    """What of the conversation is not in the prompt, and which calls are not to be read back."""
    prompt = dialect.render(CONVERSATION, TOOLS)
    said = [message["content"] for message in CONVERSATION if message["content"]]
    form = replace(prompt.form, reasoning=None, is_reasoning=False)  # of the next answer, not of the prompt
    read = [(call.name, call.arguments) for call in read_reply(prompt.text, form).tool_calls]
    lost = [f"{text} is missing" for text in (*said, "forecast") if text not in prompt.text]
    return lost + [
        f"no call of {name}" for name, wanted in (("forecast", ARGUMENTS), ("now", {})) if (name, wanted) not in read
    ]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
