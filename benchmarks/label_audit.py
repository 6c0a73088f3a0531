"""How well `limner audit` finds masks that were spoilt on purpose, beside two plain rankings.

    python benchmarks/spoilt_masks.py DATA SPOILT
    limner train SPOILT --folds 3 --minutes 15 --out FOLDS
    limner audit SPOILT --model FOLDS --out AUDIT
    python benchmarks/label_audit.py SPOILT FOLDS AUDIT

prints the average precision of the audit's ranking for all kinds of errors and for each; of the
same images ranked by their Dice with the prediction alone; and by the softmin of the pixels' label
quality (temperature 0.1), the score of arXiv:2307.05080, from the same predictions. Masks that are
wrong in the set itself count as false alarms.
"""

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np

from limner.data.check import check, require_valid
from limner.data.scan import scan
from limner.inference.audit_record import AUDIT_FILE, AuditFile
from limner.inference.calibration import with_background
from limner.labels import VOID
from limner.training.label_audit import find_judges, load_judge_models

TEMPERATURE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("audit", type=Path)
    arguments = parser.parse_args()
    with (arguments.data / "spoilt.csv").open(newline="") as file:
        spoilt = {row["id"]: row["kind"] for row in csv.DictReader(file)}
    masks = AuditFile.read(arguments.audit / AUDIT_FILE).masks
    kinds = np.array([spoilt.get(mask.id, "") for mask in masks])
    softmin = softmin_by_id(arguments.data, arguments.model)
    rankings = {
        "limner audit": np.array([mask.probability for mask in masks]),
        "Dice alone": np.array([1 - (mask.dice or 0) for mask in masks]),
        "softmin (2307.05080)": np.array([1 - softmin[mask.id] for mask in masks]),
    }
    names = sorted(set(kinds) - {""})
    print(f"{len(masks)} masks, {len(spoilt)} spoilt")
    print(f"| ranking | all | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}")
    for ranking, scores in rankings.items():
        cells = [average_precision(scores, kinds != "")]
        for name in names:
            kept = (kinds == "") | (kinds == name)
            cells.append(average_precision(scores[kept], kinds[kept] == name))
        print(f"| {ranking} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    print("\nwhat each kind is called:")
    for name in names:
        called = Counter(mask.kind for mask, kind in zip(masks, kinds, strict=True) if kind == name)
        print(f"  {name}: {', '.join(f'{count} {kind}' for kind, count in called.most_common())}")
    likely = rankings["limner audit"] >= 0.5
    print(f"at 50 % or more: {likely.sum()} masks, {(likely & (kinds != '')).sum()} of them spoilt")


def softmin_by_id(data: Path, model: Path) -> dict[str, float]:
    """The softmin of each mask, from the predictions of the models that never saw the image."""
    dataset = scan(data)
    result = check(dataset)
    labels = require_valid(result)
    scores = {}
    for judge in find_judges(load_judge_models(model), dataset.samples, result):
        predictor = judge.predictor()
        for sample in judge.samples:
            truth = sample.class_index(labels)
            prediction = predictor.predict(sample.read_image(channels=predictor.channels))
            classes = with_background(prediction.calibration(prediction.probabilities))
            rows, columns = np.nonzero(truth != VOID)
            quality = classes[truth[rows, columns], rows, columns]
            weights = np.exp((1 - quality) / TEMPERATURE)
            scores[sample.id] = float((quality * weights).sum() / weights.sum())
    return scores


def average_precision(scores: np.ndarray, wrong: np.ndarray) -> float:
    """The mean over the wrong masks of the precision at their rank."""
    hits = wrong[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / max(hits.sum(), 1))


if __name__ == "__main__":
    main()
