"""Warm start: train on from an earlier model with more data.

It owns what the new run inherits and how its samples are split.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limner.data.check import CheckResult
from limner.data.sample import Sample
from limner.data.split_record import known_contents
from limner.data.splits import SplitSamples, apply_split, split_units
from limner.errors import LimnerError
from limner.labels import Labels, require_same_classes
from limner.model.bundle import Bundle
from limner.recipe import Recipe
from limner.training.run_files import model_path

INHERITED_SECTIONS = ("model", "data", "augment")
INHERITED_TRAIN_KEYS = (
    "loss",
    "class_weights",
    "label_smoothing",
    "batch_size",
    "optimiser",
    "weight_decay",
    "ema_decay",
    "max_grad_norm",
)
"""The length of the training and the machine are planned anew."""
LEARNING_RATE_FACTOR = 1 / 3
"""A lower learning rate, so that what was learned is not unlearned at the start."""


def load_origin(path: Path) -> Bundle:
    """Load the model to start from, by its run's folder or its file.

    Raises LimnerError where there is none, and for an ensemble.
    """
    bundle = Bundle.load(model_path(path))
    if bundle.members:
        raise LimnerError(
            f"{path} holds {bundle.members} networks, and --from goes on with one. Give one of its "
            "folds, such as fold-1; or train a new network that learns from all with --teacher."
        )
    return bundle


def inherited_values(recipe: Recipe, origin: Bundle) -> dict[str, Any]:
    """The values by key that a new recipe takes from the old one.

    Keys that the user set are left out. Raises LimnerError where they describe another network.
    """
    _require_same_network(recipe, origin.recipe)
    values = section_values(origin.recipe)
    train = origin.recipe.train
    # Where the origin was itself a warm start, its rate is the lower one already
    factor = 1 if origin.receipt.get("continues") else LEARNING_RATE_FACTOR
    values |= {f"train.{name}": getattr(train, name) for name in INHERITED_TRAIN_KEYS}
    values["train.learning_rate"] = train.learning_rate * factor
    explicit = recipe.explicit_keys()
    return {key: value for key, value in values.items() if key not in explicit}


def section_values(recipe: Recipe) -> dict[str, Any]:
    """The values of the `INHERITED_SECTIONS` of an earlier model's recipe, by key."""
    return {
        f"{section}.{name}": value
        for section in INHERITED_SECTIONS
        for name, value in getattr(recipe, section).model_dump(exclude_none=True).items()
    }


def _require_same_network(recipe: Recipe, old: Recipe) -> None:
    explicit = {key for key in recipe.explicit_keys() if key.startswith("model.")}
    names = [key.removeprefix("model.") for key in sorted(explicit)]
    changed = [
        f"model.{name}" for name in names if getattr(recipe.model, name) != getattr(old.model, name)
    ]
    if changed:
        raise LimnerError(
            f"--from goes on with the network of the run, and {', '.join(changed)} would be "
            "another. Leave it out, or train anew without --from."
        )


def inherit_split(
    samples: Sequence[Sample], result: CheckResult, labels: Labels, origin: Bundle
) -> SplitSamples:
    """Split as the old run did, so that what it was not trained on stays unseen.

    Images are known by their content, also under another name. One that was saved anew since is
    known by its looks or its name: what was held out is not trained on. New samples go where their
    copies and their group are. The others go where the layout puts them, or are trained on. Raises
    LimnerError where the classes differ, or where nothing is left to validate on.
    """
    require_same_classes(origin.labels, "the run", labels, "the data")
    infos, record = result.info_by_id, origin.split_record
    contents = known_contents(samples, infos)
    thumbnails = {id: info.thumbnail for id, info in infos.items()}
    copies = record.near_copies(samples, contents, thumbnails)
    sides = record.assign(samples, contents, copies)
    known_by_name = apply_split(sides.pop("new"), origin.split)
    new_ids = {sample.id for sample in known_by_name.pop("new")}
    sides = {side: members + known_by_name[side] for side, members in sides.items()}
    side_by_id = {sample.id: side for side, members in sides.items() for sample in members}
    for unit in split_units(samples, result.clusters):
        candidates: set[str | None] = {
            side_by_id[sample.id] for sample in unit if sample.id in side_by_id
        } or {sample.split for sample in unit}
        # What is held out on one side must not be trained on
        side = next((side for side in ("test", "val") if side in candidates), "train")
        sides[side] += [sample for sample in unit if sample.id in new_ids]
    if not sides["val"] or not sides["train"]:
        raise LimnerError(
            "the data has none of the samples that the run was validated on. Give the next "
            "revision of its data, or train anew without --from."
        )
    return {side: sorted(group, key=lambda sample: sample.id) for side, group in sides.items()}
