"""Trains the small SentencePiece and WordPiece vocabularies of this folder, from the project's own texts.

    python tests/data/vocabularies/make_vocabularies.py

Needs sentencepiece, tokenizers and transformers. `tokenizer.json` is what transformers makes of `tokenizer.model`. The
files are committed and meant to stay: the texts change with the project, and WordPiece's trainer breaks ties by chance,
so training anew gives other vocabularies, and with them other goldens.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import BertWordPieceTokenizer
from transformers import AutoTokenizer

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[2]
TEXTS = ("README.md", "README.zh-CN.md", "ARCHITECTURE.md", "LICENSE", "llmasos/pull.py", "llmasos/errors.py")
ACCENTS = "café déjà-vu naïve über Ångström año привет мир добрый день こんにちは 世界 안녕하세요 🦙🚀 ÀÉÎ\n" * 8
COMMON: dict[str, Any] = {
    "character_coverage": 0.98,
    "shuffle_input_sentence": False,
    "num_threads": 1,
    "minloglevel": 2,
    "max_sentence_length": 20000,
}


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)  # SentencePiece keeps the names of its inputs in the model
        text = "text.txt"
        Path(text).write_text(ACCENTS + "".join((PROJECT / name).read_text("utf-8") for name in TEXTS), "utf-8")
        make_llama2(text)
        make_mistral()
        make_phi3()
        make_gemma(text)
        make_unigrams(text)
        make_bert(text)


def make_llama2(text: str) -> None:
    """BPE with byte fallback, a space before the text, nothing normalized; BOS before the text."""
    folder = train(
        "llama2", text, model_type="bpe", vocab_size=1000, byte_fallback=True, add_dummy_prefix=True,
        remove_extra_whitespaces=False, normalization_rule_name="identity", split_digits=True,
        allow_whitespace_only_pieces=True, unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
    )  # fmt: skip
    specials = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    write(folder / "special_tokens_map.json", {key: added(text, normalized=False) for key, text in specials.items()})
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "added_tokens_decoder": decoder({0: "<unk>", 1: "<s>", 2: "</s>"}),
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "legacy": False,
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": None,
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }
    finish(folder, config)
    as_published(folder / "tokenizer.json")


def as_published(path: Path) -> None:
    """Repositories of that time do by a normalizer what transformers now does by a pre-tokenizer."""
    whole = json.loads(path.read_text("utf-8"))
    steps = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    whole |= {"normalizer": {"type": "Sequence", "normalizers": steps}, "pre_tokenizer": None}
    whole["model"] |= {"unk_token": "<unk>", "merges": [" ".join(pair) for pair in whole["model"]["merges"]]}
    path.write_text(json.dumps(whole, ensure_ascii=False, separators=(",", ":")), "utf-8")


def make_mistral() -> None:
    """The same pieces behind Mistral's configuration, with control tokens that the SentencePiece file doesn't know."""
    controls = {1000: "[INST]", 1001: "[/INST]", 1002: "[TOOL_CALLS]"}
    template = (
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}"
        "{% endfor %}"
    )
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "added_tokens_decoder": decoder({0: "<unk>", 1: "<s>", 2: "</s>", **controls}),
        "bos_token": "<s>",
        "chat_template": template,
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "legacy": True,
        "model_max_length": 1000000000000000019884624838656,
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
    }
    finish(copied("mistral"), config)


def make_phi3() -> None:
    """Phi-3's: the pieces of llama 2, chat tokens behind them that swallow the space to their right."""
    names = ["<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|system|>", "<|end|>", "<|user|>"]
    tokens = {1000 + index: name for index, name in enumerate(names)}
    folder = copied("phi3")
    write(folder / "added_tokens.json", {name: number for number, name in tokens.items()})
    listed = decoder({0: "<unk>", 1: "<s>", 2: "</s>", **tokens})
    listed |= {str(number): {**listed[str(number)], "rstrip": True} for number in list(tokens)[1:]}
    listed["2"] |= {"rstrip": True, "special": False}
    template = (
        "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
    )
    config = {
        "add_bos_token": False,
        "add_eos_token": False,
        "added_tokens_decoder": listed,
        "bos_token": "<s>",
        "chat_template": template,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "legacy": False,
        "model_max_length": 4096,
        "pad_token": "<|endoftext|>",
        "padding_side": "left",
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }
    finish(folder, config)


def make_gemma(text: str) -> None:
    """BPE with byte fallback, no space before the text; turns, runs of newlines and HTML are pieces of their own."""
    user = ["<mask>", "<unused0>", "<unused1>", "<start_of_turn>", "<end_of_turn>"]
    user += ["\n" * count for count in range(1, 5)] + ["▁" * count for count in range(2, 6)]
    user += ["<table>", "<caption>", "</table>", "<h1>", "</h1>"]
    folder = train(
        "gemma", text, model_type="bpe", vocab_size=1000, byte_fallback=True, add_dummy_prefix=False,
        remove_extra_whitespaces=False, normalization_rule_name="identity", split_digits=True,
        allow_whitespace_only_pieces=True, pad_id=0, eos_id=1, bos_id=2, unk_id=3, eos_piece="<eos>",
        bos_piece="<bos>", user_defined_symbols=user,
    )  # fmt: skip
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<unused0>", "<unused1>"]
    listed = decoder(dict(enumerate(specials)))
    listed |= {str(number): added(f"<unused{number - 5}>", special=False) for number in (5, 6)}
    listed["4"] = added("<mask>", special=False)
    listed |= {str(7 + index): added(turn) for index, turn in enumerate(["<start_of_turn>", "<end_of_turn>"])}
    listed |= {str(number): added(symbol, special=False) for number, symbol in enumerate(user[5:], 9)}
    template = (
        "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' + "
        "message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    )
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "added_tokens_decoder": listed,
        "bos_token": "<bos>",
        "chat_template": template,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<eos>",
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": "<pad>",
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }
    finish(folder, config)


def make_unigrams(text: str) -> None:
    """Unigram pieces, as T5 and XLM-RoBERTa have them; a few rules of normalization, for the full table is 240 KB."""
    rules = "FF21\t41\nFF22\t42\nFB01\t66 69\n3000\t20\n2026\t2E 2E 2E\n00A0\t20\n"
    Path("rules.tsv").write_text(rules, "utf-8")
    common: dict[str, Any] = {"model_type": "unigram", "vocab_size": 800, "normalization_rule_tsv": "rules.tsv"}
    train("t5", text, **common, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    train("xlm-roberta", text, **common, unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    finish(HERE / "t5", {"eos_token": "</s>", "extra_ids": 0, "model_max_length": 512, "pad_token": "<pad>",
                         "tokenizer_class": "T5Tokenizer", "unk_token": "<unk>"})  # fmt: skip
    finish(HERE / "xlm-roberta", {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "mask_token": "<mask>",
                                  "model_max_length": 512, "pad_token": "<pad>", "sep_token": "</s>",
                                  "tokenizer_class": "XLMRobertaTokenizer", "unk_token": "<unk>"})  # fmt: skip


def make_bert(text: str) -> None:
    """WordPiece in lower case with BERT's special tokens and a few of its unused ones."""
    folder = HERE / "bert"
    folder.mkdir(exist_ok=True)
    specials = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained = BertWordPieceTokenizer(lowercase=True)
    trained.train([text], vocab_size=1000, min_frequency=2, special_tokens=specials, show_progress=False)
    trained.save_model(str(folder))
    config = {
        "clean_up_tokenization_spaces": True,
        "cls_token": "[CLS]",
        "do_basic_tokenize": True,
        "do_lower_case": True,
        "mask_token": "[MASK]",
        "model_max_length": 512,
        "never_split": None,
        "pad_token": "[PAD]",
        "sep_token": "[SEP]",
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "tokenizer_class": "BertTokenizer",
        "unk_token": "[UNK]",
    }
    finish(folder, config)


def train(kind: str, text: str, **options: Any) -> Path:
    folder = HERE / kind
    folder.mkdir(exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(input=text, model_prefix="tokenizer", **COMMON, **options)
    (folder / "tokenizer.model").write_bytes(Path("tokenizer.model").read_bytes())
    return folder


def copied(kind: str) -> Path:
    folder = HERE / kind
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.model").write_bytes((HERE / "llama2" / "tokenizer.model").read_bytes())
    return folder


def finish(folder: Path, config: dict[str, Any]) -> None:
    """Writes the configuration and the `tokenizer.json` that transformers makes from the folder."""
    (folder / "tokenizer.json").unlink(missing_ok=True)
    write(folder / "tokenizer_config.json", config)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False, separators=(",", ":")), "utf-8")


def decoder(tokens: dict[int, str]) -> dict[str, dict[str, Any]]:
    return {str(number): added(text) for number, text in tokens.items()}


def added(text: str, *, special: bool = True, normalized: bool = False) -> dict[str, Any]:
    flags = {"lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False, "special": special}
    return {"content": text, **flags}


def write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
