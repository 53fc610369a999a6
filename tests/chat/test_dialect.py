"""What templates of the families make of tools and reasoning, and that what they write can be read back.

The templates are those in `tests/data/templates`, which keep the marks of the published ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import PROJECT
from llmasos.chat.answers.families import REASONING, family_of, reasoning_of
from llmasos.chat.answers.reader import read_reply
from llmasos.chat.dialect import Dialect, Rendered
from llmasos.chat.messages import as_messages
from llmasos.chat.template import ChatTemplate
from llmasos.errors import BadInputError

FOLDER = PROJECT / "tests/data/templates"
FAMILIES = {
    "deepseek-r1": "deepseek",
    "gemma2": None,
    "gemma3": None,
    "hermes3-tool-use": "hermes",
    "llama3.2": "llama",
    "mistral-nemo": "mistral",
    "mistral-small-3.2": "mistral-args",
    "phi-4-mini": "phi",
    "qwen2.5": "hermes",
    "qwen3": "hermes",
    "qwen3-coder": "hermes",
    "smollm2": None,
    "smollm3": "hermes",
    "tinyllama": None,
}
DIALECTS = {
    name: Dialect(ChatTemplate((FOLDER / f"{name}.jinja").read_text(encoding="utf-8")), bos="<s>", eos="</s>")
    for name in FAMILIES
}
every_dialect = pytest.mark.parametrize("name", FAMILIES)

WEATHER = {"type": "object", "properties": {"city": {"type": "string", "description": ""}, "days": {"type": "integer"}}}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "How it will be.", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "now", "description": "The time."}},
]
QUESTION = as_messages("What weather?", "Be brief.")


def call(name: str, arguments: Any, identity: str) -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(content: str, identity: str) -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": identity}


PARIS, NOW = call("weather", {"city": "Paris"}, "call_weather"), call("now", {}, "call_now")
CALLING = {"role": "assistant", "content": None, "tool_calls": [PARIS, NOW]}
CONVERSATION = [
    *QUESTION,
    CALLING,
    result("It rains.", "call_weather"),
    result("Noon.", "call_now"),
    {"role": "assistant", "content": "Rain at noon."},
    {"role": "user", "content": "Thanks."},
]


def calls_in(rendered: Rendered) -> list[tuple[str, Any]]:
    """The calls in the text of a prompt, read as those of an answer would be."""
    form = replace(rendered.form, reasoning=None, is_reasoning=False)
    return [(call.name, call.arguments) for call in read_reply(rendered.text, form).tool_calls]


def ending(name: str, messages: list[Any], tools: Any = (), **more: Any) -> str:
    """The prompt from the question on."""
    text = DIALECTS[name].render(messages, tools, **more).text
    return text[text.rindex("What weather?") :]


def test_every_template_is_tried():
    assert {path.stem for path in FOLDER.glob("*.jinja")} == set(FAMILIES)


# Tools.


@every_dialect
def test_a_family_is_known_by_its_template(name: str):
    family = DIALECTS[name].family
    assert (family.name if family else None) == FAMILIES[name]


@every_dialect
def test_the_model_is_told_of_its_tools(name: str):
    rendered = DIALECTS[name].render(QUESTION, TOOLS)
    assert all(text in rendered.text for text in ("Be brief.", "What weather?", "weather", "now", "city", "days"))
    assert rendered.form.tools.keys() == {"weather", "now"}
    assert rendered.form.family is not None
    assert rendered.form.family.name == (FAMILIES[name] or "generic")


@every_dialect
def test_nothing_of_a_conversation_with_calls_is_lost(name: str):
    rendered = DIALECTS[name].render(CONVERSATION, TOOLS)
    places = [rendered.text.index(message["content"]) for message in CONVERSATION[1:] if message["content"]]
    assert places == sorted(places)
    assert [call for call in calls_in(rendered) if call[1] in ({"city": "Paris"}, {})] == [
        ("weather", {"city": "Paris"}),
        ("now", {}),
    ]


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "hermes3-tool-use"])  # that is for tools alone
def test_a_conversation_with_calls_may_go_on_without_tools(name: str):
    rendered = DIALECTS[name].render(CONVERSATION)
    assert all(message["content"] in rendered.text for message in CONVERSATION if message["content"])
    assert (rendered.form.family, rendered.form.tools) == (None, {})


@every_dialect
def test_calls_and_results_are_written_as_the_family_wants_them(name: str):
    """What is in the goldens was compared with what the published templates write, where these could be had."""
    golden = (PROJECT / f"tests/goldens/chat/{name}.txt").read_text(encoding="utf-8")
    assert DIALECTS[name].render(CONVERSATION[:5], TOOLS).text == golden


def test_a_template_that_takes_one_call_a_message_gets_them_one_by_one():
    text = ending("llama3.2", CONVERSATION[:5], TOOLS)
    places = [text.index(each) for each in ('"weather"', "It rains.", '"now"', "Noon.")]
    assert places == sorted(places)


def test_calls_with_the_ids_of_earlier_ones_keep_their_own_results():
    turns = [[CALLING, result(first, "call_weather"), result(second, "call_now")] for first, second in ("ab", "cd")]
    text = ending("llama3.2", [*QUESTION, *turns[0], *turns[1]], TOOLS)
    assert [part[1] for part in text.split("ipython<|end_header_id|>\n\n")[1:]] == ["a", "b", "c", "d"]


def test_ids_are_as_short_as_a_template_wants_them_and_still_belong_together():
    text = ending("mistral-small-3.2", CONVERSATION, TOOLS)
    ids = [part[:9] for part in text.split("[CALL_ID]")[1:]]
    assert len(set(ids)) == 2
    assert [part[:9] for part in text.split("[TOOL_RESULTS]")[1:]] == ids


@every_dialect
def test_a_call_is_not_lost_beside_what_is_said(name: str):
    speaking = [
        *QUESTION,
        {**CALLING, "content": "I look.", "tool_calls": [PARIS]},
        result("It rains.", "call_weather"),
    ]
    rendered = DIALECTS[name].render(speaking, TOOLS)
    assert ("weather", {"city": "Paris"}) in calls_in(rendered)
    assert ("I look." in rendered.text) == (
        name not in ("mistral-nemo", "mistral-small-3.2", "deepseek-r1", "llama3.2", "hermes3-tool-use")
    )


def test_where_a_template_knows_no_tools_the_system_message_tells_of_them():
    text = DIALECTS["smollm2"].render(QUESTION, TOOLS).text
    assert text.startswith("<|im_start|>system\nBe brief.\n\nYou can call these functions.")
    assert '{"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}\n' in text
    alone = DIALECTS["smollm2"].render(as_messages("What weather?"), TOOLS).text
    assert alone.startswith("<|im_start|>system\nYou can call these functions.")
    assert "<start_of_turn>user\nBe brief." in DIALECTS["gemma2"].render(QUESTION, TOOLS).text


def test_what_a_user_says_after_a_result_is_in_one_message_with_it():
    asked = [*QUESTION, {**CALLING, "tool_calls": [PARIS]}, result("Rain.", "call_weather"), *as_messages("And then?")]
    assert "<tool_response>\nRain.\n</tool_response>\nAnd then?<end_of_turn>" in ending("gemma3", asked, TOOLS)


def test_a_format_that_nobody_here_can_read_is_not_asked_for():
    strange = Dialect(ChatTemplate(
        "{% for tool in tools or [] %}<tool_call>{{ tool.function.name }}{% endfor %}"
        "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}<tool_call>{{ c.function.name }}:"
        "{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}"
    ))  # fmt: skip
    assert strange.family is None
    rendered = strange.render(QUESTION, TOOLS)
    assert "You can call these functions." in rendered.text
    assert rendered.form.family is not None
    assert rendered.form.family.name == "generic"


def test_marks_that_a_model_has_learned_are_understood_though_its_template_knows_no_tools():
    dialect = Dialect(ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}{# <｜tool▁calls▁begin｜> #}"))
    form = dialect.render(QUESTION, TOOLS).form
    answer = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    assert [call.name for call in read_reply(answer, form).tool_calls] == ["now"]


names = st.from_regex(r"[\w.:-]{1,20}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]))
plain_values = texts | st.integers() | st.booleans() | st.none()
values = st.recursive(
    plain_values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
arguments = st.dictionaries(texts, values, max_size=3)


@settings(deadline=None)
@given(st.sampled_from([name for name in FAMILIES if name != "qwen3-coder"]), names, arguments)
def test_any_call_comes_back_from_any_template(dialect: str, name: str, given_arguments: dict[str, Any]):
    message = {"role": "assistant", "content": "", "tool_calls": [call(name, given_arguments, "call_1")]}
    rendered = DIALECTS[dialect].render(
        [*as_messages("What?"), message, result("x", "call_1")], [{"function": {"name": name}}]
    )
    assert (name, given_arguments) in calls_in(rendered)


@settings(deadline=None)
@given(names, st.dictionaries(st.from_regex(r"\w+", fullmatch=True), values, max_size=3))
def test_calls_of_coders_come_back_by_the_types_of_their_parameters(name: str, given_arguments: dict[str, Any]):
    kinds = {str: "string", int: "integer", bool: "boolean", type(None): "null", list: "array", dict: "object"}
    properties = {key: {"type": kinds[type(value)]} for key, value in given_arguments.items()}
    tool = {"function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
    message = {"role": "assistant", "content": "", "tool_calls": [call(name, given_arguments, "call_1")]}
    rendered = DIALECTS["qwen3-coder"].render([*as_messages("What?"), message], [tool])
    if "</parameter>" not in rendered.text.replace("\n</parameter>\n", "") and ">" not in name:
        assert (name, given_arguments) in calls_in(rendered)


# Reasoning.


def test_reasoning_is_turned_on_and_off_where_there_is_a_switch():
    assert ending("qwen3", QUESTION).endswith("<|im_start|>assistant\n")
    assert ending("qwen3", QUESTION, think=True).endswith("<|im_start|>assistant\n")
    assert ending("qwen3", QUESTION, think=False).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert "/no_think" in DIALECTS["smollm3"].render(QUESTION, think=False).text


def test_a_prompt_that_ends_inside_the_reasoning_is_known_and_can_leave_it():
    assert DIALECTS["deepseek-r1"].render(QUESTION).form.is_reasoning
    assert DIALECTS["deepseek-r1"].render(QUESTION, think=True).form.is_reasoning
    closed = DIALECTS["deepseek-r1"].render(QUESTION, think=False)
    assert closed.text.endswith("<｜Assistant｜><think>\n\n</think>\n\n")
    assert not closed.form.is_reasoning
    assert not DIALECTS["qwen3"].render(QUESTION, think=False).form.is_reasoning


def test_earlier_reasoning_is_given_to_templates_that_take_it():
    thought = {"role": "assistant", "content": "Noon", "thinking": "hm"}
    assert "<think>\nhm\n</think>\n\nNoon" in ending("qwen3", [*QUESTION, thought])


@pytest.mark.parametrize("marks", REASONING, ids=lambda marks: marks.opener)
def test_marks_of_reasoning_are_known_by_the_template(marks: Any):
    assert reasoning_of(f"{{{{ x.split('{marks.closer}') }}}}") == marks


def test_where_a_template_says_nothing_of_reasoning_the_usual_marks_are_looked_for():
    assert reasoning_of("{{ messages }}") == REASONING[0]


# What is refused.


def test_a_template_that_fails_still_says_so():
    with pytest.raises(BadInputError, match="roles must alternate"):
        DIALECTS["gemma3"].render([*as_messages("a"), *as_messages("b")])


def test_signs_of_no_family_are_none():
    assert family_of((FOLDER / "smollm2.jinja").read_text()) is None
    assert family_of("{{ tools | tojson }}") is None
