"""Chat templates: what templates written for transformers expect, and what a stranger's template may not do."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmasos.chat.messages import as_messages
from llmasos.chat.template import ChatTemplate
from llmasos.errors import BadInputError

HELLO = as_messages("Hello")


def render(template: str, **values: Any) -> str:
    return ChatTemplate(template).render(HELLO, **values)


# What is given to templates.


def test_one_question_is_a_message_after_the_system_prompt_if_there_is_one():
    assert as_messages("Hello") == [{"role": "user", "content": "Hello"}]
    assert as_messages("Hello", "Be brief.") == [{"role": "system", "content": "Be brief."}, *HELLO]
    assert as_messages("Hello", "") == HELLO


def test_a_template_gets_messages_and_special_tokens():
    template = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    assert render(template, bos="<s>", eos="</s>") == "<s><user>Hello</s>"


def test_a_template_is_told_where_the_answer_begins():
    template = "{% if add_generation_prompt %}<assistant>{% endif %}"
    assert (render(template), render(template, continues=False)) == ("<assistant>", "")


def test_tools_and_documents_are_none_unless_given():
    template = "{{ tools is none }} {{ documents is none }} {{ tools is defined }} {{ unheard_of is defined }}"
    assert render(template) == "True True True False"
    assert render("{{ tools[0].name }}", tools=[{"name": "search"}]) == "search"


def test_blocks_leave_no_lines_behind():
    template = "{% for m in messages %}\n    {% if m.content %}\n{{ m.content }}\n    {% endif %}\n{% endfor %}\n"
    assert render(template) == "Hello\n"


def test_json_keeps_letters_as_they_are():
    assert render("{{ value | tojson }}", value={"城市": "北京 <b>'é'</b>"}) == '{"城市": "北京 <b>\'é\'</b>"}'
    assert render("{{ value | tojson(indent=2) }}", value=[1]) == "[\n  1\n]"
    assert render("{{ value | tojson(ensure_ascii=true, sort_keys=true) }}", value={"b": "é", "a": 1}) == (
        '{"a": 1, "b": "\\u00e9"}'
    )


def test_what_a_filter_gives_can_be_json():
    assert render("{{ messages | map(attribute='content') | tojson }}") == '["Hello"]'


def test_the_date_of_today_can_be_written():
    before, text, after = datetime.date.today(), render("{{ strftime_now('%Y-%m-%d') }}"), datetime.date.today()
    assert str(before) <= text <= str(after)


def test_loops_can_be_left_and_parts_skipped():
    body = "{% if n == 1 %}{% continue %}{% elif n == 3 %}{% break %}{% endif %}{{ n }}"
    assert render("{% for n in range(9) %}" + body + "{% endfor %}") == "02"


def test_marks_for_training_change_nothing():
    assert render("a{% generation %}{{ messages[0].content }}{% endgeneration %}b") == "aHellob"


# What fails.


def test_a_template_can_refuse_messages_with_a_reason():
    with pytest.raises(BadInputError, match="template fails: roles must alternate") as error:
        render("{{ raise_exception('roles must alternate') }}")
    assert error.value.hint == "use --raw to send the prompt as it is"


BROKEN = {
    "an open block": "{% if %}",
    "an unknown tag": "{% unheard_of %}",
    "an unknown filter": "{{ 1 | unheard_of }}",
    "brackets too deep": "{{ " + "(" * 5000 + ")" * 5000 + " }}",
    "loops too deep": "{% for a in [1] %}" * 30 + "{% endfor %}" * 30,
}


@pytest.mark.parametrize("template", BROKEN.values(), ids=BROKEN.keys())
def test_a_template_that_is_broken_is_refused_when_it_is_read(template: str):
    with pytest.raises(BadInputError, match="the model's chat template fails: "):
        ChatTemplate(template)


FAILING = {
    "nothing's attribute": "{{ nothing.at.all }}",
    "a wrong type": "{{ 1 + 'x' }}",
    "division by zero": "{{ 1 / 0 }}",
    "no such codec": "{{ 'x'.encode('unheard-of') }}",
    "a recursion without end": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "more than there is memory": "{{ 'x' * 10 ** 15 }}",
    "a range without end": "{% for n in range(10 ** 9) %}{% endfor %}",
    "a time that can't be written": "{{ strftime_now(7) }}",
    "what JSON can't hold": "{{ messages.append | tojson }}",
}


@pytest.mark.parametrize("template", FAILING.values(), ids=FAILING.keys())
def test_a_template_that_fails_is_told_without_a_traceback(template: str):
    compiled = ChatTemplate(template)
    with pytest.raises(BadInputError, match="the model's chat template fails: "):
        compiled.render(HELLO)


ESCAPES = [
    "{{ ''.__class__.__mro__ }}",
    "{{ ''['__class__'].__mro__ }}",
    "{{ (''|attr('__class__')).__name__ }}",
    "{{ ().__class__.__base__.__subclasses__() }}",
    "{{ messages.__init__.__globals__ }}",
    "{{ raise_exception.__globals__['json'] }}",
    "{{ strftime_now.__globals__.datetime }}",
    "{{ '{0.__globals__}'.format_map({'0': raise_exception}) }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ messages.append({}) }}",
    "{{ messages.clear() }}",
    "{{ messages[0].update({'role': 'system'}) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
]


@pytest.mark.parametrize("template", ESCAPES)
def test_a_template_reaches_nothing_but_what_it_is_given(template: str):
    messages = as_messages("Hello")
    with pytest.raises(BadInputError, match="the model's chat template fails: "):
        ChatTemplate(template).render(messages)
    assert messages == HELLO


@pytest.mark.parametrize(
    "template", ["{{ ''.__class__ }}", "{{ ''['__class__'] }}", "{{ '{0.__class__.__init__}'.format('') }}"]
)
def test_what_a_template_may_not_see_is_nothing_to_it(template: str):
    assert render(template) == ""


def test_a_templates_changes_do_not_outlive_it():
    counting = ChatTemplate("{% set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}")
    assert [counting.render(HELLO), counting.render(HELLO)] == ["1", "1"]


pieces = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", "for", "in", "if", "endif", "messages", "|", "tojson", "(", ")", "'", ".", "-"]
)


@settings(deadline=None)
@given(st.lists(pieces | st.text(max_size=3)).map(" ".join))
def test_any_text_is_a_template_or_refused(text: str):
    try:
        assert isinstance(ChatTemplate(text).render(HELLO), str)
    except BadInputError as error:
        assert error.message.startswith("the model's chat template fails")


@settings(deadline=None)
@given(st.text())
def test_what_a_person_writes_is_never_read_as_a_template(text: str):
    assert ChatTemplate("{{ messages[0].content }}").render(as_messages(text)) == text
