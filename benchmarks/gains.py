"""What threshold, augmentation at test time and post-processing bring on a test split, each with
its paired 95 % interval.

What validation chose is not looked at: every choice is made here in turn, over the network's plain
masks at threshold 0.5 and then over the model's own threshold. python benchmarks/gains.py MODEL
DATA [--split test]
"""

import argparse
from dataclasses import replace
from pathlib import Path

from limner.data.postprocess import Postprocessing
from limner.data.scan import scan
from limner.data.splits import apply_split
from limner.inference.evaluate import evaluate
from limner.inference.scores import Scores, compare_models
from limner.inference.predictor import Predictor
from limner.inference.tta import TTA_TRANSFORMS
from limner.model.bundle import Bundle
from limner.model.metadata import InferenceSettings


def main() -> None:
    """Score every choice and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="test")
    given = parser.parse_args()
    bundle = Bundle.load(given.model)
    samples = apply_split(scan(given.data).samples, bundle.split)[given.split]
    threshold = bundle.inference.threshold

    def scored(choices: InferenceSettings) -> Scores:
        return evaluate(Predictor.from_models(replace(bundle, choices=choices)), samples)

    plain, base = scored(InferenceSettings()), scored(InferenceSettings(threshold))
    rows = [(f"threshold {threshold:.3g} instead of 0.5", plain, base)]
    rows += [
        (f"augmentation {name}", base, scored(InferenceSettings(threshold, name)))
        for name in TTA_TRANSFORMS
        if name != "none"
    ]
    rows += [
        (
            name,
            base,
            scored(InferenceSettings(threshold, postprocessing=Postprocessing(**{name: True}))),
        )
        for name in ("specks", "holes", "largest")
    ]
    rows.append(("all that validation chose", plain, scored(bundle.inference)))
    print(f"{len(samples)} images of {given.split}; validation chose {bundle.inference}\n")
    print(
        "| choice | mean Dice | gain, 95 % interval | thresholded Jaccard | gain, 95 % "
        "interval |\n|---|---|---|---|---|"
    )
    for name, before, after in rows:
        dice, _, jaccard = compare_models(before, after).values()
        cells = [
            (
                f"{one.second:.4f} | {one.difference:+.4f} ({one.interval[0]:+.4f} to "
                f"{one.interval[1]:+.4f})"
            )
            for one in (dice, jaccard)
        ]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
