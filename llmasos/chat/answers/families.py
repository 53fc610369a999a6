"""The ways in which families of models call functions and show their reasoning, as one table.

A family is known by the text of its chat template. What the table says of one is all there is to know of it: the marks,
which of `calls` reads what stands behind them, and how a call is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from llmasos.chat.answers.calls import (
    FENCE,
    ReadCalls,
    Tools,
    read_bare_json,
    read_call_block,
    read_deepseek,
    read_json_block,
    read_json_calls,
    read_mistral,
    read_python_tag,
    read_tagged,
)
from llmasos.chat.messages import ToolCall


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands around a model's reasoning."""

    opener: str
    closer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One way of calling functions.

    `signs`: one of these in a template tells the family. `openers` lead to the reader of what follows. `closers`, and
    white space, may stand behind a call. `bare` reads calls that begin a line without a mark. `inner`: other marks that
    may be tokens of their own. A call is written as `before`, in which `{name}` is the function's, arguments, `after`.
    """

    name: str
    signs: tuple[str, ...]
    openers: Mapping[str, ReadCalls]
    closers: tuple[str, ...] = ()
    bare: ReadCalls | None = None
    inner: tuple[str, ...] = ()
    before: str
    after: str

    def around(self, name: str) -> tuple[str, str]:
        """What stands before and after the arguments of a call."""
        return self.before.replace("{name}", name), self.after

    def write(self, calls: Sequence[ToolCall]) -> str:
        """The calls as a model of the family would have written them."""
        return "\n".join(json.dumps(call.arguments, ensure_ascii=False).join(self.around(call.name)) for call in calls)

    @property
    def marks(self) -> tuple[str, ...]:
        return (*self.openers, *self.closers, *self.inner)


_TAG_BEFORE, _TAG_AFTER = '<tool_call>\n{"name": "{name}", "arguments": ', "}\n</tool_call>"

MISTRAL = Family(
    name="mistral",
    signs=("[TOOL_CALLS]",),
    openers={"[TOOL_CALLS]": read_mistral},
    inner=("[CALL_ID]", "[ARGS]"),
    before='[TOOL_CALLS][{"name": "{name}", "arguments": ',
    after="}]",
)
MISTRAL_ARGS = Family(
    name="mistral-args",
    signs=("[ARGS]",),
    openers=MISTRAL.openers,
    inner=MISTRAL.inner,
    before="[TOOL_CALLS]{name}[ARGS]",
    after="",
)
DEEPSEEK = Family(
    name="deepseek",
    signs=("<｜tool▁calls▁begin｜>",),
    openers={"<｜tool▁calls▁begin｜>": read_deepseek, "<｜tool▁call▁begin｜>": read_deepseek},
    closers=("<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"),
    inner=("<｜tool▁sep｜>",),
    before="<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n",
    after="\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
)
HERMES = Family(  # Hermes, Qwen 2.5 and 3, SmolLM3
    name="hermes",
    signs=("<tool_call>",),
    openers={"<tool_call>": read_tagged},
    closers=("</tool_call>",),
    before=_TAG_BEFORE,
    after=_TAG_AFTER,
)
PHI = Family(  # Phi-4-mini
    name="phi",
    signs=("<|tool_call|>", "<|tool|>"),
    openers={"<|tool_call|>": read_json_calls, "functools": read_json_calls},
    closers=("<|/tool_call|>",),
    before='<|tool_call|>[{"name": "{name}", "arguments": ',
    after="}]<|/tool_call|>",
)
LLAMA = Family(  # Llama 3.1 to 3.3
    name="llama",
    signs=("<|python_tag|>", '"parameters": dictionary'),
    openers={"<|python_tag|>": read_python_tag},
    closers=(";",),
    bare=read_bare_json,
    before='{"name": "{name}", "parameters": ',
    after="}",
)
GENERIC = Family(  # what every other model is asked for, and what Gemma and its like write instead
    name="generic",
    signs=(),
    openers={
        "<tool_call>": read_tagged,
        f"{FENCE}json": read_json_block,
        f"{FENCE}tool_code": read_call_block,
        f"{FENCE}tool_call": read_call_block,
    },
    closers=("</tool_call>", ";"),
    bare=read_bare_json,
    before=_TAG_BEFORE,
    after=_TAG_AFTER,
)

FAMILIES = (MISTRAL_ARGS, MISTRAL, DEEPSEEK, HERMES, PHI, LLAMA)  # the first that a template bears signs of

REASONING = (  # the first is looked for where a template says nothing
    Marks("<think>", "</think>"),
    Marks("[THINK]", "[/THINK]"),
    Marks("<seed:think>", "</seed:think>"),
    Marks("<|START_THINKING|>", "<|END_THINKING|>"),
    Marks("<|channel>thought", "<channel|>"),
)


def family_of(template: str) -> Family | None:
    """The family whose way of calling functions a template shows; None if it shows none that is known."""
    return next((family for family in FAMILIES if any(sign in template for sign in family.signs)), None)


def generic_family(template: str) -> Family:
    """The generic way, in which the marks that the template's models have learned are understood too."""
    own = family_of(template)
    if own is None:
        return GENERIC
    return replace(
        GENERIC,
        openers={**GENERIC.openers, **own.openers},
        closers=tuple(dict.fromkeys((*GENERIC.closers, *own.closers))),
        inner=own.inner,
    )


def reasoning_of(template: str) -> Marks:
    """What stands around the reasoning of the models that a template is for."""
    return next((marks for marks in REASONING if marks.closer in template), REASONING[0])


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How the text of an answer is to be read.

    `reasoning` is None where all is to be taken as it is. `is_reasoning`: the prompt ends inside the reasoning, so the
    answer begins there. `family` is None where no functions were offered; else `tools` are these, by name.
    """

    reasoning: Marks | None = REASONING[0]
    is_reasoning: bool = False
    family: Family | None = None
    tools: Tools = field(default_factory=dict)

    @property
    def marks(self) -> tuple[str, ...]:
        """All that may be a control token and has to be seen in the text."""
        around = (self.reasoning.opener, self.reasoning.closer) if self.reasoning else ()
        return (*around, *(self.family.marks if self.family else ()))
