"""Control vectors: logits move as if the direction were added to what the layer gives, and not at all by none."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from doubles.tiny import TinyModel, write_tiny
from llmasos.engine.context import Context, ContextOptions, Reading, logits_at
from llmasos.engine.control import Control, combined
from llmasos.engine.model import Model, ModelOptions, load_model
from llmasos.engine.probes import NamedTensors
from llmasos.errors import BadInputError, CorruptModelError
from llmasos.evaluation.steering import write_control_vector
from llmasos.formats.control_vector import (
    read_directions,
    require_control_vector,
    require_same_model,
)
from llmasos.formats.gguf import read_header
from llmasos.formats.gguf_tensors import open_gguf_model

TOKENS = [5, 60, 7, 100]
WIDTH, LAYERS = 64, 4


@pytest.fixture
def deep_model(tmp_path: Path):
    path = write_tiny(tmp_path / "deep.gguf", TinyModel(layer_count=LAYERS))
    model = load_model([path], ModelOptions())
    yield model
    model.close()


def outputs(
    model: Model, control: Control | None, layers: range = range(LAYERS)
) -> tuple[list[np.ndarray], np.ndarray]:
    """What the layers give for the last token (width), and its logits."""
    named = NamedTensors(f"l_out-{layer}" for layer in range(LAYERS))
    context = Context(model, ContextOptions(64, threads=1), control=control, probe=named.probe)
    [index] = context.decode([Reading(0, TOKENS, 0)])
    found = [tensor.reshape(-1, WIDTH)[-1] for tensor in named.take().values()]
    logits = np.array(logits_at(context, index, model.vocabulary_size))
    context.close()
    return found, logits


def directions(*layers: int, seed: int = 0) -> dict[int, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {layer: generator.normal(0, 1, WIDTH).astype(np.float32) for layer in layers}


def test_a_direction_is_added_to_what_its_layer_gives(deep_model: Model):
    plain, logits = outputs(deep_model, None)
    vector = directions(2)
    found, moved = outputs(deep_model, combined([(vector, 0.5)], LAYERS, (1, LAYERS - 1)))
    for layer in (0, 1):
        np.testing.assert_array_equal(found[layer], plain[layer])
    np.testing.assert_allclose(found[2], plain[2] + 0.5 * vector[2], atol=1e-5)
    assert np.abs(moved - logits).max() > 0.1


def test_the_last_layers_direction_moves_logits_as_arithmetic_says(deep_model: Model, tmp_path: Path):
    """The last layer's states, the direction added, through norm and output by hand."""
    tensors = open_gguf_model([tmp_path / "deep.gguf"]).tensors
    plain, _ = outputs(deep_model, None)
    vector = directions(LAYERS - 1)
    _, moved = outputs(deep_model, combined([(vector, 2)], LAYERS, (1, LAYERS - 1)))
    state = plain[-1].astype(np.float64) + 2 * vector[LAYERS - 1]
    norm, output = (tensors[name].rows().view(np.float32) for name in ("output_norm.weight", "output.weight"))
    expected = output @ (state / np.sqrt((state**2).mean() + 1e-5) * norm[0])
    np.testing.assert_allclose(moved, expected, atol=1e-3)


def test_nothing_of_a_vector_changes_nothing(deep_model: Model):
    _, logits = outputs(deep_model, None)
    for control in (
        combined([(directions(1, 2, 3), 0)], LAYERS, (1, LAYERS - 1)),
        combined([(directions(1), 1)], LAYERS, (2, LAYERS - 1)),
        combined([(directions(2), 1), (directions(2), -1)], LAYERS, (1, LAYERS - 1)),
    ):
        np.testing.assert_array_equal(outputs(deep_model, control)[1], logits)


def test_scales_add_up(deep_model: Model):
    once, twice = directions(1, 3), directions(1, 3)
    both = combined([(once, 1), (twice, 2)], LAYERS, (1, LAYERS - 1))
    whole = combined([(once, 3)], LAYERS, (1, LAYERS - 1))
    np.testing.assert_allclose(outputs(deep_model, both)[1], outputs(deep_model, whole)[1], atol=1e-4)


def test_a_file_has_what_was_written(tmp_path: Path):
    vector = directions(1, 2, 3)
    path = write_control_vector(tmp_path / "vector.gguf", vector, "llama")
    header = read_header(path)
    require_control_vector(header, "mine")
    assert header.metadata["controlvector.model_hint"] == "llama"
    assert header.metadata["controlvector.layer_count"] == 3
    found = read_directions(path)
    assert found.keys() == vector.keys()
    for layer, direction in vector.items():
        np.testing.assert_array_equal(found[layer], direction)


@pytest.mark.parametrize(
    ("layers", "width", "problem"),
    [
        ((1, 2, 3), WIDTH, None),
        ((2, 3), WIDTH, None),
        ((1, 2), WIDTH, "layers 1 to 2, and the model has 4 layers"),
        ((3, 4), WIDTH, "layers 3 to 4, and the model has 4 layers"),
        ((1, 2, 3), 32, "directions have 32 numbers, and the model's width is 64"),
    ],
)
def test_vectors_of_other_models_are_refused(tmp_path: Path, layers: tuple[int, ...], width: int, problem: str | None):
    model = read_header(write_tiny(tmp_path / "model.gguf", TinyModel(layer_count=LAYERS)))
    vector = {layer: direction[:width] for layer, direction in directions(*layers).items()}
    header = read_header(write_control_vector(tmp_path / "vector.gguf", vector, "llama"))
    if problem is None:
        require_same_model(header, "mine", [model], "theirs")
        return
    with pytest.raises(BadInputError, match=problem):
        require_same_model(header, "mine", [model], "theirs")


def test_what_is_no_control_vector_is_refused(tmp_path: Path, tiny_model: Path):
    with pytest.raises(BadInputError, match="mine is no control vector: it says that it is `llama`"):
        require_control_vector(read_header(tiny_model), "mine")
    zero = write_control_vector(tmp_path / "zero.gguf", {0: directions(1)[1]}, "llama")
    with pytest.raises(CorruptModelError, match=r"`direction.0` is no direction"):
        require_control_vector(read_header(zero), "mine")
    lengths = {1: directions(1)[1], 2: directions(2)[2][:32]}
    uneven = write_control_vector(tmp_path / "uneven.gguf", lengths, "llama")
    with pytest.raises(CorruptModelError, match="several lengths"):
        require_control_vector(read_header(uneven), "mine")
    broken = write_control_vector(tmp_path / "broken.gguf", {1: np.full(WIDTH, np.nan, np.float32)}, "llama")
    with pytest.raises(CorruptModelError, match="no number"):
        read_directions(broken)


def test_files_are_those_of_llama_cpps_tool(tmp_path: Path):
    """Read by ggml's own Python package, and its files by us, written as the tool does."""
    vector = directions(*range(1, 12))
    reader = gguf.GGUFReader(write_control_vector(tmp_path / "ours.gguf", vector, "llama"))
    assert {tensor.name for tensor in reader.tensors} == {f"direction.{layer}" for layer in vector}
    assert all(tensor.tensor_type == gguf.GGMLQuantizationType.F32 for tensor in reader.tensors)
    for tensor in reader.tensors:
        np.testing.assert_array_equal(tensor.data, vector[int(tensor.name.removeprefix("direction."))])

    writer = gguf.GGUFWriter(tmp_path / "theirs.gguf", "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_int32("controlvector.layer_count", len(vector))
    for layer, direction in vector.items():
        writer.add_tensor(f"direction.{layer}", direction)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = read_directions(tmp_path / "theirs.gguf")
    assert all((found[layer] == direction).all() for layer, direction in vector.items())
