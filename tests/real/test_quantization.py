"""Quantization beside llama.cpp itself: the same type for every tensor, the same bytes in every file.

The library has functions that tell its choice of types for a described model (llama-ext.h); what they leave out, an
importance matrix and models that are 70B by their number of layers, is asked of a dry run over an empty file.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from conftest import PROJECT, command
from llmasos.engine.bindings import lib, log, shared
from llmasos.formats.floats import as_bfloat16
from llmasos.formats.gguf import TENSOR_TYPES, read_header
from llmasos.progress import Progress
from llmasos.quantization.choices import Choices
from llmasos.quantization.encode import encode
from llmasos.quantization.header import PlacedTensor, header_bytes
from llmasos.quantization.mixes import Tensor, choose_types, layer_then_name, model_facts
from llmasos.quantization.rules import ModelFacts
from llmasos.quantization.types import MIXES, TYPES
from llmasos.quantization.writer import TensorJob, write_gguf

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

ARCHITECTURES = ("llama", "qwen3", "falcon", "gptneox", "deepseek2", "bert", "glm5-next", "bailingmoe3")
# layers, heads, key heads, experts, width, width inside of the feed-forward network
SIZES = (
    (80, 64, 8, 0, 512, 1536), (30, 9, 3, 0, 576, 1536), (9, 32, 8, 8, 1024, 512), (7, 8, 1, 0, 768, 2048),
    (12, 8, 8, 64, 512, 256), (5, 4, 4, 2, 100, 36), (16, 16, 4, 4, 256, 256),
)  # fmt: skip


class Description(ctypes.Structure):
    _fields_ = [("architecture", ctypes.c_char_p)] + [
        (name, ctypes.c_uint32)
        for name in ("embd", "ff", "layer", "head", "head_kv", "expert", "embd_head_k", "embd_head_v")
    ]


class ContextOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


def function(name: str, result: Any, *arguments: Any) -> Any:
    found = getattr(shared, name)
    found.restype, found.argtypes = result, arguments
    return found


def types_of_llama_cpp(facts: ModelFacts, tensors: Sequence[Tensor], mixes: Sequence[str]) -> dict[str, dict[str, str]]:
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    describe = function("_Z31llama_quant_model_from_metadataPK22llama_quant_model_desc", pointer, pointer)
    begin = function("_Z16llama_quant_initPK11llama_modelPK27llama_model_quantize_params", pointer, pointer, pointer)
    compute = function(
        "_Z25llama_quant_compute_typesP19quantize_state_impl11llama_ftypePP11ggml_tensorP9ggml_typem",
        None, pointer, ctypes.c_int, pointer, pointer, size,
    )  # fmt: skip
    free_state = function("_Z16llama_quant_freeP19quantize_state_impl", None, pointer)
    make_context, free_context = function("ggml_init", pointer, ContextOptions), function("ggml_free", None, pointer)
    make_tensor = function("ggml_new_tensor", pointer, pointer, ctypes.c_int, ctypes.c_int, pointer)
    set_name = function("ggml_set_name", pointer, pointer, ctypes.c_char_p)

    options = lib.llama_model_quantize_default_params()
    description = Description(
        facts.architecture.encode(), 4096, 8192, facts.layer_count, facts.head_count, facts.kv_head_count,
        facts.expert_count, 128, 128,
    )  # fmt: skip
    model = describe(ctypes.byref(description))
    state = begin(model, ctypes.byref(options))
    context = make_context(ContextOptions(1000 * len(tensors), None, True))
    listed = (pointer * len(tensors))()
    for index, tensor in enumerate(tensors):
        shape = (ctypes.c_int64 * len(tensor.shape))(*tensor.shape[::-1])
        listed[index] = make_tensor(context, TYPES[tensor.kept_type].type_id, len(tensor.shape), shape)
        set_name(listed[index], tensor.name.encode())
    chosen = {}
    for mix in mixes:
        numbers = (ctypes.c_int * len(tensors))()
        compute(state, MIXES[mix], listed, numbers, len(tensors))
        chosen[mix] = {tensor.name: TENSOR_TYPES[number][0] for tensor, number in zip(tensors, numbers, strict=True)}
    free_state(state)
    free_context(context)
    lib.llama_model_free(ctypes.cast(model, lib.llama_model_p_ctypes))
    return chosen


def model_tensors(facts: ModelFacts, width: int, inside: int, *, tied: bool) -> list[Tensor]:
    """Tensors of every kind that the rules know, in llama.cpp's order."""
    shapes = {
        "token_embd.weight": (1000, width), "per_layer_token_embd.weight": (1000, width),
        "position_embd.weight": (512, width), "token_types.weight": (2, width),
        "output_norm.weight": (width,), "rope_freqs.weight": (64,),
    }  # fmt: skip
    if not tied:
        shapes["output.weight"] = (1000, width)
    for layer in range(facts.layer_count):
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in layer_shapes(facts, layer, width, inside)}
    kept_in_f32 = ("norm", "bias", "position", "types", "freqs", "conv1d", "gate_inp")
    tensors = [
        Tensor(name, shape, "F32" if any(part in name for part in kept_in_f32) else "BF16")
        for name, shape in shapes.items()
    ]
    return sorted(tensors, key=lambda tensor: layer_then_name(tensor.name))


def layer_shapes(facts: ModelFacts, layer: int, width: int, inside: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    keys = width // facts.head_count * facts.kv_head_count
    if facts.architecture in ("falcon", "gptneox"):
        yield "attn_qkv.weight", (width + 2 * keys, width)
        yield "attn_qkv.bias", (width + 2 * keys,)
    elif facts.architecture == "deepseek2":
        yield from (("attn_kv_b.weight", (keys, width)), ("attn_q.weight", (width, width)))
    else:
        yield from (
            ("attn_q.weight", (width, width)),
            ("attn_k.weight", (keys, width)),
            ("attn_v.weight", (keys, width)),
        )
    yield from (("attn_output.weight", (width, width)), ("attn_norm.weight", (width,)), ("attn_q_a.weight", (8, width)))
    yield from (("ssm_conv1d.weight", (width, 4)), ("ssm_in.weight", (width, width)), ("one_row.weight", (1, width)))
    experts = (facts.expert_count,) if facts.expert_count > 1 else ()
    suffix = "_exps" if experts else ""
    yield f"ffn_up{suffix}.weight", (*experts, inside, width)
    yield f"ffn_gate{suffix}.weight", (*experts, inside, width)
    yield f"ffn_down{suffix}.weight", (*experts, width, inside)
    if experts:
        yield "ffn_gate_inp.weight", (*experts, width)
        if layer % 3 == 1:  # experts in tensors of their own, here and there
            yield from ((f"ffn_down.{expert}.weight", (width, inside)) for expert in range(2))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_tensor_gets_llama_cpps_type(architecture, size, tied):
    layers, heads, kv_heads, experts, width, inside = size
    facts = ModelFacts(architecture, layers, heads, kv_heads, experts)
    tensors = model_tensors(facts, width, inside, tied=tied)
    mixes = [mix for mix in MIXES if mix != "Q1_0" or width % 128 == inside % 128 == 0]  # which llama.cpp refuses
    with log.off():
        expected = types_of_llama_cpp(facts, tensors, mixes)
    differing = {}
    for mix in mixes:
        chosen = choose_types(Choices(mix), tensors, facts, has_importance=mix in NEEDY)
        if chosen != expected[mix] and mix not in CHANGED_BY_IMPORTANCE:
            differing[mix] = {
                name: (chosen[name], kind) for name, kind in expected[mix].items() if chosen[name] != kind
            }
    assert differing == {}


# The library's function knows no importance matrix, so mixes that need one are asked for as if there were one; of them
# only IQ3_XXS then chooses otherwise. That is left to the dry runs below.
NEEDY = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S")
CHANGED_BY_IMPORTANCE = ("IQ3_XXS",)


# Whose rules ask for an importance matrix or for a model of 70B, and some whose rules don't.
DRY_RUN_MIXES = (
    "Q4_0", "Q5_0", "Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "IQ4_XS", "IQ4_NL", "IQ3_XXS",
)  # fmt: skip


def write_empty_model(path: Path, facts: ModelFacts, tensors: Sequence[Tensor]) -> None:
    """A file with all of a model's header and a hole for its weights."""
    metadata = {
        "block_count": facts.layer_count, "context_length": 512, "embedding_length": 512, "feed_forward_length": 512,
        "attention.head_count": facts.head_count, "attention.head_count_kv": facts.kv_head_count,
        "attention.layer_norm_rms_epsilon": 1e-5, "attention.layer_norm_epsilon": 1e-5, "vocab_size": 1000,
    }  # fmt: skip
    if facts.expert_count:
        metadata |= {"expert_count": facts.expert_count, "expert_used_count": 1}
    places, offset = [], 0
    for tensor in tensors:
        kind = TYPES[tensor.kept_type]
        places.append(PlacedTensor(tensor.name, tensor.shape, kind, offset))
        offset += -(-int(np.prod(tensor.shape)) * kind.block_bytes // 32) * 32
    keyed = {"general.architecture": facts.architecture} | {
        f"{facts.architecture}.{key}": value for key, value in metadata.items()
    }
    header = header_bytes(keyed, places)
    path.write_bytes(header)
    os.truncate(path, len(header) + offset)


def types_of_dry_run(path: Path, mix: str, tensors: Sequence[Tensor], *, has_importance: bool) -> dict[str, str]:
    options = lib.llama_model_quantize_default_params()
    options.ftype, options.dry_run, options.nthread = MIXES[mix], True, 1
    entry = lib.llama_model_imatrix_data
    entries = (entry * 2)(entry(b"none", None, 0), entry(None, None, 0))
    if has_importance:
        options.imatrix = ctypes.cast(entries, ctypes.POINTER(entry))
    lines: list[bytes] = []
    listen = lib.llama_log_callback(lambda level, text, data: lines.append(text))
    with log.off():
        lib.llama_log_set(listen, None)
        assert lib.llama_model_quantize(str(path).encode(), b"/dev/null", ctypes.byref(options)) == 0
    chosen = {tensor.name: tensor.kept_type for tensor in tensors}
    told = re.findall(r"^\[ *\d+/ *\d+\] (\S+) .* -> .*\((\w+)\)$", b"".join(lines).decode(), re.MULTILINE)
    return chosen | {name: kind.upper() for name, kind in told}


@pytest.mark.parametrize(
    "facts",
    [ModelFacts("llama", 80, 64, 64), ModelFacts("llama", 80, 64, 8), ModelFacts("qwen2", 80, 64, 8),
     ModelFacts("qwen2", 64, 40, 8), ModelFacts("olmo", 80, 16, 16), ModelFacts("jais2", 68, 16, 16),
     ModelFacts("llama", 32, 32, 8, 8), ModelFacts("falcon", 32, 64, 1)],
    ids=str,
)  # fmt: skip
def test_dry_runs_choose_the_same_with_and_without_an_importance_matrix(tmp_path, facts):
    tensors = model_tensors(facts, 512, 512, tied=False)
    write_empty_model(tmp_path / "empty.gguf", facts, tensors)
    for mix in DRY_RUN_MIXES:
        for has_importance in (False, True):
            if mix == "IQ3_XXS" and not has_importance:
                continue
            expected = types_of_dry_run(tmp_path / "empty.gguf", mix, tensors, has_importance=has_importance)
            assert set(expected.values()) != {"BF16", "F32"}
            assert choose_types(Choices(mix), tensors, facts, has_importance=has_importance) == expected, (
                mix,
                has_importance,
            )


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model's file, fetched once."""
    home = {**os.environ, "LLMASOS_HOME": str(tmp_path_factory.mktemp("real"))}
    subprocess.run(command("pull", "smollm2"), env=home, cwd=PROJECT, check=True, capture_output=True, timeout=300)
    shown = subprocess.run(command("show", "smollm2", "--json"), env=home, cwd=PROJECT, check=True, capture_output=True)
    return Path(json.loads(shown.stdout)["path"])


@pytest.fixture(scope="module")
def weights(smollm2: Path) -> dict[str, np.ndarray]:
    """Its weights as a checkpoint would have them: matrices in BF16, vectors in F32."""
    arrays = {}
    for tensor in gguf.GGUFReader(smollm2).tensors:
        array = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        arrays[tensor.name] = array.copy() if array.ndim < 2 else as_bfloat16(array)
    return arrays


def write_in_one_pass(path: Path, mix: str, weights: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    # llama-quantize puts these two last
    metadata = {**metadata, "general.quantization_version": 2, "general.file_type": MIXES[mix]}
    tensors = [Tensor(name, array.shape, "F32" if array.ndim < 2 else "BF16") for name, array in weights.items()]
    types = choose_types(Choices(mix), tensors, model_facts(metadata))
    jobs = [
        TensorJob(name, array.shape, types[name], lambda array=array: [array])  # type: ignore[misc]
        for name, array in weights.items()
    ]
    assert write_gguf(path, metadata, jobs, progress=Progress()) == [path]


def test_one_pass_gives_the_very_file_of_llama_cpps_two(tmp_path, smollm2, weights):
    last = ("general.quantization_version", "general.file_type")
    fields = gguf.GGUFReader(smollm2).fields
    metadata = {
        key: field.contents() for key, field in fields.items() if not key.startswith("GGUF.") and key not in last
    }
    plain = tmp_path / "bf16.gguf"
    write_in_one_pass(plain, "BF16", weights, metadata)
    for mix in ("Q8_0", "Q4_K_M", "Q5_K_S", "Q4_0", "IQ4_XS", "Q6_K", "Q3_K_M"):
        ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
        write_in_one_pass(ours, mix, weights, metadata)
        options = lib.llama_model_quantize_default_params()
        options.ftype, options.nthread = MIXES[mix], 2
        with log.off():
            assert lib.llama_model_quantize(str(plain).encode(), str(theirs).encode(), ctypes.byref(options)) == 0
        assert read_header(ours).tensors == read_header(theirs).tensors, mix
        assert ours.read_bytes() == theirs.read_bytes(), mix


@pytest.mark.parametrize("tensor_type", ["IQ1_M", "IQ2_S"])
def test_types_whose_tables_take_seconds_to_fill_are_encoded_too(tensor_type):
    rows = np.random.default_rng(7).standard_normal((6, 512), np.float32)
    decoded = gguf.quants.dequantize(encode(rows, tensor_type), gguf.GGMLQuantizationType[tensor_type])
    assert np.sqrt(np.mean((decoded - rows) ** 2)) < 0.6


class MemoryWatch(Progress):
    """Keeps the most memory that the process had of its own, mapped files left out; in kilobytes."""

    def __init__(self) -> None:
        self.most = self.now()

    def update(self, done: int) -> None:
        self.most = max(self.most, self.now())

    def now(self) -> int:
        status = Path("/proc/self/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
@pytest.mark.parametrize("make_view", [lambda mapped: mapped, lambda mapped: mapped.T], ids=["plain", "transposed"])
def test_a_large_mapped_tensor_takes_little_memory(tmp_path, make_view):
    source = tmp_path / "weights"
    source.touch()
    os.truncate(source, 8192 * 32768 * 2)  # half a gigabyte
    view = make_view(np.memmap(source, np.uint16, "r", shape=(8192, 32768)))
    watch = MemoryWatch()
    before = watch.most
    job = TensorJob("a", view.shape, "Q8_0", lambda: [view])
    write_gguf(tmp_path / "a.gguf", {"general.architecture": "llama"}, [job], progress=watch)
    assert watch.most - before < 120_000
