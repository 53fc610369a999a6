"""Finding llama.cpp's name for a rule of cutting text by what it does: the names are tried, one after the other.

Texts that rules disagree on are cut by the `tokenizers` library, which follows tokenizer.json, and by llama.cpp under
each name. A vocabulary made for the purpose shows every cut: whatever stands side by side in these texts and is not cut
apart grows together. llama.cpp runs in a child process, since it aborts where it meets what it did not foresee.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmasos.conversion.tokenizers.letters import BYTE_OF, as_letters
from llmasos.conversion.tokenizers.tokenizer_files import JsonObject
from llmasos.errors import BadInputError
from llmasos.quantization.header import Value, header_bytes

if TYPE_CHECKING:
    from llmasos.engine.model import Model

PRE_KEY = "tokenizer.ggml.pre"
LONGEST_TOKEN = 9  # bytes

# A name for each rule that llama.cpp has, likelier ones first.
TRIED_TAKING_MERGES = (
    "gpt-2", "qwen2", "dbrx", "smollm", "qwen35", "gpt-4o", "deepseek-v3", "deepseek-coder", "deepseek-llm", "falcon",
    "bloom", "viking", "bailingmoe", "seed-coder", "exaone-moe", "superbpe", "jais-2", "tiny_aya", "ufakzeka",
    "spark2_5", "afmoe", "laguna", "chameleon", "default",
)  # fmt: skip
# Those under which a word of the vocabulary is one token, whether or not merges lead to it.
TRIED_IGNORING_MERGES = ("glm4", "tekken", "minicpm5", "youtu", "granite-embed-multi-97m")

TEXTS = (
    "I didn't, we've; it's. I'm he'd they're 'tis can'tell x'mad",
    "WE'LL it'S I'M HE'D THEY'RE DON'T I'Ve",
    "o'clock rock'n'roll 'quoted' ''twice''",
    "1 22 333 4444 55555 666666 7777777",
    "3.14 1,234,567.89 v2.0.1 0x1F 12abc34",
    "²³ ½ Ⅷ ٣٤٥٦ १२३४",
    "def add(a: int):\n\treturn a+b  # sum\n\n\n    if x==1:\r\n",
    "print('ok');;\n  }\n])}\n\n\t\t\n",
    "  leading   and\t\ttabs \t mixed   \n   \n\n \n end   ",
    "MixedCASE camelCase HTTPServer iPhone aB Ab",
    "ÉCOLE École école straße ΑΒΓ αβγ МОСКВА Москва",
    "我想在apple工作1314天～。",
    "日本語のテキスト、カタカナ！ＡＢＣ",
    "한국어 텍스트입니다. ภาษาไทย",
    "हिन्दी में पाठ العَرَبِيَّة עִבְרִית",
    "🚀🦙 😶‍🌫️ 👩‍👩‍👧 ✅✅ ☃️",
    "x\u0303y q\u0308 \u0301z \u00a0nbsp\u2003em\u3000wide",
    "---===>>> ...!!!??? ((())) $100 €50 £x",
    '<a href="x">&amp;</a> http://a.b/c?d=e#f\n//',
    "_under_score __init__ @user #tag 50% ~tilde ^caret",
    "`code` |x| {y} [z] «q» “quote” … a/b\\c !word #word",
)


def find_by_behaviour(description: JsonObject, path: Path, *, ignores_merges: bool) -> str | None:
    """The first name under which llama.cpp cuts the texts as tokenizer.json's description asks, or None.

    Raises BadInputError, naming the file, for a description that can't be followed.
    """
    tokens, merges = _vocabulary()
    expected = _expected_ids(description, tokens, merges, path)
    tried = (TRIED_TAKING_MERGES, TRIED_IGNORING_MERGES)
    first, second = reversed(tried) if ignores_merges else tried
    return next((name for name, ids in cuts((*first, *second), tokens, merges) if ids == expected), None)


def cuts(
    names: Sequence[str], tokens: Sequence[str], merges: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, list[list[int]]]]:
    """The tokens of the texts under each of llama.cpp's names."""
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        PRE_KEY: "default",
        "tokenizer.ggml.tokens": list(tokens),
        "tokenizer.ggml.token_type": [1] * len(tokens),
        "tokenizer.ggml.merges": [f"{left} {right}" for left, right in merges],
    }
    with tempfile.TemporaryDirectory(prefix="llmasos-") as folder:
        path = Path(folder) / "vocabulary.gguf"
        path.write_bytes(header_bytes(metadata, ()))
        yield from _tried(path, names)


def _vocabulary() -> tuple[list[str], list[tuple[str, str]]]:
    """Every run of bytes in the texts up to a length, and every way to make one of two shorter ones."""
    runs: dict[str, None] = {}
    for text in TEXTS:
        letters = as_letters(text.encode())
        for width in range(2, LONGEST_TOKEN + 1):
            runs.update(dict.fromkeys(letters[start : start + width] for start in range(len(letters) - width + 1)))
    merges = [(run[:middle], run[middle:]) for run in sorted(runs, key=len) for middle in range(1, len(run))]
    return [*BYTE_OF, *runs], merges


def _expected_ids(
    description: JsonObject, tokens: Sequence[str], merges: Sequence[tuple[str, str]], path: Path
) -> list[list[int]]:
    from tokenizers import Tokenizer  # 0.03 s and 10 MB, for the few tokenizers that get here

    vocabulary = {token: number for number, token in enumerate(tokens)}
    whole: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": description.get("normalizer"),
        "pre_tokenizer": description.get("pre_tokenizer"),
        "model": {"type": "BPE", "vocab": vocabulary, "merges": list(merges)},
    }
    try:
        tokenizer = Tokenizer.from_str(json.dumps(whole))
    except Exception as error:  # that library raises nothing narrower
        raise BadInputError(f"{path} describes no way to cut texts: {error}") from error
    return [tokenizer.encode(text).ids for text in TEXTS]


def _tried(path: Path, names: Sequence[str]) -> Iterator[tuple[str, list[list[int]]]]:
    remaining = list(names)
    while remaining:
        child = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(path), *remaining],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=_child_environment(),
        )
        try:
            for line in child.stdout or ():
                name, ids = json.loads(line)
                remaining = remaining[remaining.index(name) + 1 :]
                yield name, ids
        finally:
            child.kill()
            child.communicate()
        remaining = remaining[1:]  # the child died of the name that it did not speak of, if there is one


def _child_environment() -> dict[str, str]:
    """The child finds the same llmasos, however this process found it."""
    folders = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders)}


def load_vocabulary(path: Path, pre: str = "") -> Model | None:
    """A GGUF's vocabulary alone, under another name of its rule if one is given; None if llama.cpp refuses it."""
    from llmasos.engine.bindings import lib  # the engine's library, which a conversion needs for nothing else
    from llmasos.engine.model import Model

    overrides = (lib.llama_model_kv_override * 2)()  # the second, empty one ends the list
    overrides[0].tag, overrides[0].key = lib.LLAMA_KV_OVERRIDE_TYPE_STR, PRE_KEY.encode()
    overrides[0].value.val_str = pre.encode()
    params = lib.llama_model_default_params()
    params.vocab_only, params.n_gpu_layers = True, 0
    if pre:
        params.kv_overrides = ctypes.cast(overrides, type(params.kv_overrides))
    handle = lib.llama_model_load_from_file(os.fsencode(path), params)
    return Model(handle) if handle else None


def main(path: Path, names: Sequence[str]) -> None:
    """The child: says on stdout, a line for each name, what llama.cpp makes of the texts under it."""
    for name in names:
        model = load_vocabulary(path, name)
        if model is None:
            os.abort()  # as with a name that ends the process: the next child begins behind it
        ids = [model.tokenize(text, add_special=False, parse_special=False) for text in TEXTS]
        sys.stdout.write(json.dumps([name, ids]) + "\n")
        sys.stdout.flush()
        model.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)  # destructors of a half-sound vocabulary are not worth a crash
