"""The names of the files in a run folder."""

from pathlib import Path

RECIPE, RECEIPT = "recipe.toml", "receipt.json"
LABELS, SPLIT = "labels.json", "split.json"
CONTENTS = "contents.json"
"""What the images of the run are, whatever their names."""
FINGERPRINTS = "fingerprints.json"
"""By what the images of the run are known when they were saved anew."""
EVENTS, CURVE, VALIDATION_IMAGES = "events.jsonl", "curve.svg", "validation.jpg"
MODEL = "model.safetensors"
"""The best model so far."""
ORIGIN = "origin.safetensors"
"""The model that the run goes on from."""
WORSE = "worse.safetensors"
"""A new model that was worse than the one that the run goes on from."""
CHECKPOINTS, STATE, LOCK = "last", "state.json", "lock"
"""The folder of the checkpoints, what a run that has ended leaves, and the lock of a process that
trains it.
"""
CROSS_VALIDATION = "cross-validation.json"
"""In the folder of a cross-validation, which holds a run for each fold."""


def model_path(path: Path) -> Path:
    """The model file that a path stands for: itself, or the model of a run's folder."""
    return path / MODEL if path.is_dir() else path
