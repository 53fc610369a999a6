"""Models by a recipe: what is kept of the base, what is new, and what may be replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doubles.adapters import random_factors, write_peft
from doubles.tiny import TinyModel, write_tiny
from llmasos import LLM
from llmasos.create import create, recipe_of
from llmasos.errors import BadInputError, ModelNotFoundError, NameTakenError
from llmasos.modelfile import Recipe, read_modelfile
from llmasos.progress import Progress
from llmasos.pull import pull
from llmasos.store.manifests import Manifest
from llmasos.store.store import ModelStore

PLAIN = "{% for message in messages %}[{{ message.role[0] }}]{{ message.content }}{% endfor %}[a]"
GO = "{{ if .System }}{{ .System }}{{ end }}{{ .Prompt }}"
PIRATE = Recipe(
    "tiny",
    {"temperature": 0.5, "stop": ["!"]},
    template=PLAIN,
    system="Be a pirate.",
    licenses=("MIT", "and more"),
    messages=(("user", "Hi"), ("assistant", "Arr")),
)


@pytest.fixture
def store(tiny_model: Path) -> ModelStore:
    pull(str(tiny_model), name="tiny")
    return ModelStore()


def made(name: str, recipe: Recipe, folder: Path = Path(), **how: str) -> Manifest:
    return create(name, recipe, folder=folder, **how)


def stored_files(store: ModelStore) -> list[str]:
    return sorted(path.name for folder in (store.home.blobs, store.home.incoming) for path in folder.glob("*"))


def test_what_a_recipe_says_is_stored_beside_the_weights(store: ModelStore):
    manifest = made("pirate", PIRATE)
    base = store.get("tiny")
    assert manifest.weights == base.weights
    assert (manifest.source, manifest.lineage) == (base.source, ("created from tiny",))
    assert json.loads(store.text(manifest, "parameters") or "") == {"temperature": 0.5, "stop": ["!"]}
    assert recipe_of(manifest, store) == Recipe(
        "pirate", PIRATE.parameters, PLAIN, PIRATE.system, licenses=PIRATE.licenses, messages=PIRATE.messages
    )


def test_what_it_does_not_say_is_the_base_s(store: ModelStore):
    made("pirate", PIRATE)
    made("captain", Recipe("pirate", {"seed": 7}, system="Be a captain."))
    recipe = recipe_of(store.get("captain"), store)
    assert (recipe.system, recipe.template, recipe.messages) == ("Be a captain.", PLAIN, PIRATE.messages)
    assert recipe.parameters == {"temperature": 0.5, "stop": ["!"], "seed": 7}
    assert store.get("captain").lineage == ("created from tiny", "created from pirate")


def test_prompts_begin_as_the_recipe_says(store: ModelStore):
    made("pirate", PIRATE)
    with LLM.from_pretrained("pirate", threads=1) as model:
        seen = model.detokenize(model._ask("Who?", {})[1].tokens)
        other = model.detokenize(model._ask("Who?", {"system": "Be brief."})[1].tokens)
    assert seen.endswith("[s]Be a pirate.[u]Hi[a]Arr[u]Who?[a]")
    assert other.endswith("[s]Be brief.[u]Hi[a]Arr[u]Who?[a]")


def test_a_template_in_go_makes_the_prompts_where_the_file_has_none(tmp_path: Path, store: ModelStore):
    pull(str(write_tiny(tmp_path / "plain.gguf", TinyModel(template=None))), name="plain")
    create("go", Recipe("plain", template=GO), folder=Path())
    create("odd", Recipe("plain", template="{{ .Unheard }}"), folder=Path())
    with LLM.from_pretrained("go", threads=1) as go:
        assert go.detokenize(go._ask("Who?", {"system": "Be brief."})[1].tokens).endswith("Be brief.Who?")
    with LLM.from_pretrained("odd", threads=1) as odd, pytest.raises(BadInputError, match=r"in Go.*\.Unheard"):
        odd._ask("Who?", {})


def test_a_template_in_go_is_kept_and_not_used_where_the_file_has_one(store: ModelStore):
    notes: list[str] = []
    manifest = create("go", Recipe("tiny", template=GO), folder=Path(), progress=Noting(notes))
    assert store.text(manifest, "template") == GO
    assert [note for note in notes if "Go's language" in note]
    with LLM.from_pretrained("go", threads=1) as go, LLM.from_pretrained("tiny", threads=1) as tiny:
        assert go._ask("Who?", {})[1].tokens == tiny._ask("Who?", {})[1].tokens


class Noting(Progress):
    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def note(self, text: str) -> None:
        self._notes.append(text)


def test_paths_are_taken_from_the_recipe_s_folder(store: ModelStore, tmp_path: Path):
    folder = tmp_path / "recipes"
    folder.mkdir()
    other = write_tiny(folder / "other.gguf", TinyModel(seed=5))
    for base in ("./other.gguf", "other.gguf", "."):
        manifest = made("mine", Recipe(base, system="x"), folder)
        assert (manifest.lineage, store.paths(manifest)[0].read_bytes()) == (
            (f"created from {base}",),
            other.read_bytes(),
        )
    assert [str(each.name) for each in store.models()] == ["mine", "tiny"]


def test_weights_are_quantized_on_the_way(store: ModelStore):
    manifest = made("small", PIRATE, quantization="Q8_0")
    assert (manifest.facts.quantization, store.text(manifest, "system")) == ("Q8_0", "Be a pirate.")
    assert [str(each.name) for each in store.models()] == ["small", "tiny"]
    store.remove(manifest.name)
    assert store.prune().blobs == ()


def test_an_adapter_comes_with_the_model(store: ModelStore, tmp_path: Path):
    peft = write_peft(tmp_path / "peft", {"model.layers.0.self_attn.q_proj": random_factors(64, 64, 4)})
    manifest = made("tuned", Recipe("tiny", adapter="peft"), tmp_path)
    [adapter] = manifest.of_role("adapter")
    assert store.blobs.has(adapter.digest, adapter.size)
    assert [str(each.name) for each in store.models()] == ["tiny", "tuned"]
    with LLM.from_pretrained("tuned", threads=1) as tuned, LLM.from_pretrained("tiny", threads=1) as tiny:
        assert tuned.score("Hello there") != tiny.score("Hello there")
    assert peft.exists()


def test_only_what_was_created_is_replaced(store: ModelStore):
    made("pirate", PIRATE)
    again = made("pirate", Recipe("tiny", system="Be nice."))
    assert (store.text(again, "system"), store.text(again, "template")) == ("Be nice.", None)
    before = stored_files(store)
    with pytest.raises(NameTakenError):
        made("tiny", PIRATE)
    assert stored_files(store) == before


@pytest.mark.parametrize(
    ("recipe", "error"),
    [
        (Recipe("./nothing.gguf"), ModelNotFoundError),
        (Recipe("tiny", adapter="./nothing.gguf"), ModelNotFoundError),
        (Recipe("tiny", adapter="tiny"), BadInputError),
        (Recipe("tiny", adapter="nobody"), ModelNotFoundError),
    ],
    ids=range(4),
)
def test_what_is_not_there_leaves_nothing_behind(
    store: ModelStore, tmp_path: Path, recipe: Recipe, error: type[Exception]
):
    before = stored_files(store)
    with pytest.raises(error):
        made("new", recipe, tmp_path)
    assert stored_files(store) == before
    assert [str(each.name) for each in store.models()] == ["tiny"]


def test_on_the_command_line(llmasos, store: ModelStore, tmp_path: Path):
    recipe = tmp_path / "Modelfile"
    recipe.write_text('FROM tiny\nSYSTEM """Be a pirate.\n"""\nPARAMETER num_predict 3\nREQUIRES 0.1\n')
    created = llmasos("create", "pirate", "-f", recipe)
    assert (created.exit_code, created.stdout) == (0, "")
    assert "REQUIRES of the Modelfile has no meaning here" in created.stderr
    assert llmasos("run", "pirate", "Hello", "--json").stdout.count('"completion": 3') == 1
    shown = llmasos("show", "pirate", "--modelfile").stdout
    assert read_modelfile(shown) == Recipe("pirate", {"num_predict": 3}, system="Be a pirate.\n")
    assert llmasos("create", "other", "-f", tmp_path / "none").exit_code == 3
    recipe.write_text("FROM tiny\nSISTEM x\n")
    wrong = llmasos("create", "other", "-f", recipe)
    assert (wrong.exit_code, wrong.stderr) == (
        5,
        "error: line 2 of the Modelfile: there is no command `SISTEM`\nhint: did you mean SYSTEM?\n",
    )
