"""The one door to llama.cpp: the ctypes module of llama-cpp-python, its log, and what it leaves unbound.

Only this module imports `llama_cpp`. Everything of it is typed `Any`: the bindings' own annotations describe C types
that their callers never see.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import importlib
import importlib.util
import os
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from typing import Any

from llmasos.engine.background import do_nothing, in_thread
from llmasos.engine.build import install_command
from llmasos.errors import LlmasosError

INFO, ERROR, CONTINUED = 2, 4, 5  # ggml_log_level
KEPT_LOG_LINES = 40


def _import_bindings() -> Any:
    """The module `llama_cpp.llama_cpp`, without its package's `__init__`.

    That `__init__` loads NumPy, Jinja and a chat layer that is not used here: 0.2 s. While the submodule is imported an
    empty package stands in for it; afterwards `import llama_cpp` gives the real one, around the same library.
    """
    if "llama_cpp" in sys.modules:
        return importlib.import_module("llama_cpp.llama_cpp")
    found = importlib.util.find_spec("llama_cpp")
    if found is None or found.submodule_search_locations is None:
        raise LlmasosError("the engine llama-cpp-python is not installed", hint=install_command())
    package = types.ModuleType("llama_cpp")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["llama_cpp"] = package
    try:
        return importlib.import_module("llama_cpp.llama_cpp")
    except (OSError, RuntimeError, AttributeError) as error:
        raise LlmasosError(
            f"the engine can't be loaded: {error}", hint=f"build it anew: {install_command()}"
        ) from error
    finally:
        del sys.modules["llama_cpp"]


# An assertion inside ggml starts a debugger for a backtrace unless told not to.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")
lib: Any = _import_bindings()
shared: Any = lib._lib  # every symbol of ggml is found through it, bound or not


class EngineLog:
    """llama.cpp's log: kept in short for error messages, shown on standard error only if asked for."""

    def __init__(self) -> None:
        self.is_shown = False
        self._lines: collections.deque[str] = collections.deque(maxlen=KEPT_LOG_LINES)
        self._level = 0
        self._callback = lib.llama_log_callback(self._receive)
        self._nobody = lib.llama_log_callback(ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p).value)
        lib.llama_log_set(self._callback, None)

    def last_errors(self) -> str:
        """The newest lines that explain a failure, as one line; empty if there are none."""
        reasons = (text for text in self._lines if not text.endswith("failed to load model"))
        return "; ".join(text.rsplit("error loading model: ", 1)[-1] for text in reasons)[-400:]

    def clear(self) -> None:
        self._lines.clear()

    def tell(self, line: str) -> None:
        """Adds a line of our own."""
        if self.is_shown:
            sys.stderr.write(f"{line}\n")

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """Gives the log to a C function that does nothing with it, unless it is shown."""
        if self.is_shown:
            yield
            return
        lib.llama_log_set(self._nobody, None)
        try:
            yield
        finally:
            lib.llama_log_set(self._callback, None)

    def _receive(self, level: int, text: bytes, _: object) -> None:
        self._level = self._level if level == CONTINUED else level
        if self.is_shown and self._level >= INFO:
            sys.stderr.write(text.decode("utf-8", "replace"))
        if self._level == ERROR and (line := text.decode("utf-8", "replace").strip()):
            self._lines.append(line)


log = EngineLog()
lib.llama_backend_init()


@contextlib.contextmanager
def captured_complaints() -> Iterator[list[str]]:
    """Collects what C code writes to standard error past the log, such as a grammar's syntax errors.

    The list is filled when the block ends. Other threads' complaints in that moment end up there too.
    """
    complaints: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as collected:
        os.dup2(collected.fileno(), 2)
        try:
            yield complaints
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            collected.seek(0)
            complaints += collected.read().decode("utf-8", "replace").split("\n")


def make_quietly(
    make: Callable[[], Any],
    on_interrupt: Callable[[], None] = do_nothing,
    meanwhile: Callable[[], None] = do_nothing,
) -> Any:
    """What `make` gives, a model or a context, made in a thread; NULL if it can't be made, with the reason in `log`.

    The log is off at first: its thousand lines would each wait for the interpreter. A failure is repeated with it.
    """
    log.clear()
    with log.off():
        handle = in_thread(make, on_interrupt, meanwhile)
    return handle or in_thread(make, on_interrupt)


class Flag:
    """A flag that C code polls through `strlen` of a buffer, which is 0 until its first byte is set.

    llama.cpp asks such callbacks before every operation, a thousand times a token: Python there would cost a fifth of
    the time, and would have to wait for the interpreter. Set and cleared from any thread.
    """

    _strlen = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p).value

    def __init__(self, *, is_set: bool = False) -> None:
        self._buffer = ctypes.create_string_buffer(2)
        self.data = ctypes.cast(self._buffer, ctypes.c_void_p)
        if is_set:
            self.set()

    def set(self) -> None:
        self._buffer[0] = b"\x01"

    def clear(self) -> None:
        self._buffer[0] = b"\x00"

    def abort_callback(self) -> Any:
        """`bool(void *)`: true, which aborts, while the flag is set."""
        return lib.ggml_abort_callback(self._strlen)

    def progress_callback(self) -> Any:
        """`bool(float, void *)`: true, which goes on, while the flag is set.

        The float travels in a register of its own (x86-64, ARM64), so the pointer is strlen's first argument here too.
        """
        return lib.llama_progress_callback(self._strlen)


def _declare_devices() -> None:
    pointer = ctypes.c_void_p
    declarations = {
        "ggml_backend_dev_count": ([], ctypes.c_size_t),
        "ggml_backend_dev_get": ([ctypes.c_size_t], pointer),
        "ggml_backend_dev_name": ([pointer], ctypes.c_char_p),
        "ggml_backend_dev_description": ([pointer], ctypes.c_char_p),
        "ggml_backend_dev_type": ([pointer], ctypes.c_int),
        "ggml_backend_dev_memory": ([pointer, pointer, pointer], None),
    }
    for name, (arguments, result) in declarations.items():
        function = getattr(shared, name)
        function.argtypes, function.restype = arguments, result


_declare_devices()
