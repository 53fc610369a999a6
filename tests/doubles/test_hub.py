"""The stand-in hub against the real Hugging Face client, and as the Ollama registry; starting and closing it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep

import httpx2
import pytest
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from doubles.hub import Fault, StandInHub

WEIGHTS = bytes(range(256)) * 1000
README = b"# A model\n"
NAME = "org/tiny-GGUF"
GGUF = "tiny-Q4_K_M.gguf"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wait_for_requests(hub: StandInHub, count: int) -> None:
    deadline = monotonic() + 5
    while len(hub.requests) < count and monotonic() < deadline:
        sleep(0.01)


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with StandInHub() as hub:
        hub.add_huggingface(NAME, {GGUF: WEIGHTS, "README.md": README}, license="apache-2.0")
        yield hub


@pytest.fixture
def api(hub: StandInHub) -> HfApi:
    return HfApi(endpoint=hub.url, token=False)


# The Hugging Face hub, seen by its own client.


def test_a_model_lists_its_files_with_sizes_and_digests(hub: StandInHub, api: HfApi) -> None:
    model = api.model_info(NAME, files_metadata=True)
    assert (model.id, model.private, model.gated, model.tags) == (NAME, False, False, ["license:apache-2.0"])
    assert model.card_data is not None
    assert model.card_data.license == "apache-2.0"
    readme, weights = sorted(model.siblings or [], key=lambda sibling: sibling.rfilename)
    assert (readme.rfilename, readme.size, readme.lfs) == ("README.md", len(README), None)
    assert (weights.rfilename, weights.size) == (GGUF, len(WEIGHTS))
    assert weights.lfs == {"size": len(WEIGHTS), "sha256": sha256(WEIGHTS), "pointer_size": 131}
    assert hub.requests[-1].query == "blobs=true"


def test_without_metadata_a_model_lists_names_only(api: HfApi) -> None:
    model = api.model_info(NAME)
    assert [(each.rfilename, each.size, each.lfs) for each in model.siblings or []] == [
        ("README.md", None, None),
        (GGUF, None, None),
    ]


def test_a_model_shows_its_gguf_header_and_tags(hub: StandInHub, api: HfApi) -> None:
    hub.add_huggingface("org/other", {GGUF: WEIGHTS}, tags=["gguf"], gguf={"architecture": "llama"})
    assert api.model_info("org/other").gguf == {"architecture": "llama"}
    assert api.model_info("org/other").tags == ["gguf"]


def test_a_tree_is_listed_with_and_without_what_is_in_folders(hub: StandInHub, api: HfApi) -> None:
    hub.add_huggingface("org/folders", {"a.txt": b"a", "onnx/int8/model.onnx": WEIGHTS})
    assert [each.path for each in api.list_repo_tree("org/folders")] == ["onnx", "a.txt"]
    assert [each.path for each in api.list_repo_tree("org/folders", "onnx")] == ["onnx/int8"]
    everything = list(api.list_repo_tree("org/folders", recursive=True))
    assert [each.path for each in everything] == ["onnx", "onnx/int8", "a.txt", "onnx/int8/model.onnx"]
    weights = everything[-1]
    assert isinstance(weights, RepoFile)
    assert weights.lfs == {"size": len(WEIGHTS), "sha256": sha256(WEIGHTS), "pointer_size": 131}


def test_git_blobs_are_named_as_git_names_them(api: HfApi, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(README)
    printed = subprocess.run(["git", "hash-object", tmp_path / "README.md"], capture_output=True, text=True, check=True)
    siblings = api.model_info(NAME, files_metadata=True).siblings or []
    assert printed.stdout.strip() in [sibling.blob_id for sibling in siblings]


def test_metadata_of_a_large_file_points_to_the_cdn(hub: StandInHub, api: HfApi) -> None:
    metadata = get_hf_file_metadata(hf_hub_url(NAME, GGUF, endpoint=hub.url), token=False)
    assert (metadata.etag, metadata.size) == (sha256(WEIGHTS), len(WEIGHTS))
    assert metadata.commit_hash == api.model_info(NAME).sha
    assert metadata.location == f"{hub.cdn_url}/cdn/{sha256(WEIGHTS)}?filename={GGUF}"
    assert metadata.xet_file_data is None


def test_metadata_of_a_small_file_is_its_own(hub: StandInHub) -> None:
    url = hf_hub_url(NAME, "README.md", endpoint=hub.url)
    metadata = get_hf_file_metadata(url, token=False)
    assert (metadata.size, metadata.location) == (len(README), url)
    assert metadata.etag == hashlib.sha1(b"blob %d\0%b" % (len(README), README)).hexdigest()


def test_files_are_downloaded_whole(hub: StandInHub, tmp_path: Path) -> None:
    weights, readme = (
        hf_hub_download(NAME, name, endpoint=hub.url, cache_dir=tmp_path, token=False) for name in (GGUF, "README.md")
    )
    assert Path(weights).read_bytes() == WEIGHTS
    assert Path(readme).read_bytes() == README
    assert hub.sent_bytes(GGUF) == hub.sent_bytes(sha256(WEIGHTS)) == len(WEIGHTS)


def test_the_client_resumes_after_a_drop(hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client's second before it tries again
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)  # it keeps whole chunks only
    hub.fault("/cdn/", Fault(drop_after=100_000))
    weights = hf_hub_download(NAME, GGUF, endpoint=hub.url, cache_dir=tmp_path, token=False)
    assert Path(weights).read_bytes() == WEIGHTS
    assert [request.range for request in hub.requests if "/cdn/" in request.path] == [None, "bytes=100000-"]
    assert hub.sent_bytes(GGUF) == len(WEIGHTS)


def test_a_private_model_exists_for_its_token_only(hub: StandInHub, api: HfApi) -> None:
    hub.add_huggingface("org/private", {GGUF: WEIGHTS}, private_token="hf_owner")
    hub.add_token("hf_stranger")
    assert api.model_info("org/private", token="hf_owner").private
    for token, status in ((False, 401), ("hf_stranger", 404)):
        with pytest.raises(RepositoryNotFoundError) as error:
            api.model_info("org/private", token=token)
        assert error.value.response.status_code == status


def test_a_token_goes_to_the_hub_and_not_to_the_cdn(hub: StandInHub, tmp_path: Path) -> None:
    hub.add_huggingface("org/private", {GGUF: WEIGHTS}, private_token="hf_owner")
    hf_hub_download("org/private", GGUF, endpoint=hub.url, cache_dir=tmp_path, token="hf_owner")
    assert [(request.path[:5], request.authorization) for request in hub.requests] == [
        ("/org/", "Bearer hf_owner"),
        ("/cdn/", None),
    ]


def test_an_unknown_token_is_refused_even_for_public_models(api: HfApi) -> None:
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as error:
        api.model_info(NAME, token="hf_expired")
    assert error.value.response.status_code == 401


def test_a_gated_model_shows_its_list_to_all_and_its_files_to_the_granted(hub: StandInHub, tmp_path: Path) -> None:
    hub.add_huggingface("org/gated", {GGUF: WEIGHTS}, gated=True, granted_token="hf_granted")
    hub.add_token("hf_stranger")
    url = hf_hub_url("org/gated", GGUF, endpoint=hub.url)
    assert HfApi(endpoint=hub.url, token=False).model_info("org/gated").gated == "manual"
    assert get_hf_file_metadata(url, token="hf_granted").size == len(WEIGHTS)
    for token, status in ((False, 401), ("hf_stranger", 403)):
        with pytest.raises(GatedRepoError) as error:
            hf_hub_download("org/gated", GGUF, endpoint=hub.url, cache_dir=tmp_path, token=token)
        assert error.value.response.status_code == status


def test_what_is_missing_is_told_apart(hub: StandInHub, api: HfApi) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/missing")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(NAME, revision="missing")
    with pytest.raises(RemoteEntryNotFoundError):
        get_hf_file_metadata(hf_hub_url(NAME, "missing.gguf", endpoint=hub.url), token=False)
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree(NAME, "missing"))


def test_an_alias_redirects_to_the_full_name(hub: StandInHub, api: HfApi, tmp_path: Path) -> None:
    hub.add_huggingface("openai-community/gpt2", {"config.json": b"{}", "model.safetensors": WEIGHTS})
    hub.add_alias("gpt2", "openai-community/gpt2")
    model = api.model_info("gpt2", files_metadata=True)
    assert (model.id, [each.size for each in model.siblings or []]) == ("openai-community/gpt2", [2, len(WEIGHTS)])
    assert [each.path for each in api.list_repo_tree("gpt2")] == ["config.json", "model.safetensors"]
    for name, content in (("config.json", b"{}"), ("model.safetensors", WEIGHTS)):
        path = hf_hub_download("gpt2", name, endpoint=hub.url, cache_dir=tmp_path, token=False)
        assert Path(path).read_bytes() == content
    assert [request.status for request in hub.requests][:2] == [307, 200]


def test_earlier_commits_and_other_branches_stay_readable(hub: StandInHub, api: HfApi) -> None:
    first = hub.add_huggingface("org/changing", {"a.txt": b"first"})
    second = hub.add_huggingface("org/changing", {"a.txt": b"second"})
    hub.add_huggingface("org/changing", {"a.txt": b"third, trial"}, revision="refs/pr/1")
    sizes = {}
    for revision in (None, first, second, "refs/pr/1"):
        [sibling] = api.model_info("org/changing", revision=revision, files_metadata=True).siblings or []
        sizes[revision] = sibling.size
    assert sizes == {None: 6, first: 5, second: 6, "refs/pr/1": 12}
    assert api.model_info("org/changing").sha == second


def test_a_repository_can_be_a_folder(hub: StandInHub, api: HfApi, tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(WEIGHTS)
    (tmp_path / "config.json").write_bytes(b"{}")
    hub.add_huggingface("org/folder", tmp_path)
    assert api.list_repo_files("org/folder") == ["config.json", "onnx/model.onnx"]


def test_the_environment_points_the_client_to_it(hub: StandInHub) -> None:
    program = f"import huggingface_hub as hub; print(hub.model_info({NAME!r}, token=False).id)"
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == f"{NAME}\n"


# The Ollama registry.


def test_an_ollama_model_has_a_manifest_of_its_layers(hub: StandInHub, client: httpx2.Client) -> None:
    hub.add_ollama(
        "library/llama3.2",
        "1b",
        model=WEIGHTS,
        template="{{ .Prompt }}",
        system="Be brief.",
        params={"stop": ["<|eot|>"]},
        messages=[{"role": "user", "content": "Hi"}],
        license=["MIT", "Also this"],
    )
    manifest = client.get(f"{hub.url}/v2/library/llama3.2/manifests/1b").json()
    kinds = [layer["mediaType"].removeprefix("application/vnd.ollama.image.") for layer in manifest["layers"]]
    assert kinds == ["model", "template", "system", "license", "license", "params", "messages"]
    assert (manifest["layers"][0]["digest"], manifest["layers"][0]["size"]) == (f"sha256:{sha256(WEIGHTS)}", 256_000)
    blobs = f"{hub.url}/v2/library/llama3.2/blobs"
    params, config = (
        client.get(f"{blobs}/{described['digest']}", follow_redirects=True).json()
        for described in (manifest["layers"][5], manifest["config"])
    )
    assert params == {"stop": ["<|eot|>"]}
    assert config["model_format"] == "gguf"


def test_an_ollama_blob_is_redirected_to_the_cdn(hub: StandInHub, client: httpx2.Client) -> None:
    hub.add_ollama("library/llama3.2", "1b", model=WEIGHTS)
    url = f"{hub.url}/v2/library/llama3.2/blobs/sha256:{sha256(WEIGHTS)}"
    answer = client.get(url)
    assert (answer.status_code, answer.headers["Location"]) == (307, f"{hub.cdn_url}/cdn/{sha256(WEIGHTS)}")
    assert client.head(url, follow_redirects=True).headers["Content-Length"] == "256000"
    assert client.get(url, follow_redirects=True, headers={"Range": "bytes=255999-"}).content == WEIGHTS[-1:]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("library/llama3.2/manifests/70b", "MANIFEST_UNKNOWN"),
        ("library/missing/manifests/latest", "MANIFEST_UNKNOWN"),
        (f"library/llama3.2/blobs/sha256:{'0' * 64}", "BLOB_UNKNOWN"),
    ],
)
def test_what_the_registry_lacks_is_an_error_as_json(
    hub: StandInHub, client: httpx2.Client, path: str, code: str
) -> None:
    hub.add_ollama("library/llama3.2", "1b", model=WEIGHTS)
    answer = client.get(f"{hub.url}/v2/{path}")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, code)


# Closing, and the program.


def test_closing_cuts_what_hangs_at_once(client: httpx2.Client) -> None:
    with StandInHub() as hub, ThreadPoolExecutor(3) as pool:
        url = hub.url + hub.add_file("x.gguf", WEIGHTS)
        hub.fault("x.gguf", Fault(stall_seconds=60))
        hub.fault("x.gguf", Fault(throttle=1))
        hanging = [pool.submit(client.get, url) for _ in range(2)]
        idle = pool.submit(client.get, f"{hub.url}/files/missing")
        assert idle.result().status_code == 404
        wait_for_requests(hub, 3)
        begun = monotonic()
        hub.close()
        assert monotonic() - begun < 2
        assert all(isinstance(each.exception(), httpx2.TransportError) for each in hanging)
    with pytest.raises(httpx2.ConnectError):
        client.get(url)


def test_it_can_come_back_on_its_port(client: httpx2.Client) -> None:
    with StandInHub() as hub:
        port = int(hub.url.rsplit(":")[-1])
    with StandInHub(port) as hub:
        assert client.get(hub.url + hub.add_file("x.gguf", WEIGHTS)).content == WEIGHTS


def test_the_program_serves_a_folder_of_repositories(client: httpx2.Client, tmp_path: Path) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    (tmp_path / "org" / "name" / "README.md").write_bytes(README)
    command = [sys.executable, "-m", "tests.doubles.hub", "--folder", str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        siblings = json.loads(client.get(f"{url}/api/models/org/name").text)["siblings"]
        program.terminate()
    assert siblings == [{"rfilename": "README.md"}]
