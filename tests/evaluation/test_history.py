"""Results are kept one file each, found by their id, and told on pages that need nothing else."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from llmasos.errors import BadInputError
from llmasos.evaluation import history
from llmasos.evaluation.charts import Bar, bars_svg, bars_text, stacked
from llmasos.evaluation.report import headline, latest_bars, records_page
from llmasos.locate import Located
from llmasos.store.blobs import digest_of

SETTINGS = {"mode": "chunks", "context": 64, "text": {"name": "<own>", "sha256": "0", "bytes": 9}}


@pytest.fixture
def model(tiny_model: Path) -> Located:
    return Located((tiny_model,), None)


def test_what_is_saved_is_found_with_all_it_depends_on(model: Located, tiny_model: Path):
    identifier = history.save("perplexity", model, SETTINGS, {"perplexity": 12.5})
    record = history.find(identifier)
    assert (record.kind, record.settings, record.result) == ("perplexity", SETTINGS, {"perplexity": 12.5})
    assert record.model["digest"] == digest_of(tiny_model)
    assert record.model["size"] == tiny_model.stat().st_size
    assert set(record.engine) == {"llmasos", "llama_cpp_python"}


def test_the_end_of_an_id_is_enough_and_last_is_the_latest(model: Located):
    first = history.save("perplexity", model, SETTINGS, {"perplexity": 1.0})
    assert history.find(first[-4:]).id == first
    second = history.save("perplexity", model, SETTINGS, {"perplexity": 2.0})
    assert history.find("last").id == max(first, second)


@pytest.mark.parametrize("identifier", ["", "nonsense", "last"])
def test_what_is_not_there_is_told(identifier: str):
    with pytest.raises(BadInputError, match="there is no result"):
        history.find(identifier)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"id": 3}'])
def test_a_file_that_is_no_result_hides_no_other(home: Path, model: Located, content: bytes):
    identifier = history.save("perplexity", model, SETTINGS, {"perplexity": 1.0})
    (home / "history/00000000-000000-0000.json").write_bytes(content)
    assert [each.id for each in history.records()] == [identifier]


def test_any_result_with_a_number_has_a_headline(model: Located):
    for kind, result, expected in (
        ("perplexity", {"tokens": 3, "perplexity": 2.5}, ("perplexity", 2.5)),
        ("compare", {"agreement": {"kld": 0.5}}, ("kld", 0.5)),
        ("other", {"words": "none", "deep": {"bleu": 7}}, ("deep.bleu", 7.0)),
        ("other", {"words": "none"}, None),
    ):
        assert headline(history.find(history.save(kind, model, SETTINGS, result))) == expected


def test_a_page_shows_every_result_and_lets_no_name_be_markup(model: Located):
    history.save("perplexity", model, SETTINGS, {"perplexity": 2.5, "note": "<script>"})
    page = records_page(list(history.records()))
    assert "&lt;script&gt;" in page and "<script>" not in page and "&lt;own&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "") and "src=" not in page
    assert "<svg" in page and "2.5" in page


def test_of_each_model_the_latest_is_drawn(model: Located):
    history.save("perplexity", model, SETTINGS, {"perplexity": 2.5})
    [(title, [bar])] = latest_bars(list(history.records()))
    assert title == "perplexity perplexity mode chunks context 64 text <own>"
    assert (bar.label, bar.value) == ("tiny.gguf", 2.5)


def test_charts_are_well_formed_whatever_the_values():
    bars = [
        Bar("a & b", 1.0, "1 <", 0.2),
        Bar("zero", 0.0, "0"),
        Bar("none", float("inf"), "inf"),
        Bar("x" * 80, 2, ""),
    ]
    svg = stacked([bars_svg("it's <this>", bars), bars_svg("nothing", [])])
    assert len(list(ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect"))) == 4


def test_bars_on_a_terminal_are_as_long_as_their_values():
    lines = bars_text("title", [Bar("a", 1, "1.0"), Bar("bb", 0.5, "0.5"), Bar("c", 0, "0")], width=8)
    assert lines == ["title", "  a   1.0  ████████", "  bb  0.5  ████", "  c     0"]
