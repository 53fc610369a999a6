"""What quantizing costs: divergence of answers from those of 16 bits, by mixes without and with an importance matrix,
and by a type for each tensor that reaches the same size.

    python benchmarks/bench_quality.py FOLDER/reference-f16.gguf [--text HELD-OUT] [--types Q4_K_M] [--no-targets]

The model is one that `make_reference_model.py` made: others are refused, as their weights lie on a grid already. The
text must be none that the model was trained on, nor the calibration text; without one it is that of `llmasos eval`.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmasos.engine.options import LoadOptions
from llmasos.evaluation.texts import make_text, own_text
from llmasos.locate import Located
from llmasos.paths import find_home
from llmasos.progress import Progress
from llmasos.quality.examination import Examination
from llmasos.quality.plots import sweep_svg
from llmasos.quality.target import Target
from llmasos.quality.verdict import Verdict
from llmasos.quantization.choices import Choices, make_choices
from llmasos.quantization.requantize import prepare_quantization
from llmasos.quantize import importance_of
from llmasos.store.store import ModelStore
from llmasos.units import format_bytes
from machine import describe_machine, keep, print_table
from reference import require_off_grid

TYPES = ["Q4_0", "IQ4_XS", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--types", nargs="+", default=TYPES)
    parser.add_argument("--no-targets", dest="targets", action="store_false")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    print({**describe_machine(), "grid": round(require_off_grid(options.reference), 2)})
    text = make_text(options.text.name, options.text.read_text(encoding="utf-8")) if options.text else own_text()
    with tempfile.TemporaryDirectory(prefix="llmasos-quality-", dir=find_home().root) as temporary:
        store = ModelStore(replace(find_home(), root=Path(temporary)))
        examination = Examination(text, LoadOptions(), store, Progress())
        source = Located((options.reference,), None)
        verdicts = measured(source, options.types, examination, with_targets=options.targets)
    if options.plot:
        options.plot.write_text(sweep_svg(verdicts), encoding="utf-8")


def measured(source: Located, types: list[str], examination: Examination, *, with_targets: bool) -> list[Verdict]:
    importance = importance_of(source, "auto", ModelStore(), Progress())
    verdicts: list[Verdict] = []
    rows: list[dict[str, Any]] = []

    def take(name: str, choices: Choices, weighed: Any) -> Verdict:
        verdict = examination.try_out(source, prepare_quantization(source.paths, choices, weighed))
        verdicts.append(replace(verdict, type_name=name))
        rows.append(row_of(verdicts[-1]))
        print(rows[-1], flush=True)
        return verdict

    for each in types:
        take(each, make_choices(each), None)
        mix = take(f"{each} auto", make_choices(each), importance)
        if with_targets:
            target = Target(bits_per_weight=mix.bits_per_weight)
            take(
                f"target {mix.bits_per_weight:.2f}",
                examination.choices_for(source, target, importance, make_choices("Q4_K_M")),
                importance,
            )
    print_table(rows)
    keep("quality", {"rows": rows})
    return verdicts


def row_of(verdict: Verdict) -> dict[str, str]:
    return {
        "type": verdict.type_name,
        "size": format_bytes(verdict.byte_count),
        "bits": f"{verdict.bits_per_weight:.3f}",
        "divergence": f"{verdict.divergence:.5f} ± {verdict.agreement.kld_error:.5f}",
        "99 %": f"{verdict.agreement.kld_percentiles[0.99]:.4f}",
        "same token": f"{verdict.agreement.top1:.2%}",
        "perplexity": f"{100 * verdict.perplexity_increase:+.2f} %",
    }


if __name__ == "__main__":
    main()
