"""How a text is cut before byte-level BPE: the rule that tokenizer.json describes, and llama.cpp's name for it.

A description is reduced to its steps, each the regular expression by which a text is cut. `FAMILIES` has a line for a
name: what must hold for it, the first that fits wins. Names whose rules are alike differ in what else llama.cpp takes
from them, and in the models that its own converter gives them to; tokens that only one family has tell those apart.

To add one: its regular expressions as tokenizer.json has them, and a line in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

Steps = tuple[str, ...]

CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
MARKS = r" ?[^\s\p{L}\p{N}]+"
CAPITALS, SMALLS = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
FRONT = r"[^\r\n\p{L}\p{N}]?"
ASCII_MARKS = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""

DIGIT, THREE_DIGITS, DIGITS = r"\p{N}", r"\p{N}{1,3}", r"\p{N}+"
GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA_3 = rf"{CONTRACTION}|{WORD}|\p{{N}}{{1,3}}|{MARKS}[\r\n]*|{SPACES}"
QWEN_2 = rf"{CONTRACTION}|{WORD}|\p{{N}}|{MARKS}[\r\n]*|{SPACES}"
QWEN_3_5 = rf"{CONTRACTION}|{FRONT}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{SPACES}"
TEKKEN = rf"{FRONT}{CAPITALS}*{SMALLS}+|{FRONT}{CAPITALS}+{SMALLS}*|\p{{N}}|{MARKS}[\r\n/]*|{SPACES}"
GPT_4O = (
    rf"{FRONT}{CAPITALS}*{SMALLS}+{CONTRACTION}?|{FRONT}{CAPITALS}+{SMALLS}*{CONTRACTION}?"
    rf"|\p{{N}}{{1,3}}|{MARKS}[\r\n/]*|{SPACES}"
)
YOUTU = (
    rf"{FRONT}{CAPITALS}*{SMALLS}+{CONTRACTION}?|{FRONT}{CAPITALS}+{SMALLS}*{CONTRACTION}?"
    rf"|\p{{N}}|{MARKS}[\r\n/]*|{SPACES}"
)
DEEPSEEK_V3 = (
    rf"{ASCII_MARKS}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|{SPACES}"
)
HAN_AND_KANA = "[一-龥぀-ゟ゠-ヿ]+"
EAST_ASIAN = "[一-龥ࠀ-一가-\ud7ff]+"
DEEPSEEK_LETTERS = (  # escaped where an editor could put a like letter in its place
    "\\s?["
    "A-Za-z\u00b5À-ÖØ-öø-ƺƼ-ƿ\u01c4-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-\u03f5Ϸ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗ"
    "ὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼ\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124"
    "\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149ⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿ\ufb00"
    "-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
    "]+"
)
DEEPSEEK_MARKS = "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e‘-‟\u3000-。]+"
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
BAILING = rf"'(?i:[sdmt]|ll|ve|re)|{FRONT}+\p{{L}}+|\p{{N}}|{MARKS}+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
SEED_CODER = rf"{CONTRACTION}|{WORD}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{SPACES}"
EXAONE_MOE = (
    rf"{CONTRACTION}|{FRONT}(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}|{MARKS}[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
)
MINICPM_5 = rf"{CONTRACTION}|{WORD}|\p{{N}}+|{MARKS}[\r\n]*|{SPACES}"
WIDE_SPACES = "|".join(rf"\s{{{width}}}(?!\S)" for width in (512, 256, 128, 64, 32, 16, 8, 4))
JAIS_2 = rf"{CONTRACTION}|{WORD}|\p{{N}}{{1,3}}|{MARKS}[\r\n]*|\s*[\r\n]+|{WIDE_SPACES}|\s{{1,2}}(?!\S)|\s{{1}}"
TINY_AYA_DIGITS = r"\d{1,3}(?=(?:\d{3})*\b)"
UFAKZEKA = rf"{WORD}|\p{{N}}|{MARKS}[\r\n]*|{SPACES}"
PUNCTUATION = "runs of punctuation"  # no expression: a step of its own in tokenizer.json

# Expressions that match all of every text: to keep nothing but their matches is then to keep everything.
COVERING = frozenset(
    (GPT_2, LLAMA_3, QWEN_2, QWEN_3_5, TEKKEN, GPT_4O, YOUTU, DEEPSEEK_V3, BAILING, SEED_CODER, EXAONE_MOE, MINICPM_5)
)
# Ways to write the same: an ending in both cases, and its parts in another order.
SAME = {
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])": CONTRACTION,
    "(?i:'s|'t|'re|'ve|'m|'d|'ll)": CONTRACTION,
}


@dataclass(frozen=True, slots=True)
class Traits:
    """What tells families apart whose rules are alike."""

    tokens: Collection[str | bytes]
    model_type: str = ""
    ignores_merges: bool = False  # a word of the vocabulary is one token, whether or not merges lead to it
    adds_bos: bool = False
    adds_separators: bool = False  # RoBERTa's `<s> A </s></s> B </s>`


@dataclass(frozen=True, slots=True)
class Family:
    """A name of llama.cpp's, the steps it stands for, and what must hold besides; None and empty ask for nothing."""

    name: str
    steps: Steps
    tokens: tuple[str, ...] = ()  # all of them must be there
    model_types: tuple[str, ...] = ()
    ignores_merges: bool | None = None
    adds_bos: bool | None = None
    adds_separators: bool | None = None

    def fits(self, traits: Traits) -> bool:
        return (
            all(token in traits.tokens for token in self.tokens)
            and (not self.model_types or traits.model_type in self.model_types)
            and self.ignores_merges in (None, traits.ignores_merges)
            and self.adds_bos in (None, traits.adds_bos)
            and self.adds_separators in (None, traits.adds_separators)
        )


BLANKS = " " * 31  # the longest of the runs of spaces that CodeGen added to GPT-2's tokens

FAMILIES = (
    Family("roberta-bpe", (GPT_2,), adds_separators=True),
    Family("modern-bert", (GPT_2,), tokens=("<|padding|>", "[CLS]")),
    Family("olmo", (GPT_2,), tokens=("<|padding|>", "|||IP_ADDRESS|||")),
    Family("mpt", (GPT_2,), tokens=("<|padding|>",)),  # GPT-NeoX's tokens, Pythia's too
    Family("phi-2", (GPT_2,), tokens=(BLANKS,)),
    Family("jais", (GPT_2,), model_types=("jais",)),
    Family("exaone4", (GPT_2,), model_types=("exaone4",)),
    Family("gpt-2", (GPT_2,)),
    Family("smollm", (DIGIT, GPT_2), tokens=("<repo_name>", "<reponame>")),
    Family("starcoder", (DIGIT, GPT_2), tokens=("<repo_name>",)),
    Family("refact", (DIGIT, GPT_2), tokens=("<reponame>",)),  # StarCoder 1's tokens, Granite's too
    Family("command-r", (DIGIT, GPT_2), tokens=("<|START_OF_TURN_TOKEN|>",)),
    Family("codeshell", (DIGIT, GPT_2), model_types=("codeshell",)),
    Family("exaone", (DIGIT, GPT_2), model_types=("exaone",)),
    Family("smollm", (DIGIT, GPT_2)),
    Family("falcon-h1", (LLAMA_3,), model_types=("falcon_h1",)),
    Family("falcon3", (LLAMA_3,), tokens=(">>TITLE<<",)),
    Family("lfm2", (LLAMA_3,), model_types=("lfm2", "lfm2_moe")),
    Family("glm4", (LLAMA_3,), tokens=("[gMASK]",), ignores_merges=True),
    Family("chatglm-bpe", (LLAMA_3,), tokens=("[gMASK]",)),
    Family("llama-bpe", (LLAMA_3,), ignores_merges=True, adds_bos=True),
    Family("smaug-bpe", (LLAMA_3,), tokens=("<|begin_of_text|>",), adds_bos=False),  # Llama 3's without its BOS
    Family("glm4", (LLAMA_3,), ignores_merges=True),
    Family("dbrx", (LLAMA_3,)),  # GPT-4's tokens: OLMo 2, Phi 4 and Granite 4 too
    Family("stablelm2", (QWEN_2,), tokens=("<|reg0|>",)),
    Family("deepseek-r1-qwen", (QWEN_2,), tokens=("<｜begin▁of▁sentence｜>",)),
    Family("megrez", (QWEN_2,), tokens=("<|role_start|>",)),
    Family("hunyuan", (QWEN_2,), model_types=("hunyuan_v1_moe",)),
    Family("solar-open", (QWEN_2,), model_types=("solar_open",)),
    Family("qwen2", (QWEN_2,)),
    Family("qwen35", (QWEN_3_5,)),
    Family("tekken", (TEKKEN,)),
    Family("llama4", (GPT_4O,), tokens=("<|header_start|>",)),
    Family("minimax-m2", (GPT_4O,), model_types=("minimax", "minimax_m2")),
    Family("gpt-4o", (GPT_4O,)),
    Family("falcon", (PUNCTUATION, GPT_2, DIGITS, "[0-9][0-9][0-9]")),
    Family("deepseek-llm", (r"[\r\n]", DEEPSEEK_LETTERS, DEEPSEEK_MARKS, r"\s+$", EAST_ASIAN, DIGIT)),
    Family("deepseek-coder", (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", EAST_ASIAN, DIGIT)),
    Family("hunyuan-dense", (THREE_DIGITS, HAN_AND_KANA, DEEPSEEK_V3), model_types=("hunyuan_v1_dense",)),
    Family("deepseek-v3", (THREE_DIGITS, HAN_AND_KANA, DEEPSEEK_V3)),
    Family("bloom", (BLOOM,)),
    Family("viking", (BLOOM, DIGIT)),
    Family("bailingmoe2", (BAILING,), model_types=("bailing_moe_v2",)),
    Family("bailingmoe", (BAILING,)),
    Family("seed-coder", (SEED_CODER,)),
    Family("exaone-moe", (EXAONE_MOE,)),
    Family("superbpe", (DIGITS, r"(?=(\d{3})+(?!\d))")),
    Family("jais-2", (JAIS_2,)),
    Family("minicpm5", (THREE_DIGITS, MINICPM_5)),
    Family("cohere2moe", (TINY_AYA_DIGITS, GPT_4O), model_types=("cohere2_moe",)),
    Family("tiny_aya", (TINY_AYA_DIGITS, GPT_4O)),
    Family("ufakzeka", (UFAKZEKA,)),
)


def find_name(steps: Steps | None, traits: Traits) -> str | None:
    """llama.cpp's name of the rule, or None if there is no such family."""
    return next((family.name for family in FAMILIES if family.steps == steps and family.fits(traits)), None)


def steps_of(tokenizer: Mapping[str, Any]) -> Steps | None:
    """The steps that a tokenizer.json describes; None if there is one among them that has no canonical form.

    Normalization to NFC is left out: llama.cpp does none, and official conversions name the rule all the same.
    """
    normalizers = list(_flat(tokenizer.get("normalizer"), "normalizers"))
    if any(_kind(each) != "NFC" for each in normalizers):
        return None
    found = [_steps_of_one(each) for each in _flat(tokenizer.get("pre_tokenizer"), "pretokenizers")]
    return tuple(step for steps in found for step in steps or ()) if None not in found else None


def expressions_in(tokenizer: Mapping[str, Any]) -> list[str]:
    """Every regular expression of a description, to show to a person."""
    patterns = [_field(each, "pattern") for each in _flat(tokenizer.get("pre_tokenizer"), "pretokenizers")]
    return [str(_field(pattern, "Regex")) for pattern in patterns if _field(pattern, "Regex") is not None]


def _flat(described: Any, inner: str) -> list[Any]:
    """The parts of a sequence, of a sequence of sequences, or of no sequence at all."""
    if described is None:
        return []
    if _kind(described) != "Sequence":
        return [described]
    parts = _field(described, inner)
    return [each for part in (parts if isinstance(parts, list) else [None]) for each in _flat(part or {}, inner)]


def _steps_of_one(part: Any) -> Steps | None:
    kind = _kind(part)
    if kind == "ByteLevel" and not _field(part, "add_prefix_space"):
        return (GPT_2,) if _field(part, "use_regex") in (None, True) else ()
    if kind == "Digits":
        return (DIGIT,) if _field(part, "individual_digits") else (DIGITS,)
    if kind == "Punctuation" and _field(part, "behavior") == "Contiguous":
        return (PUNCTUATION,)
    if kind == "Split":
        return _steps_of_split(part)
    return None


def _steps_of_split(part: Any) -> Steps | None:
    regex, behavior, inverted = (
        _field(_field(part, "pattern"), "Regex"),
        _field(part, "behavior"),
        _field(part, "invert"),
    )
    if not isinstance(regex, str):
        return None
    regex = canonical(regex)
    if behavior == "Isolated" or (behavior == "Removed" and inverted is True and regex in COVERING):
        return (regex,)
    return None


def canonical(regex: str) -> str:
    """One spelling of those that mean the same."""
    regex = regex.replace("\r", r"\r").replace("\n", r"\n")
    for other, ours in SAME.items():
        regex = regex.replace(other, ours)
    return regex


def _kind(part: Any) -> Any:
    return _field(part, "type")


def _field(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, dict) else None
