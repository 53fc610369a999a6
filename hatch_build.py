"""The package's build hook: compiles `kernels/` into the wheel, one wheel a platform for every Python.

Without a C compiler the wheel is pure: everything works, through ggml and NumPy.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags


class KernelsHook(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """`version` is the wheel's kind: an editable one finds the library in the tree, as it does the modules."""
        build = _compiling(Path(self.root))
        if version == "editable":
            build.main()
            return
        self.folder = tempfile.TemporaryDirectory()
        library = Path(self.folder.name) / build.NAME
        if problem := build.compile_library(library):
            self.app.display_warning(f"the kernels are left out: {problem}")
            return
        build_data["force_include"][str(library)] = f"llmasos/{build.NAME}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


def _compiling(root: Path) -> ModuleType:
    """kernels/build.py, which the Makefile uses too."""
    found = importlib.util.spec_from_file_location("build_kernels", root / "kernels" / "build.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _platform() -> str:
    """This platform's tag; not manylinux's or musllinux's, which promise that older systems will do as well."""
    return next(tag for tag in platform_tags() if not tag.startswith(("manylinux", "musllinux")))
