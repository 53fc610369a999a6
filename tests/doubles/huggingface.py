"""The Hugging Face hub's side of the stand-in hub: repositories, revisions, who may read them, and their addresses.

Answers as huggingface.co does where huggingface_hub 2.4.0 looks: status codes, `X-*` headers and fields of the JSON.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote

from .answers import Answer, file_answer, json_answer, redirect
from .content import Content, content_of

# What .gitattributes of a new repository sends to LFS; other files go there when they are large.
LFS_SUFFIXES = (".bin", ".gguf", ".h5", ".model", ".msgpack", ".npz", ".onnx", ".pt", ".pth", ".safetensors", ".zip")
LFS_SIZE = 10 * 1024 * 1024

_NAME = r"(?P<name>[^/]+(?:/[^/]+)?)"
_API = re.compile(rf"/api/models/{_NAME}(?:/(?P<view>revision|tree)/(?P<revision>[^/]+)(?:/(?P<path>.+))?)?")
_RESOLVE = re.compile(rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass(frozen=True, slots=True)
class Commit:
    sha: str
    files: Mapping[str, Content]


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """`private_token` makes it private, `gated` shows its list to all and its files to `granted_token` only."""

    name: str
    commits: Mapping[str, Commit]  # by branch, tag and sha
    license: str | None
    private_token: str | None
    gated: bool
    granted_token: str | None
    tags: tuple[str, ...]
    gguf: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class _Asked:
    repository: Repository
    revision: str
    path: str
    token: str | None

    @property
    def commit(self) -> Commit:
        commit = self.repository.commits.get(self.revision)
        if commit is None:
            raise _RefusalError(404, "RevisionNotFound", f"Invalid rev id: {self.revision}")
        return commit


class _RefusalError(Exception):
    def __init__(self, status: int, code: str | None, message: str, **headers: str) -> None:
        code_header = {} if code is None else {"X_Error_Code": code}
        self.answer = json_answer(status, {"error": message}, X_Error_Message=message, **code_header, **headers)


@dataclass(slots=True)
class HuggingFace:
    cdn_url: Callable[[Content, str], str]  # where a content can be had, under a file's name
    repositories: dict[str, Repository] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)  # of people, whatever they may read

    def add(self, repository: Repository) -> None:
        """Adds a repository, or new commits to one; the old ones can still be reached by their sha."""
        earlier = self.repositories.get(repository.name)
        kept = {} if earlier is None else earlier.commits
        self.repositories[repository.name] = replace(repository, commits={**kept, **repository.commits})
        self.tokens |= {token for token in (repository.private_token, repository.granted_token) if token is not None}

    def answer(self, path: str, query: str, token: str | None) -> Answer:
        matched = _API.fullmatch(path) or _RESOLVE.fullmatch(path)
        if matched is None:
            return json_answer(404, {"error": "Sorry, we can't find the page you are looking for."})
        name = unquote(matched["name"])
        if name in self.aliases:
            return _redirect_to_alias(self.aliases[name], matched, query)
        try:
            self._check_token(token)
            revision, path_in_repository = matched["revision"] or "main", matched["path"] or ""
            asked = _Asked(self._readable(name, token), unquote(revision), unquote(path_in_repository), token)
            if matched.re is _RESOLVE:
                return self._resolve(asked)
            return _tree(asked, parse_qs(query)) if matched["view"] == "tree" else _model(asked, parse_qs(query))
        except _RefusalError as refusal:
            return refusal.answer

    def _check_token(self, token: str | None) -> None:
        if token is not None and token not in self.tokens:
            raise _RefusalError(401, None, "Invalid credentials in Authorization header")

    def _readable(self, name: str, token: str | None) -> Repository:
        repository = self.repositories.get(name)
        if repository is not None and repository.private_token in (None, token):
            return repository
        if token is None:  # the hub does not tell strangers what exists
            raise _RefusalError(401, "RepoNotFound", "Invalid username or password.")
        raise _RefusalError(404, "RepoNotFound", "Repository not found")

    def _resolve(self, asked: _Asked) -> Answer:
        commit = asked.commit
        _check_gate(asked.repository, asked.token)
        content = commit.files.get(asked.path)
        if content is None:
            raise _RefusalError(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit.sha)
        if not is_lfs(asked.path, content):
            return file_answer(content, content.git_blob, X_Repo_Commit=commit.sha)
        linked = {"X_Linked_Size": str(content.size), "X_Linked_ETag": f'"{content.sha256}"'}
        return redirect(
            302, self.cdn_url(content, asked.path), X_Repo_Commit=commit.sha, Accept_Ranges="bytes", **linked
        )


def commit_of(files: Mapping[str, Content]) -> Commit:
    names = "".join(f"{name}\0{content.sha256}\n" for name, content in sorted(files.items()))
    return Commit(hashlib.sha1(names.encode()).hexdigest(), files)


def is_lfs(path: str, content: Content) -> bool:
    return PurePosixPath(path).suffix in LFS_SUFFIXES or content.size > LFS_SIZE


def _redirect_to_alias(target: str, matched: re.Match[str], query: str) -> Answer:
    """Relative and temporary, as the hub answers for a repository that was renamed."""
    start, stop = matched.span("name")
    return redirect(307, matched.string[:start] + target + matched.string[stop:] + (f"?{query}" if query else ""))


def _check_gate(repository: Repository, token: str | None) -> None:
    if not repository.gated or (token is not None and token == repository.granted_token):
        return
    message = f"Access to model {repository.name} is restricted"
    if token is None:
        raise _RefusalError(401, "GatedRepo", f"{message}. You must be authenticated to access it. Please log in.")
    raise _RefusalError(403, "GatedRepo", f"{message} and you are not in the authorized list.")


def _model(asked: _Asked, query: Mapping[str, list[str]]) -> Answer:
    repository, commit = asked.repository, asked.commit
    licenses = [f"license:{repository.license}"] if repository.license else []
    return json_answer(
        200,
        {
            "id": repository.name,
            "modelId": repository.name,
            "author": repository.name.split("/")[0],
            "sha": commit.sha,
            "private": repository.private_token is not None,
            "gated": "manual" if repository.gated else False,
            "disabled": False,
            "tags": [*repository.tags, *licenses],
            "cardData": {"license": repository.license, "tags": list(repository.tags)},
            "siblings": [_sibling(path, content, _is_true(query, "blobs")) for path, content in commit.files.items()],
            **({} if repository.gguf is None else {"gguf": dict(repository.gguf)}),
        },
    )


def _sibling(path: str, content: Content, with_blobs: bool) -> dict[str, object]:
    if not with_blobs:
        return {"rfilename": path}
    sibling = {"rfilename": path, "size": content.size, "blobId": _git_name(path, content)}
    return sibling | ({"lfs": _lfs("sha256", content)} if is_lfs(path, content) else {})


def _tree(asked: _Asked, query: Mapping[str, list[str]]) -> Answer:
    inside = f"{asked.path}/" if asked.path else ""
    files = {path: content for path, content in asked.commit.files.items() if path.startswith(inside)}
    if not files:
        raise _RefusalError(404, "EntryNotFound", f"{asked.path} does not exist on {asked.revision!r}")
    folders = {
        str(folder) for path in files for folder in PurePosixPath(path).parents if len(str(folder)) > len(inside)
    }
    entries = [*map(_folder_entry, sorted(folders - {"."})), *(_file_entry(*item) for item in files.items())]
    deep = _is_true(query, "recursive")
    return json_answer(200, [entry for entry in entries if deep or "/" not in str(entry["path"])[len(inside) :]])


def _folder_entry(path: str) -> dict[str, object]:
    return {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}


def _file_entry(path: str, content: Content) -> dict[str, object]:
    entry = {"type": "file", "oid": _git_name(path, content), "size": content.size, "path": path}
    return entry | ({"lfs": _lfs("oid", content)} if is_lfs(path, content) else {})


def _lfs(digest_name: str, content: Content) -> dict[str, object]:
    return {digest_name: content.sha256, "size": content.size, "pointerSize": len(_pointer(content))}


def _git_name(path: str, content: Content) -> str:
    return content_of(_pointer(content)).git_blob if is_lfs(path, content) else content.git_blob


def _pointer(content: Content) -> bytes:
    """The text that git holds in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{content.sha256}\nsize {content.size}\n".encode()


def _is_true(query: Mapping[str, list[str]], name: str) -> bool:
    return query.get(name, [""])[0].lower() in ("1", "true")
