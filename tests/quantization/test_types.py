"""Names of types: how people may write them, and what they stand for."""

from __future__ import annotations

import pytest

from llmasos.errors import BadInputError
from llmasos.quantization.types import MAIN_TYPES, MIXES, TYPES, file_type, find_mix, main_type


@pytest.mark.parametrize("written", ["Q4_K_M", "q4_k_m", "q4-k-m", "Q4_K", "q4_k"])
def test_a_mix_is_known_however_it_is_written(written):
    assert find_mix(written) == "Q4_K_M"


@pytest.mark.parametrize(
    ("written", "hint"),
    [("Q4_KM", "Q4_K_M"), ("fp16", "F16"), ("Q9_0", "Q5_0"), ("nvfp4", "MXFP4_MOE"), ("int8", "types: F32, F16")],
)
def test_an_unknown_one_is_refused_with_names_like_it(written, hint):
    with pytest.raises(BadInputError, match=f"there is no type `{written}`") as refusal:
        find_mix(written)
    assert hint in str(refusal.value.hint)


def test_every_mix_has_a_main_type_and_every_exception_is_a_mix():
    assert {main_type(mix).name for mix in MIXES} <= set(TYPES)
    assert set(MIXES) >= set(MAIN_TYPES)


def test_a_mix_has_the_number_that_the_file_will_hold():
    assert (file_type("Q4_K_M"), file_type("BF16"), file_type("F32")) == (15, 32, 0)


def test_a_row_is_as_long_as_its_blocks():
    assert (TYPES["Q4_K"].row_bytes(512), TYPES["Q4_K"].divides(576), TYPES["Q5_0"].divides(576)) == (288, False, True)
