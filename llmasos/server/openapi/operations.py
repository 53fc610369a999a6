"""Every route with what it takes and gives. What a reader knows of a body is taken from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from llmasos.ollama.bodies import CHAT as OLLAMA_CHAT
from llmasos.ollama.bodies import EMBED, GENERATE
from llmasos.ollama.bodies import EMBEDDINGS as OLLAMA_EMBEDDINGS
from llmasos.openai import chat, completions, embeddings, infill, ranking
from llmasos.openai.interface import CHAT, COMPLETIONS, EMBEDDINGS
from llmasos.server.openapi.fields import TOP, body_of, open_body
from llmasos.server.openapi.schemas import BOOLEAN, OBJECT, STRING, Schema, either, list_of, said
from llmasos.server.tokens import DETOKENIZE, INFO, STATUS, TEMPLATE, TOKENIZE

OPENAI, OLLAMA, LLAMA_SERVER, SERVER = "OpenAI's interface", "Ollama's interface", "llama-server's routes", "The server"
EVENTS, LINES, JSON, TEXT, BYTES = (
    "text/event-stream", "application/x-ndjson", "application/json", "text/plain", "application/octet-stream",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`result` and `pieces` are names of responses; `pieces` are those of a stream, which comes as `stream_type`.

    An operation without a result has an empty response, of the `status`.
    """

    method: str
    path: str
    summary: str
    tag: str
    body: Schema | None = None
    query: tuple[str, ...] = ()
    result: str | None = None
    pieces: str | None = None
    stream_type: str = EVENTS
    status: int = 200
    takes: str = JSON
    errors: tuple[int, ...] = ()

    @property
    def errors_as(self) -> str:
        return "OllamaError" if self.path.startswith("/api/") else "Error"


LEVELS = ["low", "medium", "high", "max"]
OF_OLLAMA: Mapping[str, Schema] = {
    "prompt": STRING,
    "format": either({"const": "json"}, {"const": ""}, OBJECT, description="json, or a JSON schema of the answer."),
    "think": either(BOOLEAN, {"type": "string", "enum": LEVELS}, description="Whether the model may reason first."),
    "top_logprobs": {**TOP, "maximum": 20},
    "dimensions": {"type": "integer", "minimum": 0},
    "name": said(STRING, "As model, of older clients."),
    "verbose": said(BOOLEAN, "Whether the tensors and the tokenizer's lists are told."),
    "source": STRING,
    "destination": STRING,
    "from": said(STRING, "The name of the model that it is made of."),
    "files": said(OBJECT, "A GGUF file's name and its digest, which was sent to /api/blobs before."),
    "adapters": said(OBJECT, "An adapter's name and its digest."),
    "template": said(STRING, "The template of its chats."),
    "license": either(STRING, list_of(STRING)),
    "parameters": said(OBJECT, "Its own options."),
    "messages": list_of(OBJECT, "The conversation."),
    "quantize": said(STRING, "The type to quantize to, such as Q4_K_M."),
    "quantization": said(STRING, "As quantize, of older clients."),
    "modelfile": said(STRING, "A whole recipe, of older clients."),
}
OF_ANY = (
    "model",
    "stream",
    "options",
    "keep_alive",
    "format",
    "think",
    "shift",
    "truncate",
    "logprobs",
    "top_logprobs",
)
UNNAMED = "without a model the one that was used last is meant"
ASKED = (400, 404, 408, 413, 429, 500, 503, 504)
FOUND = (400, 404, 500)


def _asks(path: str, tag: str, summary: str, body: Schema, result: str, pieces: str | None = None) -> Operation:
    stream_type = LINES if tag == OLLAMA else EVENTS
    return Operation(
        method="POST", path=path, summary=summary, tag=tag, body=body, result=result, pieces=pieces,
        stream_type=stream_type, errors=ASKED,
    )  # fmt: skip


def _gets(path: str, tag: str, summary: str, result: str | None, errors: tuple[int, ...] = ()) -> Operation:
    return Operation(method="GET", path=path, summary=summary, tag=tag, result=result, errors=errors)


def _ollama_body(*names: str, required: tuple[str, ...] = ("model",)) -> Schema:
    return open_body(names, required, OF_OLLAMA)


def operations() -> Iterator[Operation]:
    yield from _openai()
    yield from _llama_server()
    yield from _ollama()
    yield from _server()


def _openai() -> Iterator[Operation]:
    prompted = body_of(chat.KNOWN, ("model", "messages"))
    yield _asks(CHAT, OPENAI, "The model's next message.", prompted, "ChatCompletion", "ChatCompletionChunk")
    numbers = {"logprobs": said(TOP, "How many of the likeliest tokens are told with each of the answer's.")}
    completed = body_of(completions.KNOWN, ("model", "prompt"), numbers)
    yield _asks(
        COMPLETIONS, OPENAI, "What follows a prompt, or stands in a gap.", completed, "Completion", "Completion"
    )
    embedded = body_of(embeddings.KNOWN, ("model", "input"))
    yield _asks(EMBEDDINGS, OPENAI, "Texts as vectors.", embedded, "Embeddings")
    ranked = body_of(ranking.KNOWN, ("model", "query", "documents"))
    yield _asks(ranking.RERANK, OPENAI, "How well documents answer a query, the best first.", ranked, "Ranking")
    yield _gets("/v1/models", OPENAI, "The installed models.", "ModelList")
    yield _gets("/v1/models/{name}", OPENAI, "One of them.", "Model", FOUND)


def _llama_server() -> Iterator[Operation]:
    gap = body_of(infill.KNOWN, ("input_prefix", "input_suffix"), {"prompt": said(STRING, "Goes on from the prefix.")})
    yield _asks(infill.INFILL, LLAMA_SERVER, f"What stands in a gap; {UNNAMED}.", gap, "Infill", "Infill")
    special = ("add_special", "add_special_tokens", "parse_special", "with_pieces")
    text = open_body(("model", "content", "prompt", *special), (), OF_OLLAMA)
    yield _asks(TOKENIZE, LLAMA_SERVER, f"The tokens of a text (content or prompt); {UNNAMED}.", text, "Tokens")
    tokens = open_body(("model", "tokens"), ())
    yield _asks(DETOKENIZE, LLAMA_SERVER, f"The text of tokens; {UNNAMED}.", tokens, "Text")
    said_before = open_body(("model", "messages", "tools", "think"), ("messages",))
    yield _asks(TEMPLATE, LLAMA_SERVER, f"A conversation as the model's prompt; {UNNAMED}.", said_before, "Prompt")
    about = f"What the model is, its special tokens and its template; {UNNAMED}."
    yield Operation(
        method="GET", path=INFO, summary=about, tag=LLAMA_SERVER, query=("model",), result="TokenizerInfo",
        errors=(400, 404, 500, 503, 504),
    )  # fmt: skip
    yield _asks(INFO, LLAMA_SERVER, about, open_body(("model",), ()), "TokenizerInfo")


def _ollama() -> Iterator[Operation]:
    one = ("prompt", "suffix", "system", "template", "context", "raw", "images")
    yield _asks(GENERATE, OLLAMA, "What follows a prompt; none: loads the model, or with keep_alive 0 unloads it.",
                _ollama_body(*OF_ANY, *one), "Generated", "Generated")  # fmt: skip
    yield _asks(OLLAMA_CHAT, OLLAMA, "The model's next message; without messages as generate without a prompt.",
                _ollama_body(*OF_ANY, "messages", "tools"), "Chatted", "Chatted")  # fmt: skip
    shared = ("model", "options", "keep_alive", "truncate")
    yield _asks(EMBED, OLLAMA, "Texts as vectors.",
                open_body((*shared, "input", "dimensions"), ("model", "input"),
                          {**OF_OLLAMA, "input": either(STRING, list_of(STRING))}), "Embedded")  # fmt: skip
    yield _asks(OLLAMA_EMBEDDINGS, OLLAMA, "A text as a vector of no fixed length.",
                _ollama_body(*shared, "prompt", required=("model", "prompt")), "OldEmbedding")  # fmt: skip
    yield _gets("/api/tags", OLLAMA, "The installed models, the newest first.", "Tags")
    yield _gets("/api/ps", OLLAMA, "The models in memory.", "InMemory")
    yield _gets("/api/version", OLLAMA, "The version of llmasos.", "Version")
    yield _gets("/", OLLAMA, "What Ollama's clients look for.", None)
    yield _asks("/api/show", OLLAMA, "All that is known of a model.",
                _ollama_body("model", "name", "verbose", required=()), "Shown")  # fmt: skip
    yield _asks("/api/pull", OLLAMA, "Fetches a model, and tells its steps.",
                _ollama_body("model", "name", "stream", required=()), "Progress", "Progress")  # fmt: skip
    yield _asks("/api/push", OLLAMA, "Refused: llmasos gives no models away.",
                _ollama_body("model", "name", required=()), "Progress")  # fmt: skip
    recipe = (
        "model", "name", "from", "files", "adapters", "template", "system", "license", "parameters", "messages",
        "quantize", "quantization", "modelfile", "stream",
    )  # fmt: skip
    yield _asks("/api/create", OLLAMA, "Makes a model of another by a recipe.",
                _ollama_body(*recipe, required=()), "Progress", "Progress")  # fmt: skip
    copied = _ollama_body("source", "destination", required=("source", "destination"))
    yield Operation(method="POST", path="/api/copy", summary="Gives a model another name too.", tag=OLLAMA,
                    body=copied, errors=ASKED)  # fmt: skip
    named = _ollama_body("model", "name", required=())
    yield Operation(method="DELETE", path="/api/delete", summary="Removes a model.", tag=OLLAMA, body=named,
                    errors=ASKED)  # fmt: skip
    yield Operation(method="HEAD", path="/api/blobs/{digest}", summary="Whether a file is here.", tag=OLLAMA,
                    errors=(404,))  # fmt: skip
    yield Operation(method="POST", path="/api/blobs/{digest}", summary="Sends a file, for create.", tag=OLLAMA,
                    takes=BYTES, body={"type": "string", "format": "binary"}, status=201, errors=ASKED)  # fmt: skip


def _server() -> Iterator[Operation]:
    yield _gets("/health", SERVER, "Whether it is there.", "Health")
    yield _gets("/v1/health", SERVER, "The same.", "Health")
    yield _gets(STATUS, SERVER, "What each model in memory works on.", "Status")
    yield _gets("/openapi.json", SERVER, "This description.", "Description")
    yield _gets("/docs", SERVER, "This description as a page.", None)
