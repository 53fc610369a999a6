"""From what a person types to files on this disk: what is stored and can't be run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from llmasos.errors import BadInputError
from llmasos.locate import locate
from llmasos.paths import Home
from llmasos.store.manifests import Manifest, StoredFile
from llmasos.store.references import Name
from llmasos.store.store import ModelStore


def test_a_stored_checkpoint_is_removed_and_pulled_again(home: Path):
    store = ModelStore(Home(home))
    digest = f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    path = store.home.incoming / "new"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    with store.changing():
        store.blobs.adopt(path, digest)
        file = StoredFile("checkpoint", digest, len(b"weights"), "model.safetensors")
        store.add(Manifest(Name("org", "tiny"), (file,), "hf:org/tiny@abc"))
    with pytest.raises(BadInputError, match="org/tiny is a checkpoint") as caught:
        locate("org/tiny", store=store)
    assert "llmasos rm org/tiny" in str(caught.value.hint)
    assert "pull it again" in str(caught.value.hint)
