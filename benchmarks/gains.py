"""Gain of threshold, test-time augmentation and post-processing on a test split.

python benchmarks/gains.py MODEL DATA [--split test]

Each gain is paired by image, with its 95 % interval. The choices of validation are ignored. Each
setting is tried in turn: the threshold against 0.5, then the others on top of the model's own
threshold.
"""

import argparse
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

from limner.data.scan import scan
from limner.data.splits import apply_split
from limner.inference.evaluate import evaluate
from limner.inference.predictor import Predictor
from limner.inference.scores import Scores, compare_models
from limner.inference.tta import TTA_TRANSFORMS
from limner.model.bundle import Bundle
from limner.model.metadata import InferenceSettings, PostprocessSettings

HEADER = """\
| setting | mean Dice | gain, 95 % interval | thresholded Jaccard | gain, 95 % interval |
|---|---|---|---|---|"""


def main() -> None:
    """Score every setting and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="test")
    arguments = parser.parse_args()
    bundle = Bundle.load(arguments.model)
    samples = apply_split(scan(arguments.data).samples, bundle.split)[arguments.split]

    def scores(settings: InferenceSettings) -> Scores:
        predictor = Predictor.from_models(replace(bundle, inference=settings))
        return evaluate(predictor, samples)

    plain = scores(InferenceSettings())
    own_threshold = InferenceSettings(bundle.inference.threshold)
    base = scores(own_threshold)
    print(f"{len(samples)} images of {arguments.split}; validation chose {bundle.inference}\n")
    print(HEADER)
    print_row(f"threshold {own_threshold.threshold:.3g} instead of 0.5", plain, base)
    for name, settings in single_settings(own_threshold):
        print_row(name, base, scores(settings))
    print_row("all that validation chose", plain, scores(bundle.inference))


def single_settings(base: InferenceSettings) -> Iterator[tuple[str, InferenceSettings]]:
    """Yield the base with one augmentation, or one step of post-processing."""
    for name in TTA_TRANSFORMS:
        if name != "none":
            yield f"augmentation {name}", replace(base, tta=name)
    for step in fields(PostprocessSettings):
        yield step.name, replace(base, postprocessing=PostprocessSettings(**{step.name: True}))


def print_row(name: str, before: Scores, after: Scores) -> None:
    """Print what a setting gains in Dice and in thresholded Jaccard."""
    differences = compare_models(before, after)
    cells = [
        f"{metric.second:.4f} | {metric.difference:+.4f} ({metric.low:+.4f} to {metric.high:+.4f})"
        for metric in (differences["dice"], differences["thresholded_jaccard"])
    ]
    print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
