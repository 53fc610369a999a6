"""Models from the Hugging Face hub: one quantization of a GGUF repository, or a checkpoint in safetensors.

huggingface_hub gives the address, the login, the connection and the errors; the files are fetched by `download`, from
the commit that was listed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import huggingface_hub  # loads its parts when they are first used
from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from llmasos.errors import AccessDeniedError, BadInputError, LlmasosError, ModelNotFoundError, NetworkError
from llmasos.sources.checkpoints import choose_checkpoint_files
from llmasos.sources.download import (
    AGENT,
    CONNECT_SECONDS,
    HURRIED_CONNECT_SECONDS,
    READ_SECONDS,
    TEMPORARY,
    RetryError,
    asked_wait,
    download,
    keep_asking,
    make_client,
    network_trouble,
)
from llmasos.sources.other_tools import take_from_other_tools
from llmasos.sources.quantizations import find_variants, pick_variant
from llmasos.sources.source import Advance, Fetched, Listing, RemoteFile, checked_file_name
from llmasos.store.blobs import DIGEST
from llmasos.store.references import Reference


class HuggingFaceSource:
    def __init__(self, *, hurried: bool = False) -> None:
        self._hurried = hurried

    def list_files(self, reference: Reference) -> Listing:
        """`reference.quantization` picks among GGUF files; without one the usual best is taken."""
        answer = keep_asking(lambda: self._ask(reference), _endpoint())
        try:
            commit = str(answer["sha"])
            siblings = {checked_file_name(file["rfilename"]): file for file in answer["siblings"]}
            label, role, names = _choose(list(siblings), reference)
            headers, folder = _authorization(), f"{_endpoint()}/{quote(answer['id'])}/resolve/{quote(commit)}"
            files = tuple(_remote(role, siblings[name], folder, headers) for name in names)
            license = _license(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInputError(
                f"{_endpoint()} describes {reference.target} in a way that is not understood"
            ) from error
        source = f"hf:{reference.target}{f':{label}' if label else ''}@{commit}"
        return Listing(source, files, license, (role == "checkpoint" and reference.quantization) or "auto")

    def fetch(self, file: RemoteFile, incoming: Path, advance: Advance) -> Fetched:
        if present := take_from_other_tools(file, advance):
            return present
        try:
            with make_client(hurried=self._hurried) as client:
                return download(file, incoming, advance, client)
        except AccessDeniedError as error:  # the list of a gated repository is open, its files are not
            raise _gated(file.location.removeprefix(f"{_endpoint()}/").partition("/resolve/")[0]) from error

    def _ask(self, reference: Reference) -> Mapping[str, Any]:
        """What the hub says of a repository at a revision, with sizes and digests of its files."""
        revision = f"/revision/{quote(reference.revision, safe='')}" if reference.revision else ""
        connect = HURRIED_CONNECT_SECONDS if self._hurried else CONNECT_SECONDS
        try:
            # Not HfApi.model_info: that first asks the hub which AI agents there are, to tell it which one runs this.
            response = huggingface_hub.get_session().get(
                f"{_endpoint()}/api/models/{reference.target}{revision}",
                params={"blobs": True},
                headers={"User-Agent": AGENT, **_authorization()},
                timeout=httpx2.Timeout(READ_SECONDS, connect=connect),
            )
            huggingface_hub.hf_raise_for_status(response)
            answer: Mapping[str, Any] = response.json()
            return answer
        except HfHubHTTPError as error:
            raise _translated(error, reference) from error
        except OfflineModeIsEnabled as error:
            raise NetworkError("the network is off limits", hint="unset HF_HUB_OFFLINE") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise network_trouble(error, _endpoint()) from error
        except ValueError as error:
            raise RetryError("the answer is no JSON") from error


def _endpoint() -> str:
    """`HF_ENDPOINT` as it is now: huggingface_hub reads it only while it is imported."""
    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def _authorization() -> dict[str, str]:
    """`HF_TOKEN`, or what `hf auth login` saved."""
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return {}
    token = huggingface_hub.get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _choose(names: list[str], reference: Reference) -> tuple[str | None, str, list[str]]:
    """The label for the source's text, the role and the names of the files that a reference means."""
    where = f"hf:{reference.target}"
    if variants := find_variants(names):
        label = pick_variant(variants, reference.quantization, where)
        return reference.quantization or label, "weights", list(variants[label])
    return reference.quantization, "checkpoint", choose_checkpoint_files(names, where)


def _remote(role: str, sibling: Mapping[str, Any], folder: str, headers: Mapping[str, str]) -> RemoteFile:
    """A file of the hub; those that git holds itself have no sha256."""
    name = sibling["rfilename"]
    digest = f"sha256:{(sibling.get('lfs') or {}).get('sha256')}"
    return RemoteFile(
        role,
        name,
        f"{folder}/{quote(name)}",
        size=int(sibling["size"]) if sibling.get("size") is not None else None,
        digest=digest if DIGEST.fullmatch(digest) else None,
        headers=headers,
    )


def _license(answer: Mapping[str, Any]) -> str | None:
    """From the model's card, else from the tags that the hub makes of it."""
    stated = (answer.get("cardData") or {}).get("license")
    if isinstance(stated, str):
        return stated
    tags = [tag for tag in answer.get("tags") or [] if isinstance(tag, str)]
    return next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None)


def _translated(error: HfHubHTTPError, reference: Reference) -> LlmasosError | RetryError:
    """huggingface_hub's error as one of ours."""
    status, where = error.response.status_code, f"hf:{reference.target}"
    if isinstance(error, GatedRepoError):
        return _gated(reference.target)
    if isinstance(error, RevisionNotFoundError):
        message = f"{where} has no revision `{reference.revision}`"
        return ModelNotFoundError(
            reference.text, message=message, hint=f"see {_endpoint()}/{reference.target}/tree/main"
        )
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return ModelNotFoundError(
            reference.text,
            message=f"there is no repository {reference.target} at {_endpoint()}, or it is private",
            hint="check the spelling; for a private one set HF_TOKEN, or log in with `hf auth login`",
        )
    if isinstance(error, DisabledRepoError):
        return AccessDeniedError(f"{where} was disabled by its owner or the hub")
    if status in TEMPORARY:
        return RetryError(f"the server answers {status}", asked_wait(error.response))
    if status == 401:
        return AccessDeniedError(
            f"{_endpoint()} does not accept your token", hint="renew HF_TOKEN, or log in again with `hf auth login`"
        )
    if status == 403:
        return AccessDeniedError(f"your token may not read {where}", hint="give it the right to read this repository")
    return LlmasosError(f"{_endpoint()} answers {status} for {reference.target}")


def _gated(repository: str) -> AccessDeniedError:
    return AccessDeniedError(
        f"access to hf:{repository} is for those who accepted its licence",
        hint=f"accept it on {_endpoint()}/{repository}, then set HF_TOKEN or log in with `hf auth login`",
    )
