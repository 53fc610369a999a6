"""lm-evaluation-harness at `llmasos serve`: log-likelihoods are those of our engine, and answers are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from llmasos import LLM

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]
SAYINGS: list[dict[str, Any]] = [
    {"question": "The capital of France is", "choices": [" Paris", " London", " a banana"], "answer": 0},
    {"question": "One, two, three,", "choices": [" four", " nine", " blue."], "answer": 0},
    {"question": "Water freezes at zero degrees", "choices": [" Celsius", " Kelvin", " in the house"], "answer": 0},
    # Behind which the model ends: its end is the one token that the harness asks for and leaves out.
    {
        "question": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        "choices": ["Hello! How can I help you today?", "No"],
        "answer": 0,
    },
]
BEGINNING = "<|im_start|>"  # the model's BOS, which the harness puts before a text that it scores as a whole
DATA = "dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {file}\ntest_split: test\n"
TASKS = {
    "sayings": 'output_type: multiple_choice\ndoc_to_text: "{{question}}"\ndoc_to_choice: "{{choices}}"\n'
    'doc_to_target: "{{answer}}"\ntarget_delimiter: ""\nmetric_list:\n  - metric: acc\n',
    "counting": 'output_type: generate_until\ndoc_to_text: "{{question}}"\ndoc_to_target: " x"\n'
    'generation_kwargs:\n  until: ["\\n"]\n  max_gen_toks: 8\nmetric_list:\n  - metric: exact_match\n',
    "rolling": 'output_type: loglikelihood_rolling\ndoc_to_text: ""\ndoc_to_target: "{{question}}"\n'
    "metric_list:\n  - metric: word_perplexity\n",
}


@pytest.fixture
def samples(address: str, tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    """What the harness says of each document, by its task."""
    file = tmp_path / "sayings.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in SAYINGS))
    for name, text in TASKS.items():
        (tmp_path / f"{name}.yaml").write_text(f"task: {name}\n{DATA.format(file=file)}{text}")
    # The harness asks for the tokenizer of no model by name, so that of the last one is meant.
    urllib.request.urlopen(f"{address}/api/generate", json.dumps({"model": "smollm2"}).encode()).close()
    arguments = f"base_url={address}/v1/completions,model=smollm2,num_concurrent=3,max_length=2048"
    subprocess.run(
        [
            *(sys.executable, "-m", "lm_eval", "--model", "local-completions", "--model_args", arguments),
            *("--tasks", ",".join(TASKS), "--include_path", str(tmp_path)),
            *("--log_samples", "--output_path", str(tmp_path / "out")),
        ],
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")},
        cwd=tmp_path,
    )
    return {name: _lines(next((tmp_path / "out").rglob(f"samples_{name}_*.jsonl"))) for name in TASKS}


def _lines(path: Path) -> list[dict[str, Any]]:
    return sorted((json.loads(line) for line in path.read_text().splitlines()), key=lambda each: each["doc_id"])


def test_the_harness_finds_what_the_engine_says(samples: dict[str, list[dict[str, Any]]]):
    with LLM.from_pretrained("smollm2") as model:

        def tokens_of(text: str) -> list[int]:
            return model.tokenize(text, parse_special=True)

        for saying, sample in zip(SAYINGS, samples["sayings"], strict=True):
            before = len(tokens_of(saying["question"]))
            for choice, [(said, is_greedy)] in zip(saying["choices"], sample["resps"], strict=True):
                scores = model.score(tokens_of(saying["question"] + choice), top=1)[before - 1 :]
                assert float(said) == pytest.approx(sum(each.log_probability for each in scores), abs=0.05)
                assert is_greedy == str(all(each.token == each.top[0][0] for each in scores))
        for saying, sample in zip(SAYINGS, samples["rolling"], strict=True):
            scores = model.score(tokens_of(BEGINNING + saying["question"]))
            [[said]] = sample["resps"]
            found = float(said[0] if isinstance(said, list) else said)
            assert found == pytest.approx(sum(each.log_probability for each in scores), abs=0.05)
        for saying, sample in zip(SAYINGS, samples["counting"], strict=True):
            answer = model.generate(tokens_of(saying["question"]), max_tokens=8, temperature=0, stop=["\n"])
            assert sample["resps"] == [[answer]]
