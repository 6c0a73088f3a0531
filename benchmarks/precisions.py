"""What lower precisions cost in Dice and gain in speed, by engine, on images of known masks.

    python benchmarks/precisions.py nuclei=RUN/model.safetensors,TEST isic2018=… [--images 100]

TEST is a folder of images and masks, of which the test split counts, or all where it has none. int8
takes its ranges from the run's own training images. Each row compares an engine with ONNX Runtime
in float32: mean change of Dice with its 95 % interval, the worst image, changed mask pixels, and
canvases a second as a multiple. bfloat16 is left out on processors that would emulate it. The last
line says what this one has; `older_processor.py` makes it an older one.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from limner.data.sample import Sample
from limner.data.scan import scan
from limner.inference.engine_choice import EngineKind
from limner.inference.engines import LoadedModel, load_exported_as
from limner.inference.export import export
from limner.inference.parity import PrecisionChange, first_canvas, measure_change
from limner.inference.reduced_precision import PrecisionLimits, ReducedPrecision
from limner.metrics.intervals import format_interval
from limner.processor import (
    FAST_BFLOAT16,
    has_fast_bfloat16,
    processor_flags,
    processor_name,
)

KINDS = (
    EngineKind("openvino"),
    EngineKind("openvino", fixed_canvas=True),
    EngineKind("onnxruntime", "int8"),
    EngineKind("openvino", "int8"),
    EngineKind("openvino", "int8", fixed_canvas=True),
    EngineKind("openvino", "bfloat16"),
    EngineKind("openvino", "bfloat16", fixed_canvas=True),
)
TIMED_ON = 16
"""Canvases on which the speed is measured, twice each."""


@dataclass(frozen=True)
class Case:
    """A model, and images of known masks that it was not trained on."""

    name: str
    model: Path
    scored: list[Sample]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="NAME=MODEL,TEST")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--callers", type=int, default=1, help="1 gives each call all cores")
    options = parser.parse_args()
    print("| set | engine | mean Dice | change | worst image | changed pixels | speed |")
    print("|---|---|---|---|---|---|---|")
    for text in options.cases:
        case = read_case(text, options.images)
        for kind, change in measure(case, options.callers):
            print(format_row(case.name, kind, change), flush=True)
    flags = ", ".join(flag for flag in (*FAST_BFLOAT16, "avx512_vnni") if flag in processor_flags())
    print(f"\n{processor_name()}, with {flags or 'none of bfloat16 and vnni'}")


def read_case(text: str, count: int) -> Case:
    """A model and its images, from NAME=MODEL,TEST."""
    name, _, rest = text.partition("=")
    model, _, data = rest.partition(",")
    samples = list(scan(Path(data)).samples)
    test = [sample for sample in samples if sample.split == "test"]
    return Case(name, Path(model), (test or samples)[:count])


def measure(case: Case, callers: int) -> list[tuple[EngineKind, PrecisionChange]]:
    """What each engine changes, against ONNX Runtime in float32."""
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.onnx"
        export(case.model, graph)
        exact = load_exported_as(graph, "onnxruntime", callers)
        preprocessing = exact.metadata.preprocessing
        canvases = [first_canvas(preprocessing, sample) for sample in case.scored[:TIMED_ON]]
        trained_on = Path(json.loads(case.model.with_name("receipt.json").read_text())["data"])
        int8 = ReducedPrecision(graph, PrecisionLimits(trained_on)).int8_file()

        def load(kind: EngineKind) -> LoadedModel:
            file = int8 if kind.precision == "int8" else graph
            return load_exported_as(
                file,
                kind.package,
                callers,
                precision=kind.precision,
                fixed_canvas=kind.fixed_canvas,
            )

        fixed = preprocessing.resize_mode != "tile"
        return [
            (kind, measure_change(exact, load(kind), case.scored, canvases))
            for kind in KINDS
            if (fixed or not kind.fixed_canvas)
            and (kind.precision != "bfloat16" or has_fast_bfloat16())
        ]


def format_row(name: str, kind: EngineKind, change: PrecisionChange) -> str:
    """A row of the table."""
    interval = format_interval(change.interval, 4, signed=True)
    return (
        f"| {name} ({change.images}) | {kind} | {change.before:.4f} | {change.difference:+.4f} "
        f"({interval}) | {change.worst:+.3f} | {change.changed:.3%} | {change.speed:.2f} |"
    )


if __name__ == "__main__":
    main()
