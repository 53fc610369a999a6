"""An answer in pieces: what is said, what was thought, and what is called, the same however it is cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from doubles.cuts import cut, places
from llmasos.chat.answers.families import DEEPSEEK, FAMILIES, GENERIC, HERMES, LLAMA, MISTRAL, PHI, AnswerForm, Family
from llmasos.chat.answers.reader import AnswerReader, Part, Said, Thought, as_reply, read_reply
from llmasos.chat.messages import ToolCall, normal_tools

unhurried = settings(deadline=None)
EVERY = [*FAMILIES, GENERIC]

WEATHER = {"type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"}, "wind": {"anyOf": [{"type": "array"}, {"type": "null"}]},
    "rain": {"type": ["string", "null"]},
}}  # fmt: skip
TOOLS = {
    tool["function"]["name"]: tool["function"]
    for tool in normal_tools([
        {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
        {"type": "function", "function": {"name": "now"}},
    ])
}  # fmt: skip
PLAIN = AnswerForm()


def form(family: Family, **more: Any) -> AnswerForm:
    return AnswerForm(family=family, tools=TOOLS, **more)


def called(text: str, family: Family) -> tuple[str, list[tuple[str, Any]]]:
    """What an answer says, and what it calls with what."""
    reply = read_reply(text, form(family))
    return reply.content, [(call.name, call.arguments) for call in reply.tool_calls]


def parts_in_pieces(pieces: list[str], answer_form: AnswerForm) -> list[Part]:
    reader = AnswerReader(answer_form)
    return [*(part for piece in pieces for part in reader.feed(piece)), *reader.finish()]


def essence(parts: list[Part]) -> list[tuple[str, Any]]:
    """The parts without ids of calls, neighbours of a kind joined."""
    joined: list[tuple[str, Any]] = []
    for part in parts:
        kind, value = type(part).__name__, (part.name, part.arguments) if isinstance(part, ToolCall) else part.text
        if joined and joined[-1][0] == kind != "ToolCall":
            joined[-1] = (kind, joined[-1][1] + value)
        else:
            joined.append((kind, value))
    return joined


# What is said.


@unhurried
@given(st.text(), places)
def test_an_answer_that_only_says_something_is_left_as_it_is(text: str, edges: list[int]):
    reply = as_reply(parts_in_pieces(cut(text, edges), PLAIN))
    assert reply.content == text or text.lstrip().startswith("<think>")


@unhurried
@given(st.text(), places)
def test_without_marks_of_reasoning_all_is_left_as_it_is(text: str, edges: list[int]):
    answer_form = AnswerForm(reasoning=None)
    assert as_reply(parts_in_pieces(cut(f"<think>{text}", edges), answer_form)).content == f"<think>{text}"


@unhurried
@given(st.lists(st.text(alphabet="ab ,é\n", min_size=1), max_size=10))
def test_a_text_is_shown_at_once_but_for_white_space_at_its_end(pieces: list[str]):
    reader, given_so_far, shown = AnswerReader(form(HERMES)), "", ""
    for piece in pieces:
        given_so_far += piece
        shown += "".join(part.text for part in reader.feed(piece) if isinstance(part, Said))
        assert shown == given_so_far.rstrip()


def test_only_what_may_become_a_mark_is_held_back():
    reader = AnswerReader(form(HERMES))
    shown = [reader.feed(piece) for piece in ("a <", "b> <tool", "_x <tool_call", ">{")]
    assert shown == [[Said("a")], [Said(" <b>")], [Said(" <tool_x")], []]
    assert reader.finish() == [Said(" <tool_call>"), Said("{")]


def test_an_object_that_is_no_call_is_shown_from_its_first_key_on():
    reader = AnswerReader(form(LLAMA))
    shown = [reader.feed(piece) for piece in ("{", '"', "na", "tion", '"', ": 1")]
    assert as_reply(part for parts in shown[:5] for part in parts).content == '{"nation"'
    assert shown[:4] == [[], [], [], []]


# What was thought.


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("<think>\nhm\n</think>\n\nYes. ", "hm", "Yes. "),
        ("\n<think>hm\n\nso</think>Yes", "hm\n\nso", "Yes"),
        ("<think>\n\n</think>\n\nYes", "", "Yes"),
        ("<think>hm", "hm", ""),
        ("<think>\n hm \n", "hm", ""),
        ("<think></think>", "", ""),
        ("Yes <think>hm</think>", "", "Yes <think>hm</think>"),
        (" <thin", "", " <thin"),
        ("<think>a</think>b</think>", "a", "b</think>"),
    ],
)
def test_reasoning_stands_at_the_beginning(text: str, reasoning: str, content: str):
    reply = read_reply(text, PLAIN)
    assert (reply.reasoning, reply.content) == (reasoning, content)


@pytest.mark.parametrize("beginning", ["", "<think>\n", "\n"])
def test_an_answer_may_begin_inside_the_reasoning(beginning: str):
    reply = read_reply(f"{beginning}hm\n</think>\n\nYes", AnswerForm(is_reasoning=True))
    assert (reply.reasoning, reply.content) == ("hm", "Yes")


def test_reasoning_is_shown_as_it_comes():
    reader = AnswerReader(PLAIN)
    pieces = ["<think>", "\n", "so", " what", "\n</", "think", ">", "\n", "Yes"]
    shown = [reader.feed(piece) for piece in pieces]
    assert shown == [[], [], [Thought("so")], [Thought(" what")], [], [], [], [], [Said("Yes")]]


def test_a_call_may_follow_the_reasoning():
    text = '<think>hm <tool_call>{"name": "now"}</tool_call></think>\n<tool_call>\n{"name": "now"}\n</tool_call>'
    reply = read_reply(text, form(HERMES))
    assert (reply.content, len(reply.tool_calls)) == ("", 1)
    assert "<tool_call>" in reply.reasoning


# What is called.

PARIS, TWO_DAYS = ("weather", {"city": "Paris"}), ("weather", {"city": "Nice", "days": 2})
NOW = ("now", {})
ANSWERS = [
    (HERMES, '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>', "", [PARIS]),
    (HERMES, '<tool_call>{"arguments": {}, "name": "now"}</tool_call>', "", [NOW]),
    (HERMES, '<tool_call>{"name": "weather", "arguments": "{\\"city\\": \\"Paris\\"}"}</tool_call>', "", [PARIS]),
    (HERMES, '<tool_call>[{"name": "now", "arguments": {}}, {"name": "now"}]</tool_call>', "", [NOW, NOW]),
    (HERMES, '<tool_call>\n{"name": "now", "arguments": {}}', "", [NOW]),  # without its end
    (HERMES, '<tool_call>{"name": "unheard_of", "arguments": {}}</tool_call>', "", [("unheard_of", {})]),
    (HERMES, 'I look.\n<tool_call>{"name": "now"}</tool_call>\n', "I look.", [NOW]),
    (HERMES, 'A\n<tool_call>{"name": "now"}</tool_call>\nB\n\n<tool_call>{"name": "now"}</tool_call>\n C ',
     "A\nB\n\nC ", [NOW, NOW]),
    (HERMES, "<tool_call>\n<function=weather>\n<parameter=city>\nNice\n</parameter>\n<parameter=days>\n2\n</parameter>"
     "\n</function>\n</tool_call>", "", [TWO_DAYS]),
    (HERMES, "<tool_call>\n<function=weather>\n<parameter=city>\n2\n</parameter>\n</function>\n</tool_call>", "",
     [("weather", {"city": "2"})]),
    (HERMES, "<tool_call><function=weather><parameter=days>None</parameter></function></tool_call>", "",
     [("weather", {"days": None})]),
    (HERMES, "<tool_call><function=weather><parameter=wind>[1, 2]</parameter><parameter=rain>3</parameter></function>"
     "</tool_call>", "", [("weather", {"wind": [1, 2], "rain": "3"})]),
    (LLAMA, '{"name": "weather", "parameters": {"city": "Paris"}}', "", [PARIS]),
    (LLAMA, '\n {"type": "function", "name": "now", "parameters": {}}', "", [NOW]),
    (LLAMA, '{"name": "now", "parameters": {}}; {"name": "now", "parameters": {}}', "", [NOW, NOW]),
    (LLAMA, 'So:\n\n{"name": "now", "parameters": null}\nDone', "So:\n\nDone", [NOW]),
    (LLAMA, '<|python_tag|>{"name": "now", "parameters": {}}', "", [NOW]),
    (LLAMA, '<|python_tag|>weather.call(city="Paris")', "", [PARIS]),
    (MISTRAL, '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Paris"}, "id": "aB3dE6gH9"}]', "", [PARIS]),
    (MISTRAL, '[TOOL_CALLS][{"name": "now", "arguments": {}}, {"name": "now", "arguments": {}}]', "", [NOW, NOW]),
    (MISTRAL, '[TOOL_CALLS]weather[ARGS]{"city": "Paris"}', "", [PARIS]),
    (MISTRAL, 'So [TOOL_CALLS]now[CALL_ID]aB3dE6gH9[ARGS]{}[TOOL_CALLS]weather{"city": "Paris"}', "So", [NOW, PARIS]),
    (DEEPSEEK, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n"
     '{"city": "Paris"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```'
     "<｜tool▁call▁end｜><｜tool▁calls▁end｜>", "", [PARIS, NOW]),
    (DEEPSEEK, '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{"city": "Paris"}<｜tool▁call▁end｜>'
     "<｜tool▁calls▁end｜>", "", [PARIS]),
    (PHI, '<|tool_call|>[{"name": "weather", "arguments": {"city": "Paris"}}]<|/tool_call|>', "", [PARIS]),
    (PHI, '<|tool_call|>[{"type": "function", "function": {"name": "now", "arguments": {}}}]', "", [NOW]),
    (PHI, 'functools[{"name": "now", "arguments": {}}]', "", [NOW]),
    (GENERIC, '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>', "", [NOW]),
    (GENERIC, 'So:\n```json\n{"name": "now", "arguments": {}}\n```\n', "So:", [NOW]),
    (GENERIC, '{"name": "now", "arguments": {}}', "", [NOW]),
    (GENERIC, '```tool_code\nprint(weather(city="Nice", days=2))\n```', "", [TWO_DAYS]),
    (GENERIC, '```tool_code\nresult = api.weather("Nice", days=2)\n```', "", [TWO_DAYS]),
    (GENERIC, "```tool_code\n[weather('Nice', 2), now()]\n```", "", [TWO_DAYS, NOW]),
    (GENERIC, "```tool_code\nnow()\nnow()\n```", "", [NOW, NOW]),
    (GENERIC, '```tool_call\n{"name": "now", "arguments": {}}\n```', "", [NOW]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "text", "content", "calls"), ANSWERS, ids=lambda value: getattr(value, "name", None)
)
def test_calls_are_found_as_each_family_writes_them(family: Family, text: str, content: str, calls: list[Any]):
    assert called(text, family) == (content, calls)


BROKEN = [
    (HERMES, "<tool_call>now</tool_call>"),
    (HERMES, '<tool_call>{"name": "now", "arguments": {}</tool_call>'),
    (HERMES, '<tool_call>{"name": "now", "arguments": [1]}</tool_call>'),
    (HERMES, '<tool_call>{"name": 1}</tool_call>'),
    (HERMES, '<tool_call>{"name": "no name"}</tool_call>'),
    (HERMES, "<tool_call>[]</tool_call>"),
    (HERMES, "<tool_call><function=now><parameter=a>1</function></tool_call>"),
    (HERMES, "<tool_call>" + "[" * 10_000),
    (LLAMA, '{"name": "John", "parameters": {}}'),
    (LLAMA, '{"type": "function", "name": "John"}'),
    (LLAMA, 'See {"name": "now", "parameters": {}}'),
    (LLAMA, '<|python_tag|>print("hello")'),
    (LLAMA, "<|python_tag|>now(" + "(" * 10_000),
    (LLAMA, "<|python_tag|>" + "-" * 100_000 + "1"),
    (MISTRAL, "[TOOL_CALLS] none"),
    (MISTRAL, "[TOOL_CALLS]now[ARGS]"),
    (DEEPSEEK, "<｜tool▁calls▁begin｜>now<｜tool▁calls▁end｜>"),
    (PHI, "functools.wraps"),
    (GENERIC, '```json\n{"city": "Paris"}\n```'),
    (GENERIC, "```tool_code\nweather(**{'city': 'Paris'})\n```"),
    (GENERIC, "```tool_code\nweather('a', 2, [], 'b', 3)\n```"),
    (GENERIC, "```tool_code\nweather('\\ud800')\n```"),
    (GENERIC, "```tool_code\nweather({1, 2})\n```"),
    (GENERIC, "```tool_code\nweather('a', days=1 + 1)\n```"),
    (GENERIC, '```tool_code\nos.remove("\\d")\n```'),
]


@pytest.mark.parametrize(("family", "text"), BROKEN, ids=lambda value: getattr(value, "name", None))
def test_what_is_no_call_stays_text(family: Family, text: str):
    assert called(text, family) == (text, [])


def test_a_call_behind_one_that_is_broken_is_found():
    text = '<tool_call>{"name": "now", "arguments": {}\n</tool_call>\n<tool_call>{"name": "now"}</tool_call>'
    assert called(text, HERMES) == ('<tool_call>{"name": "now", "arguments": {}\n</tool_call>', [NOW])


def test_each_call_is_given_once_it_is_whole_and_has_an_id_of_its_own():
    reader = AnswerReader(form(HERMES))
    calls = [call for _ in range(2) for call in reader.feed('<tool_call>{"name": "now"}')]
    assert [type(call) for call in calls] == [ToolCall, ToolCall]
    assert len({call.id for call in calls if isinstance(call, ToolCall)}) == 2


def test_without_tools_there_are_no_calls():
    text = '<tool_call>{"name": "now"}</tool_call>'
    assert read_reply(text, PLAIN).content == text


names = st.from_regex(r"[\w.:-]{1,20}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["</tool_call>", '"', "\\", "}\n</tool_call>", "```", "</think>", "[ARGS]{", "\n{", "\u2028"]
)
arguments = st.dictionaries(
    texts,
    st.recursive(
        texts | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)
calls = st.lists(st.builds(ToolCall, names, arguments), min_size=1, max_size=3)


@unhurried
@given(st.sampled_from(EVERY), calls, places)
def test_calls_come_back_as_they_were_written(family: Family, written: list[ToolCall], edges: list[int]):
    tools = {call.name: {"name": call.name, "parameters": {"properties": {}}} for call in written}
    pieces = cut(family.write(written), edges)
    reply = as_reply(parts_in_pieces(pieces, AnswerForm(family=family, tools=tools)))
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [
        (call.name, call.arguments) for call in written
    ]
    assert reply.content == ""


fragments = st.sampled_from([
    *(mark for family in EVERY for mark in family.marks), "<think>", "</think>", "\n", " ", "{", "[", "}", "]", '"',
    '{"name": "now", "arguments": {}}', '{"name": "weather", "parameters": {"city": "x"}}', '"name"', ":", "now", "a",
    "now()", "```", "json", "<function=now>", "</function>", ";", '{"a": 1}', "<", "[TOOL",
])  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from([None, *EVERY]),
    st.lists(fragments | st.text(max_size=3), max_size=14).map("".join),
    st.booleans(),
    places,
)
@example(GENERIC, "```json{```json\n{", False, [1, 2, 7, 8, 9])
def test_the_parts_are_the_same_however_the_text_is_cut(
    family: Family | None, text: str, is_reasoning: bool, edges: list[int]
):
    answer_form = AnswerForm(family=family, tools=TOOLS, is_reasoning=is_reasoning)
    whole = essence(parts_in_pieces([text], answer_form))
    assert essence(parts_in_pieces(cut(text, edges), answer_form)) == whole
    assert essence(parts_in_pieces(list(text), answer_form)) == whole


@unhurried
@given(st.sampled_from(EVERY), st.lists(fragments | st.text(max_size=3), max_size=14).map("".join))
def test_nothing_that_is_said_is_lost(family: Family, text: str):
    """What is left of the text when the parts are taken out of it, in their order, are marks, calls and white space."""
    place = 0
    for kind, value in essence(parts_in_pieces([text], form(family))):
        if kind != "ToolCall":
            for word in value.split():
                place = text.index(word, place) + len(word)


@pytest.mark.parametrize("family", EVERY, ids=lambda family: family.name)
def test_no_mark_begins_with_another(family: Family):
    openers = list(family.openers)
    assert [(one, other) for one in openers for other in openers if one != other and one in other] == []
