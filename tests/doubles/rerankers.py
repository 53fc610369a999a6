"""Tiny rerankers: BERT's cross-encoder, and Qwen3's, which says yes or no, as llama.cpp's converter writes it."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from doubles.checkpoints import write_checkpoint
from llmasos.conversion.convert import convert

YES, NO = 300, 40  # rows of the output that stand for the two words
TEMPLATE = "<|im_start|>system\nyes or no<|im_end|>\n<|im_start|>user\n{query}\n{document}<|im_end|>\n"


def write_bert_reranker(folder: Path, type_name: str = "F32") -> Path:
    return convert(write_checkpoint(folder / "bert", "bert-reranker"), folder / "reranker.gguf", type_name)[0]


def write_qwen3_reranker(folder: Path) -> Path:
    """The tiny Qwen3 in F32, its head the rows of the two words, with labels, a pooling and a template of its own."""
    [plain] = convert(write_checkpoint(folder / "qwen3", "qwen3"), folder / "plain.gguf", "F32")
    reader = gguf.GGUFReader(plain)
    writer = gguf.GGUFWriter(folder / "reranker.gguf", "qwen3")
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_classifier_output_labels(["yes", "no"])
    writer.add_string("tokenizer.chat_template.rerank", TEMPLATE)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
        if tensor.name == "token_embd.weight":
            writer.add_tensor("cls.output.weight", np.ascontiguousarray(tensor.data[[YES, NO]]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "reranker.gguf"
