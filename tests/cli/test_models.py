"""The commands that look after models: pull, list, show, cp, rm, import, verify, prune."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from doubles.tiny import write_tiny


@pytest.fixture
def stored(llmasos, tiny_model):
    """A store with one model, `tiny`."""
    assert llmasos("import", tiny_model, "--as", "tiny").exit_code == 0


def test_an_empty_store_says_how_to_begin(llmasos):
    result = llmasos("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no models are installed yet; begin with `llmasos pull smollm2`\n"
    assert llmasos("list", "--json").stdout == "[]\n"


def test_list_shows_a_table_for_people_and_json_for_programs(llmasos, stored, tiny_model):
    assert llmasos("list").stdout.splitlines()[0].split() == ["NAME", "PARAMETERS", "TYPE", "SIZE", "ADDED"]
    (model,) = json.loads(llmasos("list", "--json").stdout)
    assert model["name"] == "tiny"
    assert (model["architecture"], model["quantization"], model["license"]) == ("llama", "F32", "apache-2.0")
    assert model["size"] == tiny_model.stat().st_size
    assert model["source"] == f"file:{tiny_model}"


def test_list_takes_a_prefix(llmasos, stored):
    assert llmasos("list", "x").stderr == "no installed model's name begins with `x`\n"
    assert json.loads(llmasos("list", "ti", "--json").stdout) != []
    assert json.loads(llmasos("list", "x", "--json").stdout) == []


def test_show_names_the_file_that_other_programs_can_use(llmasos, stored, tiny_model):
    shown = json.loads(llmasos("show", "tiny", "--json").stdout)
    assert Path(shown["path"]).read_bytes() == tiny_model.read_bytes()
    wanted = {
        "name",
        "path",
        "digest",
        "size",
        "architecture",
        "quantization",
        "parameters",
        "context_length",
        "source",
        "license",
    }
    assert wanted <= set(shown)


def test_show_prints_the_template_alone(llmasos, stored):
    assert llmasos("show", "tiny", "--template").stdout.startswith("{% for message in messages %}")


def test_an_unknown_model_comes_with_near_names(llmasos, stored):
    result = llmasos("show", "tinny")
    assert result.exit_code == 3
    assert result.stderr == "error: model `tinny` is not installed\nhint: did you mean `tiny`?\n"


def test_import_links_the_file_instead_of_copying_it(llmasos, stored, tiny_model):
    path = Path(json.loads(llmasos("show", "tiny", "--json").stdout)["path"])
    assert path.samefile(tiny_model) or path.stat().st_dev != tiny_model.stat().st_dev


def test_a_copy_shares_its_files_and_survives_the_original(llmasos, stored):
    assert llmasos("cp", "tiny", "team/other:v2").exit_code == 0
    assert llmasos("rm", "tiny").exit_code == 0
    assert [model["name"] for model in json.loads(llmasos("list", "--json").stdout)] == ["team/other:v2"]
    assert llmasos("run", "team/other:v2", "x", "--max-tokens", "1", "--offline").exit_code == 0


def test_rm_removes_all_or_none(llmasos, stored):
    assert llmasos("rm", "tiny", "nothing").exit_code == 3
    assert len(json.loads(llmasos("list", "--json").stdout)) == 1
    assert "removed tiny" in llmasos("rm", "tiny").stderr


def test_a_name_is_never_given_to_another_model(llmasos, stored, tiny_model, tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(tiny_model.read_bytes())
    result = llmasos("import", other, "--as", "tiny")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"error: the name `tiny` belongs to a model from file:{tiny_model}\nhint: give another with --as NAME"
    )


def test_verify_finds_a_changed_file(llmasos, tiny_model, tmp_path, home):
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(tiny_model.read_bytes())
    assert llmasos("import", mine).exit_code == 0
    assert llmasos("verify").exit_code == 0
    content = bytearray(mine.read_bytes())
    content[-1] ^= 1
    mine.write_bytes(content)  # it is linked, so the store's file changes with it
    result = llmasos("verify", "mine")
    assert result.exit_code == 5
    assert "is changed" in result.stderr


@pytest.fixture
def damaged(llmasos, tiny_model, tmp_path):
    """A store with one model, `mine`, whose file is cut off: it is linked, so the store's file changes with ours."""
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(tiny_model.read_bytes())
    assert llmasos("import", mine).exit_code == 0
    os.truncate(mine, 1000)


def test_a_damaged_model_is_not_listed_but_told_of(llmasos, damaged):
    told = "1 damaged model is not listed; `llmasos verify` names them\n"
    for flags in ([], ["--json"], ["m"]):
        result = llmasos("list", *flags)
        assert (result.stdout, result.stderr) == ("[]\n" if "--json" in flags else "", told)


@pytest.mark.parametrize("names", [[], ["mine"]])
def test_verify_names_a_damaged_model(llmasos, damaged, names):
    result = llmasos("verify", *names, "--json")
    assert result.exit_code == 5
    [broken] = json.loads(result.stdout)["broken_manifests"]
    assert broken["problem"] == "files of `mine` are missing or cut off"
    assert "hint: remove the model with `llmasos rm` and pull it again" in result.stderr


def test_a_damaged_model_can_be_removed(llmasos, damaged):
    result = llmasos("show", "mine")
    assert result.exit_code == 3
    assert "error: model `mine` is damaged" in result.stderr
    assert "hint: remove it with `llmasos rm mine`" in result.stderr
    assert llmasos("rm", "mine", "mine").exit_code == 0
    assert llmasos("verify").stderr == "0 models verified\n"


def test_verify_puts_the_terminal_in_order_when_it_is_interrupted(monkeypatch, llmasos, stored):
    from llmasos.progress import Progress
    from llmasos.store.store import ModelStore
    from llmasos_cli import output
    from llmasos_cli.commands.verify_command import verify_command

    class Ends(Progress):
        is_finished = False

        def finish(self) -> None:
            self.is_finished = True

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    progress = Ends()
    monkeypatch.setattr(output, "make_progress", lambda: progress)
    monkeypatch.setattr(ModelStore, "verify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify_command(models=["tiny"])
    assert progress.is_finished


def test_prune_frees_what_no_model_uses(llmasos, stored, home):
    (home / "blobs" / f"sha256-{'0' * 64}").write_bytes(b"x" * 1000)
    (home / "incoming").mkdir(exist_ok=True)
    (home / "incoming" / f"{'1' * 64}.partial").write_bytes(b"y" * 500)
    assert json.loads(llmasos("prune", "--dry-run", "--json").stdout)["freed_bytes"] == 1500
    assert "freed 1.5 kB" in llmasos("prune").stderr
    assert json.loads(llmasos("prune", "--json").stdout)["freed_bytes"] == 0
    assert len(json.loads(llmasos("list", "--json").stdout)) == 1


def test_import_takes_what_ollama_holds(llmasos, tiny_model, tmp_path, monkeypatch):
    folder = make_ollama_folder(tmp_path / "ollama", tiny_model)
    monkeypatch.setenv("OLLAMA_MODELS", str(folder))
    assert "would import ollama/tiny:1b" in llmasos("import", "--from", "ollama", "--dry-run").stderr
    result = llmasos("import", "--from", "ollama")
    assert result.exit_code == 0, result.stderr
    shown = json.loads(llmasos("show", "ollama/tiny:1b", "--json").stdout)
    assert shown["system"] == "You are tiny."
    assert shown["parameters_set"] == {"temperature": 0, "num_predict": 3}
    assert Path(shown["path"]).samefile(
        next((folder / "blobs").glob("sha256-*"), Path()).parent / f"sha256-{shown['digest'][7:]}"
    )


def test_import_tells_what_it_stored_although_others_failed(llmasos, tiny_model, tmp_path, monkeypatch):
    folder = make_ollama_folder(tmp_path / "ollama", tiny_model)
    monkeypatch.setenv("OLLAMA_MODELS", str(folder))
    manifest = (folder / "manifests/registry.ollama.ai/library/tiny/1b").read_text()
    (folder / "manifests/registry.ollama.ai/library/tiny/bad").write_text(
        manifest.replace(damage_blob(folder, tiny_model), f"sha256:{'1' * 64}")
    )
    result = llmasos("import", "--from", "ollama", "--json")
    assert result.exit_code == 1
    assert [model["name"] for model in json.loads(result.stdout)] == ["ollama/tiny:1b"]
    assert "error: 1 of 2 models of ollama could not be imported" in result.stderr


def test_import_tells_which_files_it_stored_before_one_failed(llmasos, tiny_model, tmp_path):
    result = llmasos("import", tiny_model, tmp_path / "nothing.gguf", "--json")
    assert result.exit_code == 3
    assert [model["name"] for model in json.loads(result.stdout)] == ["tiny"]


def test_a_dry_run_never_imports(llmasos, tiny_model):
    assert llmasos("import", tiny_model, "--dry-run").exit_code == 2
    assert llmasos("list", "--json").stdout == "[]\n"


def test_a_split_model_runs_from_its_folder_and_from_the_store(llmasos, tmp_path):
    folder = tmp_path / "split"
    folder.mkdir()
    write_tiny(folder / "tiny.gguf", tensors_a_shard=8)
    first, *others = sorted(folder.iterdir())
    assert len(others) == 2
    asked = ("the cat", "--temperature", "0", "--max-tokens", "8", "--ignore-eos")
    whole = llmasos("run", write_tiny(tmp_path / "whole.gguf"), *asked).stdout
    assert llmasos("run", first, *asked).stdout == whole
    assert llmasos("run", f"{folder}/", *asked).stdout == whole
    assert llmasos("import", first, "--as", "split").exit_code == 0
    assert llmasos("run", "split", *asked).stdout == whole
    assert len(json.loads(llmasos("show", "split", "--json").stdout)["paths"]) == 3
    others[0].unlink()
    assert llmasos("run", first, *asked).exit_code == 5


def test_import_of_nothing_is_a_wrong_call(llmasos):
    assert llmasos("import").exit_code == 2
    assert llmasos("import", "--from", "nobody").exit_code == 2
    assert llmasos("import", "--from", "ollama").exit_code == 3


def test_unknown_commands_are_wrong_calls(llmasos):
    result = llmasos("lsit")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: No such command 'lsit'.")


def test_version(llmasos):
    from llmasos import __version__

    assert llmasos("--version").stdout == f"llmasos {__version__}\n"


def damage_blob(folder: Path, model: Path) -> str:
    """Puts a file of another content under the name `sha256-111…`; returns the digest of the sound one."""
    import hashlib

    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    (folder / "blobs" / f"sha256-{'1' * 64}").write_bytes(content)
    return f"sha256:{hashlib.sha256(model.read_bytes()).hexdigest()}"


def make_ollama_folder(folder: Path, model: Path) -> Path:
    """What `ollama pull tiny:1b` would leave: a manifest and blobs."""
    import hashlib

    contents = {
        "model": model.read_bytes(),
        "system": b"You are tiny.",
        "params": b'{"temperature": 0, "num_predict": 3}',
    }
    layers = []
    (folder / "blobs").mkdir(parents=True)
    for kind, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        (folder / "blobs" / f"sha256-{digest}").write_bytes(content)
        layers.append(
            {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}
        )
    manifest = folder / "manifests/registry.ollama.ai/library/tiny/1b"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(
        json.dumps({"schemaVersion": 2, "config": {"digest": f"sha256:{'0' * 64}", "size": 0}, "layers": layers})
    )
    return folder
