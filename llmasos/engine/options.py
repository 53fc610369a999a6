"""What can be chosen of sampling, of an answer's limits and of loading: the one home of defaults, limits and help.

Command-line flags, environment variables, config keys, request fields and documentation are made from these classes.
Light: imports nothing of the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmasos.settings import option

if TYPE_CHECKING:
    from llmasos.engine.scores import RowReader

KV_TYPES = ("f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
OVERFLOWS = ("error", "truncate", "shift", "summarize")
PENALTIES, LOOPS, RARE, BIAS = "Penalties", "Loops and clichés", "Rarely needed", "Bias"
INT32 = 2**31 - 1  # a greater number would wrap on its way through ctypes
MOST_TOKENS = 1_048_576  # that a penalty looks back at: llama.cpp takes memory for all of them

# Whoever gives one of these wants tokens drawn; the others of sampling only change what is likely.
DRAWING = frozenset((
    "temperature", "top_k", "top_p", "min_p", "seed", "typical_p", "top_n_sigma", "xtc_probability", "xtc_threshold",
    "mirostat", "mirostat_tau", "mirostat_eta",
))  # fmt: skip
# These change what is likely, token by token; beams are compared by what the model says.
WEIGHING = frozenset((
    "repeat_penalty", "presence_penalty", "frequency_penalty", "dry_multiplier", "logit_bias", "debias_strength",
    "debias_attributes",
))  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingOptions:
    """How the next token is chosen. Defaults are llama.cpp's."""

    temperature: float = option(0.8, "Randomness; 0 always takes the likeliest token.", minimum=0, maximum=100)
    top_k: int = option(40, "Choose among the K likeliest tokens; 0 for all.", minimum=0, maximum=INT32)
    top_p: float = option(
        0.95, "Choose among the likeliest tokens that together have this probability.", minimum=0, maximum=1
    )
    min_p: float = option(0.05, "Leave out tokens less likely than this share of the likeliest.", minimum=0, maximum=1)
    seed: int | None = option(
        None, "Start of the random numbers; the same seed gives the same choices.", minimum=0, maximum=2**32 - 2
    )
    typical_p: float = option(1.0, "Locally typical sampling; 1 is off.", minimum=0, maximum=1, panel=RARE)
    top_n_sigma: float = option(
        -1.0, "Keep tokens within N standard deviations of the best; -1 is off.", minimum=-1, maximum=1000, panel=RARE
    )
    repeat_penalty: float = option(
        1.0,
        "Make tokens that stand in the last ones less likely; 1 is off.",
        minimum=0.01,
        maximum=100,
        panel=PENALTIES,
    )
    repeat_last_n: int = option(
        64,
        "How many last tokens the penalties look at; -1 for all.",
        minimum=-1,
        maximum=MOST_TOKENS,
        panel=PENALTIES,
    )
    presence_penalty: float = option(
        0.0, "Taken off a token that has occurred.", minimum=-100, maximum=100, panel=PENALTIES
    )
    frequency_penalty: float = option(
        0.0, "Taken off for each time a token has occurred.", minimum=-100, maximum=100, panel=PENALTIES
    )
    dry_multiplier: float = option(
        0.0, "DRY: strength against repeated runs of tokens; 0 is off.", minimum=0, maximum=100, panel=LOOPS
    )
    dry_base: float = option(
        1.75, "DRY: how fast the penalty grows with a run's length.", minimum=1, maximum=100, panel=LOOPS
    )
    dry_allowed_length: int = option(
        2, "DRY: runs up to this long are free.", minimum=0, maximum=MOST_TOKENS, panel=LOOPS
    )
    dry_penalty_last_n: int = option(
        -1, "DRY: how many last tokens it looks at; -1 for all.", minimum=-1, maximum=MOST_TOKENS, panel=LOOPS
    )
    dry_sequence_breakers: tuple[str, ...] = option(("\n", ":", '"', "*"), "DRY: strings that end a run.", panel=LOOPS)
    xtc_probability: float = option(
        0.0, "XTC: how often the likeliest tokens are left out; 0 is off.", minimum=0, maximum=1, panel=LOOPS
    )
    xtc_threshold: float = option(0.1, "XTC: what counts as likely.", minimum=0, maximum=1, panel=LOOPS)
    mirostat: int = option(
        0,
        "Mirostat: 0 is off, 1 or 2 its version; replaces top-k, top-p and their like.",
        minimum=0,
        maximum=2,
        panel=RARE,
    )
    mirostat_tau: float = option(5.0, "Mirostat: the surprise to aim at.", minimum=0, maximum=100, panel=RARE)
    mirostat_eta: float = option(0.1, "Mirostat: how fast it adapts.", minimum=0, maximum=100, panel=RARE)
    logit_bias: tuple[str, ...] = option(
        (), "TOKEN=BIAS: add to a token's logit, `-inf` forbids it. Again for more.", panel=RARE
    )
    debias: str = option(
        "off",
        "self: what prejudice would make likelier becomes less likely; takes the time of an answer more an attribute.",
        choices=("off", "self"),
        panel=BIAS,
    )
    debias_strength: float = option(
        50.0, "How strongly; 0 changes nothing, 10 a little, 100 much.", minimum=0, maximum=10_000, panel=BIAS
    )
    debias_attributes: tuple[str, ...] = option(
        ("gender", "race", "religion", "age", "insults", "threats"),
        "What is to be lessened, a known attribute or what somebody does who writes so. Again for more.",
        panel=BIAS,
    )
    grammar: str | None = option(
        None, "GBNF grammar that the answer must keep to: text, or a .gbnf file.", panel=RARE, metavar="GRAMMAR"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerOptions:
    """When an answer ends, and what happens if the context is too short for it."""

    max_tokens: int | None = option(None, "Longest answer, in tokens.", minimum=0, maximum=INT32)
    max_seconds: float | None = option(None, "End the answer after so many seconds.", minimum=0, maximum=INT32)
    stop: tuple[str, ...] = option((), "End the answer before this text. Again for more.")
    ignore_eos: bool = option(False, "Go on after the model's own end of the answer.")
    on_overflow: str = option(
        "error",
        "If the context is too short: refuse, cut the prompt's beginning, forget the oldest, or summarize.",
        choices=OVERFLOWS,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatOptions:
    """How a model that chats is to answer. None leaves it to the model."""

    think: bool | None = option(None, "Let the model reason before it answers, or not, as far as it knows how.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreOptions:
    """Which scores are wanted: of the answer's tokens always, of the prompt's from the one at `prompt_from` on.

    The first token has none, as nothing stands before it. With `top` come so many of the likeliest tokens too. A
    `reader` is given the prompt's rows in place of all that (`scores.RowReader`). With `alone` nothing is taken over
    that was read for others: then all is read in the same parts whoever came before, and no digit moves.
    """

    prompt_from: int | None = None
    top: int = 0
    reader: RowReader | None = None
    alone: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BeamOptions:
    """A beam search: the likeliest answers as a whole, instead of the likeliest token each time. Nothing is drawn."""

    num_beams: int = option(1, "Beam search: follow so many likeliest answers at a time.", minimum=1, maximum=64)
    length_penalty: float = option(
        1.0, "Of a beam search: above 0 prefers long answers, below 0 short ones.", minimum=-10, maximum=10
    )
    early_stopping: str = option(
        "false",
        "End a beam search when as many are finished as are followed (true), when a better one is unlikely (false), or "
        "when none can come (never).",
        choices=("true", "false", "never"),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadOptions:
    """How a model is brought into memory. None means: chosen for this machine."""

    context_length: int | None = option(
        None, "Tokens that prompt and answer may have together.", minimum=1, maximum=INT32
    )
    threads: int | None = option(None, "Threads to compute with.", minimum=1, maximum=1024)
    gpu_layers: int | None = option(None, "Layers to put on the GPU; 0 for none.", minimum=0, maximum=INT32)
    kv_type: str | None = option(None, "How the context's keys and values are stored.", choices=KV_TYPES)
    flash_attention: bool | None = option(None, "Compute attention in the memory-saving way.")
    deterministic: bool = option(
        False, "The same answer every time, whoever else is answered: one at a time, nothing reused, so it is slower."
    )
    speculation: bool = option(
        True, "Guess ahead where the answer repeats what stands before it, and check several tokens in one pass."
    )
    shared_cache: bool | None = option(
        None,
        "One cache for all that is answered at a time, however long each is. Without, each has a part of it: faster "
        "for many, and takes more memory for long contexts.",
        panel=RARE,
    )
    draft: str | None = option(
        None, "Let this smaller model of the same family guess ahead, where that pays.", metavar="MODEL"
    )
    batch_size: int = option(512, "Tokens of the prompt that are read at once.", minimum=1, maximum=65536, panel=RARE)
    lora: tuple[str, ...] = option(
        (), "NAME or NAME:SCALE: add this LoRA adapter, a stored one or a GGUF file. Again for more."
    )
    control_vector: tuple[str, ...] = option(
        (), "NAME or NAME:SCALE: add this control vector, a stored one or a GGUF file. Again for more."
    )
    control_layers: str | None = option(
        None, "Add control vectors to the layers A to B alone, counted from 0.", panel=RARE, metavar="A-B"
    )
    mmap: bool = option(True, "Map the file into memory instead of reading it.", panel=RARE)
    mlock: bool = option(False, "Keep the model in memory, never swapped out.", panel=RARE)


ALL_OPTIONS = (SamplingOptions, AnswerOptions, LoadOptions, BeamOptions, ChatOptions)
