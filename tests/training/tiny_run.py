"""A run that takes a second: its recipe, and what its weights are told apart by."""

import hashlib
from collections.abc import Iterable

from limner.recipe import parse_recipe
from limner.training.events import Event, Note
from limner.training.run import Run

# Whether compiling pays is tested in test_plan.py, and trackers in test_trackers.py
TINY = parse_recipe(
    {
        "data": {"size_px": [16, 16]},
        "model": {"widths": [2, 4, 8]},
        "train": {
            "epochs": 3,
            "batch_size": 4,
            "seed": 5,
            "device": "cpu",
            "precision": "float32",
            "compile": False,
            "trackers": [],
        },
    }
)


def hashes(run: Run) -> str:
    """A SHA-256 of the best model and of the last checkpoint."""
    return hashlib.sha256(
        run.model.read_bytes() + run.checkpoints.paths()[-1].read_bytes()
    ).hexdigest()


def notes_of(events: Iterable[Event]) -> list[str]:
    """The notes of a run, without the one that four validation images choose no settings."""
    texts = [event.text for event in events if isinstance(event, Note)]
    return [text for text in texts if "only what helps on other sets is taken" not in text]
