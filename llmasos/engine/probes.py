"""Inner tensors of a model's graph, read while a forward pass computes them.

llama.cpp asks about every tensor before it computes it, and shows those that are wanted as soon as they are there. What
a tensor is called, and whether there is one of a name at all, depends on the architecture: names are guesses.
"""

from __future__ import annotations

import ctypes
import difflib
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmasos.engine.bindings import lib, shared
from llmasos.engine.build import VERSION, install_command
from llmasos.errors import BadInputError, LlmasosError
from llmasos.formats.floats import Array

FLOAT, HALF = 0, 1  # ggml_type
DTYPES = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16, "i32": np.int32, "i64": np.int64}
MOST_DIMENSIONS, MOST_SOURCES, LONGEST_NAME, PARAMETER_WORDS = 4, 10, 64, 16  # of ggml.h


class _Tensor(ctypes.Structure):
    """ggml_tensor, up to and with its name, as ggml.h of the pinned build lays it out."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("lengths", ctypes.c_int64 * MOST_DIMENSIONS),
        ("strides", ctypes.c_size_t * MOST_DIMENSIONS),
        ("operation", ctypes.c_int),
        ("parameters", ctypes.c_int32 * PARAMETER_WORDS),
        ("flags", ctypes.c_int32),
        ("sources", ctypes.c_void_p * MOST_SOURCES),
        ("viewed", ctypes.c_void_p),
        ("view_offset", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * LONGEST_NAME),
    )


@dataclass(frozen=True, slots=True)
class InnerTensor:
    """A tensor of the graph. It lives, and may be read, only while a `Watcher` is called with it."""

    _address: int

    @property
    def name(self) -> str:
        """Such as `l_out-5` for what the layer 5 gives; that of a weight is the one in the model's file."""
        return str(self._fields.name.decode("utf-8", "replace"))

    @property
    def operation(self) -> str:
        """What makes it, such as `MUL_MAT`; `NONE` for weights."""
        return str(_functions().operation_name(self._fields.operation).decode())

    @property
    def type(self) -> str:
        """How its numbers are stored, in ggml's small letters: `f32`, `q4_K`."""
        return str(_functions().type_name(self._fields.type).decode())

    @property
    def shape(self) -> tuple[int, ...]:
        """All four lengths, the slowest-running dimension first, as in NumPy; tokens stand before widths."""
        return tuple(reversed(self._fields.lengths))

    @property
    def sources(self) -> tuple[InnerTensor, ...]:
        """What it is made of: for `MUL_MAT` the weight and the input, for `MUL_MAT_ID` the experts' numbers too."""
        return tuple(InnerTensor(address) for address in self._fields.sources if address)

    def read(self) -> Array:
        """A copy of its numbers in its `shape`, wherever they are computed; bfloat16 as `formats.floats` has it.

        Raises LlmasosError for a quantized tensor.
        """
        fields, kind = self._fields, DTYPES.get(self.type)
        if kind is None:
            raise LlmasosError(f"the inner tensor `{self.name}` is {self.type}, whose numbers can't be read")
        copied = np.empty(_functions().byte_count(self._address), np.uint8)
        if copied.size:
            _functions().read(self._address, copied.ctypes.data, 0, copied.nbytes)
        strides = tuple(reversed(fields.strides))
        return np.lib.stride_tricks.as_strided(copied.view(kind), self.shape, strides)

    @property
    def _fields(self) -> Any:
        return _Tensor.from_address(self._address)


Wanted = Callable[[InnerTensor], bool]  # asked before a tensor is computed: all but its numbers is known
Watcher = Callable[[InnerTensor], None]


class Probe:
    """Belongs to the context that is made with it. What is raised in its callbacks comes out of the pass.

    Each tensor that is wanted splits the pass at its place, and asking costs some milliseconds a pass.
    """

    def __init__(self, wanted: Wanted, watcher: Watcher) -> None:
        _require_known_layout()
        self._wanted, self._watcher = wanted, watcher
        self._failure: BaseException | None = None
        self._callback = lib.ggml_backend_sched_eval_callback(self._look)

    def attach(self, params: Any) -> None:
        """Puts itself into the parameters of a context that is about to be made."""
        params.cb_eval = self._callback

    def raise_failure(self) -> None:
        """Raises what a callback raised during the pass that has just ended."""
        failure, self._failure = self._failure, None
        if failure:
            raise failure

    def _look(self, address: int, is_question: bool, _: object) -> bool:
        if self._failure:
            return False
        try:
            if is_question:
                return self._wanted(InnerTensor(address))
            self._watcher(InnerTensor(address))
        except BaseException as error:  # ctypes would print it and go on
            self._failure = error
            return False
        return True


class NamedTensors:
    """Keeps the tensors of some names: give its `probe` to a context, make a pass, `take` what it gave."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._kept: dict[str, Array] = {}
        self._others: set[str] = set()
        self.probe = Probe(self._is_named, self._keep)

    def take(self) -> dict[str, Array]:
        """The tensors of the last pass by name, in the order asked for. A pass is at most one micro-batch (512 tokens).

        Rows that nobody needs may be missing: the last layer gives only those of tokens whose logits are wanted.
        Raises BadInputError, with names like them, for those that the graph doesn't have.
        """
        kept, self._kept = self._kept, {}
        if missing := [name for name in self._names if name not in kept]:
            raise BadInputError(
                f"this model has no inner tensor `{missing[0]}`"
                + (f", nor {_listed(missing[1:])}" * (len(missing) > 1)),
                hint=_near(missing[0], self._others),
            )
        return {name: kept[name] for name in self._names}

    def _is_named(self, tensor: InnerTensor) -> bool:
        self._others.add(tensor.name)
        return tensor.name in self._names

    def _keep(self, tensor: InnerTensor) -> None:
        self._kept[tensor.name] = tensor.read()


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _near(name: str, others: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(others), n=3, cutoff=0.5)
    return f"it has {_listed(near)}" if near else "names depend on the architecture"


@dataclass(frozen=True, slots=True)
class _Functions:
    """Functions of ggml that llama-cpp-python leaves unbound."""

    type_name: Any
    operation_name: Any
    byte_count: Any
    read: Any


@functools.cache
def _functions() -> _Functions:
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    return _Functions(
        _declared("ggml_type_name", [ctypes.c_int], ctypes.c_char_p),
        _declared("ggml_op_name", [ctypes.c_int], ctypes.c_char_p),
        _declared("ggml_nbytes", [pointer], size),
        _declared("ggml_backend_tensor_get", [pointer, pointer, size, size], None),
    )


def _declared(name: str, arguments: list[Any], result: Any) -> Any:
    function = getattr(shared, name)
    function.argtypes, function.restype = arguments, result
    return function


@functools.cache
def _require_known_layout() -> None:
    """Has ggml make two tensors and their product, and compares what stands in memory with what is known of them."""
    pointer, length = ctypes.c_void_p, ctypes.c_int64
    place = _declared("ggml_init", [_Place], pointer)(_Place(1 << 16, None, True))
    make = _declared("ggml_new_tensor_2d", [pointer, ctypes.c_int, length, length], pointer)
    multiply = _declared("ggml_mul_mat", [pointer] * 3, pointer)
    call = _declared("ggml_set_name", [pointer, ctypes.c_char_p], pointer)
    try:
        weight, inputs = make(place, HALF, 7, 3), make(place, FLOAT, 7, 5)
        is_known = _looks_like_product(call(multiply(place, weight, inputs), b"product"), weight, inputs)
    finally:
        _declared("ggml_free", [pointer], None)(place)
    if not is_known:
        raise LlmasosError(
            "the installed engine lays its tensors out in another way than llmasos knows; they can't be looked into",
            hint=f"llmasos works with llama-cpp-python {VERSION}: {install_command()}",
        )


def _looks_like_product(address: int, weight: int, inputs: int) -> bool:
    """No address is followed before it is known to be one of the two."""
    fields, made = _Tensor.from_address(address), InnerTensor(address)
    if (*fields.sources,) != (weight, inputs, *[None] * (MOST_SOURCES - 2)):
        return False
    shapes, types = [each.shape for each in made.sources], [each.type for each in made.sources]
    return (
        (made.name, made.operation, made.type, made.shape) == ("product", "MUL_MAT", "f32", (1, 1, 5, 3))
        and (shapes, types) == ([(1, 1, 3, 7), (1, 1, 5, 7)], ["f16", "f32"])
        and (*fields.strides,) == (4, 12, 60, 60)
        and not (fields.viewed or fields.view_offset or fields.data or fields.buffer)
    )


class _Place(ctypes.Structure):
    """ggml_init_params: where tensors are made."""

    _fields_ = (("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("without_data", ctypes.c_bool))
