"""What each line of an input asks for, in every form; bad lines are told by number and the rest goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.bodies import JSON
from llmasos.batch.jobs import Job, Reading, form_of, read_jobs
from llmasos.batch.lines import BadLine, lines_of
from llmasos.batch.templates import PromptTemplate
from llmasos.errors import BadInputError, UsageError
from llmasos.openai.interface import CHAT, COMPLETIONS, EMBEDDINGS

QUESTION = [{"role": "user", "content": "cat"}]


@pytest.fixture
def read(tmp_path: Path):
    """The entries of a text as an input."""

    def entries(text: str | bytes, form: str = "jsonl", url: str = CHAT, template: str | None = None) -> list[Any]:
        path = tmp_path / "input"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        made = None if template is None else PromptTemplate(template)
        return list(read_jobs(path, Reading(form, url, made)))

    return entries


# JSON lines.


def test_openais_own_form_is_taken_as_it_is(read):
    line = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"input": "x", "model": "m"}}
    assert read(json.dumps(line)) == [Job(1, "a", EMBEDDINGS, line["body"])]


def test_a_body_without_a_url_goes_where_it_belongs(read):
    bodies = [{"messages": QUESTION}, {"prompt": "a"}, {"input": "a"}]
    lines = "\n".join(json.dumps({"custom_id": str(n), "body": body}) for n, body in enumerate(bodies))
    assert [job.url for job in read(lines)] == [CHAT, COMPLETIONS, EMBEDDINGS]


def test_the_short_form_is_a_question_to_a_model_that_chats(read):
    line = json.dumps({"custom_id": "a", "prompt": "cat", "max_tokens": 4})
    assert read(line) == [Job(1, "a", CHAT, {"messages": QUESTION, "max_tokens": 4})]
    assert read(line, url=COMPLETIONS) == [Job(1, "a", COMPLETIONS, {"prompt": "cat", "max_tokens": 4})]
    assert read('{"prompt": "cat"}', url=EMBEDDINGS) == [Job(1, "1", EMBEDDINGS, {"input": "cat"})]


def test_a_short_line_may_bring_its_own_system_prompt(read):
    [job] = read('{"prompt": "cat", "system": "be short"}')
    assert job.body["messages"] == [{"role": "system", "content": "be short"}, *QUESTION]


def test_what_has_no_id_is_called_by_its_line(read):
    assert [job.custom_id for job in read('\n{"prompt": "a"}\n\n{"prompt": "b", "custom_id": 7}\n')] == ["2", "7"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no", "no JSON"),
        ("[1]", "no JSON object"),
        ("{}", "asks for nothing"),
        ('{"body": 3}', "no body"),
        ('{"url": 3, "body": {"prompt": "a"}}', "url is no text"),
        ('{"body": {"prompt": "a"}, "max_tokens": 3}', "beside the body"),
        ('{"body": {"prompt": "a"}, "method": "GET"}', "POST"),
        ('{"body": {"prompt": "a", "stream": true}}', "streams nothing"),
        ('{"prompt": ["a"]}', "have to be texts"),
        ('{"custom_id": {}, "prompt": "a"}', "custom_id"),
        ('{"prompt": "\\ud800"}', "no JSON"),
        ('{"prompt": "a", "temperature": NaN}', "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("\x00", "no JSON"),
    ],
    ids=lambda value: value[:30],
)
def test_a_bad_line_is_told_with_its_number_and_the_rest_goes_on(read, line, reason):
    first, bad, last = read(f'{{"prompt": "a"}}\n{line}\n{{"prompt": "b"}}')
    assert isinstance(first, Job)
    assert isinstance(last, Job)
    assert isinstance(bad, BadLine)
    assert bad.number == 2
    assert reason in bad.reason


def test_an_id_that_stood_before_is_told(read):
    first, second = read('{"custom_id": "a", "prompt": "x"}\n{"custom_id": "a", "prompt": "y"}')
    assert isinstance(first, Job)
    assert (second.number, second.custom_id) == (2, "a")
    assert "stood in a line before" in second.reason


def test_bytes_that_are_no_text_spoil_their_line_alone(read):
    entries = read(b'\xef\xbb\xbf{"prompt": "a"}\r\n{"prompt": "\xff"}\r\n{"prompt": "b"}\r\n')
    assert [type(entry) for entry in entries] == [Job, BadLine, Job]
    assert "0xff" in entries[1].reason


@given(line=JSON)
def test_no_line_of_json_breaks_the_reader(line: Any, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text(json.dumps(line) + '\n{"prompt": "a", "custom_id": "last"}')
    assert isinstance(list(read_jobs(path, Reading("jsonl", CHAT)))[-1], Job | BadLine)


# Lines and their length.


def test_a_line_that_is_too_long_is_passed_over_in_bounded_memory(tmp_path: Path):
    path = tmp_path / "long"
    path.write_bytes(b"a\n" + b"x" * 5_000_000 + b"\nb")
    with path.open("rb") as file:
        first, long, last = lines_of(file, longest=1000)
    assert (first.text, last.text, last.number) == ("a", "b", 3)
    assert "5.0 MB" in long.reason
    assert long.number == 2


def test_a_line_of_just_the_length_that_is_allowed_is_read(tmp_path: Path):
    path = tmp_path / "exact"
    path.write_bytes(b"x" * 1000 + b"\n" + b"y" * 1000)
    with path.open("rb") as file:
        assert [len(line.text) for line in lines_of(file, longest=1000)] == [1000, 1000]


def test_what_can_not_be_read_is_told(tmp_path: Path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(BadInputError, match="can't read"):
            list(read_jobs(path, Reading("jsonl", CHAT)))


# Tables, lines and templates.


def test_plain_lines_are_prompts_or_fill_a_template(read):
    assert [job.body["messages"] for job in read("cat\n\ndog", form="lines")] == [
        QUESTION,
        [{"role": "user", "content": "dog"}],
    ]
    [job] = read("cat", form="lines", template='Say {line} as {"a": 1}')
    assert job.body["messages"][0]["content"] == 'Say cat as {"a": 1}'


def test_a_row_of_a_table_fills_a_template(read):
    table = 'custom_id,title,text\na,One,"first,\nsecond"\nb,Two,third\n'
    jobs = read(table, form="csv", template="{title}: {text}")
    assert [(job.custom_id, job.body["messages"][0]["content"]) for job in jobs] == [
        ("a", "One: first,\nsecond"),
        ("b", "Two: third"),
    ]
    assert [job.number for job in jobs] == [3, 4]  # where the row ends


def test_a_column_of_prompts_needs_no_template(read):
    assert [job.custom_id for job in read("prompt\tx\ncat\t1\n", form="tsv")] == ["2"]


def test_a_row_with_too_few_fields_is_told_and_the_rest_goes_on(read):
    entries = read('prompt,x\ncat\ndog,1\n"a"b,2\ncow,3', form="csv")
    assert [type(entry) for entry in entries] == [BadLine, Job, BadLine, Job]
    assert [entry.number for entry in entries] == [2, 3, 4, 5]


def test_json_lines_fill_a_template_too(read):
    one, bad = read('{"title": "a", "tags": ["b", 1]}\n{"title": "c"}', template="{title} {tags}")
    assert one.body["messages"][0]["content"] == 'a ["b", 1]'
    assert "no field `tags`" in bad.reason


def test_a_table_without_the_column_is_refused_at_once(read):
    with pytest.raises(BadInputError, match="no column `prompt`; there is title"):
        read("title\na", form="csv")
    with pytest.raises(BadInputError, match="no column `titel`"):
        read("title\na", form="csv", template="{titel}")


def test_a_template_without_a_place_is_a_mistake():
    with pytest.raises(UsageError, match="no place"):
        PromptTemplate("Summarize this")


def test_a_field_is_never_read_as_a_template(read):
    [job] = read('{"a": "{b}", "b": "x"}', template="{a}")
    assert job.body["messages"][0]["content"] == "{b}"


@pytest.mark.parametrize(
    ("name", "form"), [("a.csv", "csv"), ("a.TSV", "tsv"), ("a.txt", "lines"), ("a.jsonl", "jsonl"), ("a", "jsonl")]
)
def test_the_name_tells_the_form(name: str, form: str):
    assert form_of(Path(name), None) == form
    assert form_of(Path(name), "lines") == "lines"


def test_a_form_that_there_is_not_is_refused():
    with pytest.raises(UsageError, match="no form `xml`"):
        form_of(Path("a"), "xml")


@given(texts=st.lists(st.text("ab,\"'\n\r{}é", max_size=8), min_size=1, max_size=5))
def test_what_python_writes_as_a_table_is_read_back(texts: list[str], tmp_path_factory: pytest.TempPathFactory):
    import csv

    path = tmp_path_factory.getbasetemp() / "any.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(
            [["prompt", "x"], *([text, "1"] for text in texts)]
        )
    jobs = list(read_jobs(path, Reading("csv", COMPLETIONS)))
    assert [job.body["prompt"].replace("\r", "") for job in jobs if isinstance(job, Job)] == [
        text.replace("\r", "") for text in texts
    ]
