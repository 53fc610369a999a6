"""`llmasos eval steer` and --control-vector: a vector made, stored, written, applied, and refused where it can't be."""

from __future__ import annotations

import json

from doubles.tiny import TinyModel

FIXED = ("--temperature", "0", "--max-tokens", "12", "--ignore-eos", "--raw")
PAIRS = [
    {"positive": f"I am kind to {whom}", "negative": f"I am rude to {whom}"} for whom in ("you", "them", "her", "him")
]


def write_pairs(folder):
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, PAIRS)) + "\n", "utf-8")
    return path


def test_a_vector_is_stored_and_steers(llmasos, make_tiny, tmp_path):
    model, pairs = make_tiny(TinyModel(layer_count=3)), write_pairs(tmp_path)
    made = llmasos("eval", "steer", model, "-f", pairs, "--as", "kind", "--json")
    assert made.exit_code == 0, made.stderr
    told = json.loads(made.stdout)
    assert told == {"control_vector": "kind", "method": "mean", "pairs": 4, "layers": [1, 2]}

    def run(*flags):
        result = llmasos("run", model, "the cat", *FIXED, *flags)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    plain = run()
    assert run("--control-vector", "kind:0") == plain
    assert run("--control-vector", "kind:40") != plain
    assert run("--control-vector", "kind:40", "--control-vector", "kind:-40") == plain
    assert run("--control-vector", "kind:40", "--control-layers", "2") != run("--control-vector", "kind:40")

    listed = json.loads(llmasos("list", "--json").stdout)
    assert [each["kind"] for each in listed] == ["control_vector"]
    assert "--control-vector kind" in llmasos("show", "kind").stdout
    refused = llmasos("run", "kind", "the cat")
    assert refused.exit_code == 5 and "is a control vector" in refused.stderr


def test_a_file_is_written_imported_and_refused_for_another_model(llmasos, make_tiny, tiny_model, tmp_path):
    model, vector = make_tiny(TinyModel(layer_count=3)), tmp_path / "vector.gguf"
    made = llmasos("eval", "steer", model, "-f", write_pairs(tmp_path), "-o", vector, "--method", "pca")
    assert made.exit_code == 0, made.stderr
    assert llmasos("import", vector, "--as", "taken").exit_code == 0
    for name in (vector, "taken"):
        assert llmasos("run", model, "the cat", *FIXED, "--control-vector", name).exit_code == 0
        other = llmasos("run", tiny_model, "the cat", *FIXED, "--control-vector", name)
        assert other.exit_code == 5 and "for another model" in other.stderr
    assert llmasos("run", vector, "the cat").exit_code == 5


def test_what_cannot_be_is_refused(llmasos, tiny_model, tmp_path):
    pairs, target = write_pairs(tmp_path), tmp_path / "vector.gguf"
    assert llmasos("eval", "steer", tiny_model, "-f", pairs).exit_code == 2
    assert llmasos("eval", "steer", tiny_model, "-f", pairs, "-o", target, "--method", "magic").exit_code == 2
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"positive": "one"}\n', "utf-8")
    told = llmasos("eval", "steer", tiny_model, "-f", bad, "-o", target)
    assert told.exit_code == 5 and "line 1" in told.stderr
    assert llmasos("run", tiny_model, "the", "--control-vector", "nobody").exit_code == 3
    assert llmasos("run", tiny_model, "the", "--control-vector", tiny_model).exit_code == 5
    assert llmasos("run", tiny_model, "the", "--control-layers", "1-2").exit_code == 2
