"""The Hugging Face hub as a source, through huggingface_hub itself and a stand-in for the hub."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from doubles.hub import Fault, StandInHub
from llmasos.errors import AccessDeniedError, BadInputError, ModelNotFoundError, NetworkError
from llmasos.sources.huggingface import HuggingFaceSource
from llmasos.sources.source import Fetched, Listing, RemoteFile
from llmasos.store.references import parse_reference

WEIGHTS = b"GGUF" + bytes(range(256)) * 400
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
GGUF_FILES = {"README.md": b"# Tiny", "tiny-Q4_K_M.gguf": WEIGHTS, "tiny-Q8_0.gguf": WEIGHTS + b"8"}
CHECKPOINT = {"config.json": b"{}", "tokenizer.json": b'{"version": "1.0"}', "model.safetensors": WEIGHTS}


def list_files(text: str) -> Listing:
    return HuggingFaceSource().list_files(parse_reference(text))


def fetch(file: RemoteFile, incoming: Path) -> Fetched:
    return HuggingFaceSource().fetch(file, incoming, lambda done: None)


def names(listing: Listing) -> list[str]:
    return [file.file_name for file in listing.files]


# GGUF repositories


def test_a_file_is_listed_with_size_digest_and_the_commit_it_is_of(hub: StandInHub):
    commit = hub.add_huggingface("org/tiny-GGUF", GGUF_FILES, license="apache-2.0")
    listing = list_files("hf:org/tiny-GGUF:Q4_K_M")
    address = f"{hub.url}/org/tiny-GGUF/resolve/{commit}/tiny-Q4_K_M.gguf"
    assert listing == Listing(
        f"hf:org/tiny-GGUF:Q4_K_M@{commit}",
        (RemoteFile("weights", "tiny-Q4_K_M.gguf", address, len(WEIGHTS), f"sha256:{SHA256}"),),
        "apache-2.0",
    )


def test_a_listing_is_one_request(hub: StandInHub):
    hub.add_huggingface("org/tiny-GGUF", GGUF_FILES)
    list_files("org/tiny-GGUF")
    assert [(request.path, request.query) for request in hub.requests] == [("/api/models/org/tiny-GGUF", "blobs=true")]


def test_a_file_is_fetched(hub: StandInHub, incoming: Path):
    hub.add_huggingface("org/tiny-GGUF", GGUF_FILES)
    fetched = fetch(list_files("org/tiny-GGUF").files[0], incoming)
    assert fetched.path.read_bytes() == WEIGHTS
    assert (fetched.digest, fetched.is_ours) == (f"sha256:{SHA256}", True)


def test_the_commit_that_was_listed_is_fetched_though_a_newer_one_came(hub: StandInHub, incoming: Path):
    hub.add_huggingface("org/tiny-GGUF", GGUF_FILES)
    listing = list_files("org/tiny-GGUF")
    hub.add_huggingface("org/tiny-GGUF", {"tiny-Q4_K_M.gguf": b"GGUF anew"})
    assert fetch(listing.files[0], incoming).path.read_bytes() == WEIGHTS


def test_without_a_wish_the_usual_best_is_taken_and_named(hub: StandInHub):
    commit = hub.add_huggingface("org/tiny-GGUF", GGUF_FILES)
    assert list_files("org/tiny-GGUF").source == f"hf:org/tiny-GGUF:Q4_K_M@{commit}"


def test_all_parts_of_a_split_model_are_listed(hub: StandInHub):
    parts = {f"Q8_0/tiny-0000{index}-of-00002.gguf": WEIGHTS for index in (2, 1)}
    hub.add_huggingface("org/tiny-GGUF", {**parts, "mmproj-tiny-F16.gguf": WEIGHTS})
    assert names(list_files("org/tiny-GGUF")) == ["Q8_0/tiny-00001-of-00002.gguf", "Q8_0/tiny-00002-of-00002.gguf"]


def test_an_unknown_quantization_is_answered_with_what_there_is(hub: StandInHub):
    hub.add_huggingface("org/tiny-GGUF", GGUF_FILES)
    with pytest.raises(BadInputError, match="hf:org/tiny-GGUF has no quantization Q2_K") as caught:
        list_files("org/tiny-GGUF:Q2_K")
    assert caught.value.hint == "it has Q4_K_M, Q8_0"


def test_a_name_that_leads_out_of_the_folder_is_refused(hub: StandInHub):
    hub.add_huggingface("org/evil", {"../../tiny-Q4_K_M.gguf": WEIGHTS})
    with pytest.raises(BadInputError, match="leads out of the model's folder"):
        list_files("org/evil")


def test_a_renamed_repository_is_found_and_keeps_the_name_it_was_asked_by(hub: StandInHub, incoming: Path):
    commit = hub.add_huggingface("openai-community/gpt2", CHECKPOINT)
    hub.add_alias("gpt2", "openai-community/gpt2")
    listing = list_files("hf:gpt2")
    assert listing.source == f"hf:gpt2@{commit}"
    assert fetch(listing.files[0], incoming).path.read_bytes() == b"{}"


def test_a_revision_is_a_branch_or_a_commit(hub: StandInHub):
    old = hub.add_huggingface("org/tiny-GGUF", GGUF_FILES)
    hub.add_huggingface("org/tiny-GGUF", {"new-Q4_0.gguf": WEIGHTS}, revision="refs/pr/1")
    hub.add_huggingface("org/tiny-GGUF", {"newest-Q4_0.gguf": WEIGHTS})
    assert names(list_files("org/tiny-GGUF@refs/pr/1")) == ["new-Q4_0.gguf"]
    assert names(list_files(f"org/tiny-GGUF:Q8_0@{old}")) == ["tiny-Q8_0.gguf"]


# Checkpoints


def test_a_checkpoint_is_what_a_conversion_needs_and_no_weights_twice(hub: StandInHub):
    others = ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "consolidated.safetensors", "training_args.bin",
              "onnx/model.onnx", "original/model.safetensors", "original/tokenizer.model", "tokenizer/tokenizer.json",
              "README.md", "64.tflite", ".gitattributes"]  # fmt: skip
    wanted = ["added_tokens.json", "additional_chat_templates/tools.jinja", "chat_template.jinja", "config.json",
              "generation_config.json", "merges.txt", "model.safetensors", "qwen.tiktoken", "special_tokens_map.json",
              "spiece.model", "tokenizer.json", "tokenizer_config.json", "vocab.json"]  # fmt: skip
    hub.add_huggingface("org/tiny", dict.fromkeys([*others, *wanted], WEIGHTS))
    listing = list_files("org/tiny")
    assert names(listing) == wanted
    assert {file.role for file in listing.files} == {"checkpoint"}


def test_a_split_checkpoint_comes_with_its_index(hub: StandInHub):
    weights = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    hub.add_huggingface("org/tiny", dict.fromkeys(["config.json", *weights], WEIGHTS))
    assert names(list_files("org/tiny")) == ["config.json", *weights]


def test_sentence_embeddings_come_with_their_pooling(hub: StandInHub):
    files = ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json", "vocab.txt"]
    hub.add_huggingface("org/embed", dict.fromkeys([*files, "openvino/model.xml"], WEIGHTS))
    assert names(list_files("org/embed")) == files


def test_a_repository_of_pytorch_weights_only_gives_those(hub: StandInHub):
    weights = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"]
    hub.add_huggingface("org/old", dict.fromkeys(["config.json", *weights], WEIGHTS))
    assert names(list_files("org/old")) == ["config.json", *weights]


def test_a_part_that_is_left_of_another_split_is_not_taken(hub: StandInHub):
    parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    files = ["config.json", *parts, "model-00002-of-00003.safetensors", "model.safetensors.index.json"]
    hub.add_huggingface("org/tiny", dict.fromkeys(files, WEIGHTS))
    assert names(list_files("org/tiny")) == ["config.json", *parts, "model.safetensors.index.json"]


def test_a_checkpoint_with_a_part_missing_is_refused(hub: StandInHub):
    hub.add_huggingface("org/tiny", {"config.json": b"{}", "model-00002-of-00002.safetensors": WEIGHTS})
    with pytest.raises(BadInputError, match="not complete: it lacks model-00001-of-00002.safetensors"):
        list_files("org/tiny")


def test_large_files_have_a_digest_and_small_ones_none(hub: StandInHub, incoming: Path):
    hub.add_huggingface("org/tiny", CHECKPOINT)
    config, weights, tokenizer = list_files("org/tiny").files
    assert (config.digest, tokenizer.digest, weights.digest) == (None, None, f"sha256:{SHA256}")
    assert (config.size, tokenizer.size) == (2, 18)
    assert fetch(tokenizer, incoming).path.read_bytes() == b'{"version": "1.0"}'


def test_a_quantization_of_a_checkpoint_is_what_is_to_be_made_of_it(hub: StandInHub):
    commit = hub.add_huggingface("org/tiny", CHECKPOINT)
    assert list_files("org/tiny").wanted_type == "auto"
    listing = list_files("org/tiny:Q4_K_M")
    assert (listing.source, listing.wanted_type) == (f"hf:org/tiny:Q4_K_M@{commit}", "Q4_K_M")
    assert names(listing) == names(list_files("org/tiny"))


def test_a_repository_of_something_else_is_refused_with_what_it_holds(hub: StandInHub):
    hub.add_huggingface("org/other", {"model.onnx": WEIGHTS, "extra.onnx": WEIGHTS, "README.md": b"#"})
    with pytest.raises(BadInputError, match=r"neither GGUF files nor a checkpoint .*; it holds 2 \.onnx, 1 \.md"):
        list_files("org/other")


def test_an_adapter_is_refused_with_what_to_take_instead(hub: StandInHub):
    hub.add_huggingface("org/lora", {"adapter_config.json": b"{}", "adapter_model.safetensors": WEIGHTS})
    with pytest.raises(BadInputError) as caught:
        list_files("org/lora")
    assert "llmasos convert --lora" in str(caught.value.hint)


# Who may read


def test_what_is_not_there_may_be_private(hub: StandInHub):
    with pytest.raises(ModelNotFoundError, match="no repository org/none at http.*, or it is private") as caught:
        list_files("org/none")
    assert caught.value.hint == "check the spelling; for a private one set HF_TOKEN, or log in with `hf auth login`"


def test_a_private_repository_is_read_with_the_token(hub: StandInHub, incoming: Path, monkeypatch: pytest.MonkeyPatch):
    hub.add_huggingface("me/secret", GGUF_FILES, private_token="hf_mine")
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert fetch(list_files("me/secret").files[0], incoming).path.read_bytes() == WEIGHTS


def test_a_saved_login_serves_as_well(hub: StandInHub):
    hub.add_huggingface("me/secret", GGUF_FILES, private_token="hf_mine")
    Path(constants.HF_TOKEN_PATH).write_text("hf_mine\n")
    assert names(list_files("me/secret")) == ["tiny-Q4_K_M.gguf"]


def test_the_token_goes_to_the_hub_only(hub: StandInHub, incoming: Path, monkeypatch: pytest.MonkeyPatch):
    hub.add_huggingface("me/secret", GGUF_FILES, private_token="hf_mine")
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    file = list_files("me/secret").files[0]
    fetch(file, incoming)
    told = {request.path.split("/")[1]: request.authorization for request in hub.requests}
    assert told == {"api": "Bearer hf_mine", "me": "Bearer hf_mine", "cdn": None}
    assert "hf_mine" not in repr(file)


def test_a_token_that_is_no_longer_valid(hub: StandInHub, monkeypatch: pytest.MonkeyPatch):
    hub.add_huggingface("org/tiny-GGUF", GGUF_FILES)
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    with pytest.raises(AccessDeniedError, match="does not accept your token"):
        list_files("org/tiny-GGUF")


def test_a_gated_repository_says_where_to_accept_its_licence(hub: StandInHub, incoming: Path):
    hub.add_huggingface("org/gated", GGUF_FILES, gated=True)
    file = list_files("org/gated").files[0]
    with pytest.raises(AccessDeniedError, match="for those who accepted its licence") as caught:
        fetch(file, incoming)
    assert caught.value.hint == (f"accept it on {hub.url}/org/gated, then set HF_TOKEN or log in with `hf auth login`")


def test_who_accepted_the_licence_gets_the_file(hub: StandInHub, incoming: Path, monkeypatch: pytest.MonkeyPatch):
    hub.add_huggingface("org/gated", GGUF_FILES, gated=True, granted_token="hf_granted")
    monkeypatch.setenv("HF_TOKEN", "hf_granted")
    assert fetch(list_files("org/gated").files[0], incoming).digest == f"sha256:{SHA256}"


def test_an_unknown_revision(hub: StandInHub):
    hub.add_huggingface("org/tiny-GGUF", GGUF_FILES)
    with pytest.raises(ModelNotFoundError, match="hf:org/tiny-GGUF has no revision `v9`"):
        list_files("org/tiny-GGUF@v9")


# When the hub fails


def test_a_hub_that_is_not_there_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(NetworkError, match="can't be reached: no connection"):
        list_files("org/tiny-GGUF")
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:port", "hub.example.com"])
def test_an_endpoint_that_is_no_address(monkeypatch: pytest.MonkeyPatch, address: str):
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(BadInputError, match=f"`{address}` is no address of a server"):
        list_files("org/tiny-GGUF")


@pytest.mark.parametrize(
    "fault", [Fault(status=503), Fault(status=429), Fault(drop_after=0)], ids=["503", "429", "drop"]
)
def test_a_hub_that_fails_once_is_asked_again(hub: StandInHub, fault: Fault):
    hub.add_huggingface("org/tiny-GGUF", GGUF_FILES)
    hub.fault("/api/models", fault)
    assert names(list_files("org/tiny-GGUF")) == ["tiny-Q4_K_M.gguf"]


def test_a_hub_that_keeps_failing_is_given_up(hub: StandInHub):
    hub.fault("/api/models", Fault(status=500), times=None)
    with pytest.raises(NetworkError, match="the server answers 500"):
        list_files("org/tiny-GGUF")
    assert len(hub.requests) == 3


def test_an_answer_that_is_no_listing_is_refused(hub: StandInHub, monkeypatch: pytest.MonkeyPatch):
    hub.add_file("api/models/org/tiny-GGUF", b'{"id": "org/tiny-GGUF"}')
    monkeypatch.setenv("HF_ENDPOINT", f"{hub.url}/files")
    with pytest.raises(BadInputError, match="not understood"):
        list_files("org/tiny-GGUF")


# What is on this disk already


@pytest.fixture
def cached_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Hugging Face's cache keeps the weights; nothing is there yet."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = tmp_path / "hf" / "hub" / "models--org--tiny-GGUF" / "blobs"
    folder.mkdir(parents=True)
    return folder / SHA256


def test_a_file_of_the_cache_is_used_where_it_is(hub: StandInHub, incoming: Path, cached_blob: Path):
    hub.add_huggingface("org/tiny-GGUF", GGUF_FILES)
    cached_blob.write_bytes(WEIGHTS)
    fetched = fetch(list_files("org/tiny-GGUF").files[0], incoming)
    assert fetched == Fetched(cached_blob, f"sha256:{SHA256}", len(WEIGHTS), is_ours=False)
    assert hub.sent_bytes("resolve") + hub.sent_bytes(SHA256) == 0


def test_a_damaged_file_of_the_cache_is_fetched_instead(hub: StandInHub, incoming: Path, cached_blob: Path):
    hub.add_huggingface("org/tiny-GGUF", GGUF_FILES)
    cached_blob.write_bytes(b"GGUX" + WEIGHTS[4:])
    fetched = fetch(list_files("org/tiny-GGUF").files[0], incoming)
    assert fetched.is_ours
    assert fetched.path.read_bytes() == WEIGHTS


def test_a_file_that_ollama_holds_is_used_too(
    hub: StandInHub, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    blob = tmp_path / "ollama" / "blobs" / f"sha256-{SHA256}"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(WEIGHTS)
    hub.add_huggingface("org/tiny-GGUF", GGUF_FILES)
    assert fetch(list_files("org/tiny-GGUF").files[0], incoming).path == blob
