"""The door to the kernels: which are used, what is done without them, and that nobody notices but by the clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from doubles.blocks import needs_kernels
from llmasos import kernels, native
from llmasos.errors import UsageError
from llmasos.quantization.types import TYPES


@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="there is no C compiler here")
def test_where_there_is_a_compiler_there_are_kernels():
    assert kernels.available_levels() != []


@needs_kernels
def test_the_best_kernels_of_this_machine_are_used():
    assert kernels.level() == kernels.available_levels()[-1] > 0


@needs_kernels
def test_a_machine_has_the_lower_kernels_of_its_family_too():
    assert kernels.available_levels() in ([1], [1, 2], [1, 2, 3], [kernels.ARM_LEVEL])


@needs_kernels
@pytest.mark.parametrize("chosen", kernels.available_levels(), ids=kernels.LEVELS.__getitem__)
def test_the_environment_chooses_other_kernels(monkeypatch, chosen):
    monkeypatch.setenv("LLMASOS_KERNELS", kernels.LEVELS[chosen])
    assert kernels.level() == chosen


def test_the_environment_forbids_kernels(monkeypatch):
    monkeypatch.setenv("LLMASOS_KERNELS", "none")
    assert kernels.level() == 0
    assert not native.quantizes(TYPES["Q4_K"].type_id)


@pytest.mark.parametrize("chosen", ["fastest", "AVX2", "2"])
def test_kernels_that_there_are_not_are_refused(monkeypatch, chosen):
    monkeypatch.setenv("LLMASOS_KERNELS", chosen)
    with pytest.raises(UsageError, match=f"LLMASOS_KERNELS={chosen} is none of this machine's kernels") as raised:
        kernels.level()
    assert "none" in str(raised.value.hint)


@needs_kernels
def test_kernels_of_another_family_are_refused(monkeypatch):
    foreign = {"neon", "avx2"} - {kernels.LEVELS[each] for each in kernels.available_levels()}
    monkeypatch.setenv("LLMASOS_KERNELS", foreign.pop())
    with pytest.raises(UsageError):
        kernels.level()


@needs_kernels
def test_the_kernels_know_their_types():
    made = {name for name, each in TYPES.items() if native.quantizes(each.type_id)}
    assert made == {"Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K"}


@needs_kernels
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tensor_type", ["Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K"])
@pytest.mark.parametrize("place", [0, 31, 300, 1023])
def test_no_block_that_holds_what_is_no_number_is_passed_over(tensor_type, value, place):
    rows = np.random.default_rng(5).standard_normal((2, 1024), np.float32)
    target = np.empty((2, TYPES[tensor_type].row_bytes(1024)), np.uint8)
    assert native.quantize(TYPES[tensor_type].type_id, rows, target) == 0
    rows[1, place] = value
    assert native.quantize(TYPES[tensor_type].type_id, rows, target) > 0


def test_without_the_library_everything_is_there(tmp_path):
    """A package of Python files alone, as it is built where there is no compiler."""
    package = tmp_path / "llmasos"
    package.mkdir()
    for entry in Path(native.__file__).parent.iterdir():
        if not entry.name.startswith(("_kernels", "__pycache__")):
            (package / entry.name).symlink_to(entry)
    program = (
        "import numpy as np\n"
        "from llmasos import kernels, native\n"
        "from llmasos.quantization.encode import encode\n"
        "rows = np.ones((2, 256), np.float32)\n"
        "print(kernels.level(), kernels.available_levels(), native.log_sum_exp(rows)[1], encode(rows, 'Q4_K').shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["0", "[]", str(1 + np.log(256)), "(2,", "144)"]
