"""The packages as users get them: kernels inside where a compiler is, without them where none is, and all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from conftest import PROJECT

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

LIBRARY = "llmasos/_kernels.dylib" if sys.platform == "darwin" else "llmasos/_kernels.so"
DATA = (
    "llmasos/tasks/builtin/translate.toml",
    "llmasos/store/catalogue.toml",
    "llmasos/quantization/calibration.txt",
)
PROGRAM = """
import numpy as np
from llmasos import kernels, native
from llmasos.quantization.encode import encode
print(native.__file__)
print(kernels.level())
print(encode(np.linspace(-1, 1, 512, dtype=np.float32).reshape(2, 256), "Q4_K").tobytes().hex())
"""


def built(folder: Path, source: Path, *targets: str, compiler: str = "cc") -> list[Path]:
    """Packages of the project in `source`, without the network: the build back end is called itself."""
    wanted = [word for target in targets for word in ("-t", target)]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *wanted], cwd=source, check=True,
        env=os.environ | {"CC": compiler}, capture_output=True,
    )  # fmt: skip
    return sorted(folder.iterdir())


def installed(wheel: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    """An environment with the wheel alone, its dependencies lent from here, and no compiler to be found."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", packages, str(wheel)], check=True)
    lent = Path(packages) / "lent.pth"
    lent.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin" / "python", {"PATH": str(folder / "bin"), "HOME": str(folder)}


def run(wheel: Path, folder: Path) -> tuple[Path, int, str]:
    """Where the door's module lies, the level of its kernels, and what they make of some weights."""
    python, environment = installed(wheel, folder)
    done = subprocess.run(
        [python, "-c", PROGRAM], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    place, level, encoded = done.stdout.split()
    return Path(place), int(level), encoded


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = built(tmp_path_factory.mktemp("packages"), PROJECT, "wheel", "sdist")
    return {"".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix: path for path in found}


@pytest.fixture(scope="module")
def pure_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (wheel,) = built(tmp_path_factory.mktemp("pure"), PROJECT, "wheel", compiler="/bin/false")
    return wheel


def test_a_wheel_is_for_one_platform_and_every_python(packages):
    name = packages[".whl"].name
    assert "-py3-none-" in name
    assert "none-any" not in name and "many" not in name
    assert LIBRARY in zipfile.ZipFile(packages[".whl"]).namelist()


def test_a_wheel_brings_the_manual_and_the_completions_to_where_they_are_looked_for(packages, tmp_path):
    names = zipfile.ZipFile(packages[".whl"]).namelist()
    shared = {name.partition(".data/data/")[2] for name in names if ".data/data/" in name}
    assert shared == {
        "share/man/man1/llmasos.1",
        "share/bash-completion/completions/llmasos",
        "share/zsh/site-functions/_llmasos",
        "share/fish/vendor_completions.d/llmasos.fish",
    }
    assert set(DATA) <= set(names)


def test_an_installed_wheel_has_kernels_without_a_compiler(packages, tmp_path):
    place, level, _ = run(packages[".whl"], tmp_path / "environment")
    assert place.is_relative_to(tmp_path)
    assert level > 0


def test_without_a_compiler_a_pure_wheel_is_built_that_makes_the_same(packages, pure_wheel, tmp_path):
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    assert LIBRARY not in zipfile.ZipFile(pure_wheel).namelist()
    _, level, encoded = run(pure_wheel, tmp_path / "pure")
    assert level == 0
    assert encoded == run(packages[".whl"], tmp_path / "compiled")[2]


def test_a_wheel_is_built_from_the_source_distribution(packages, tmp_path):
    with tarfile.open(packages[".tar.gz"]) as archive:
        assert not [name for name in archive.getnames() if name.endswith((".so", ".dylib"))]
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (source,) = tmp_path.iterdir()
    (wheel,) = built(tmp_path / "wheels", source, "wheel")
    assert wheel.name == packages[".whl"].name
    assert LIBRARY in zipfile.ZipFile(wheel).namelist()
