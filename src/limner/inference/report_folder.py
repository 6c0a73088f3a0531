"""Where a report goes: beside the model, in a folder of its own for each way of scoring."""

import json
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from limner.inference.report import COMPARISON, REPORT
from limner.inference.scored_data import DEFAULT_SPLIT, ScoredData


def report_folder(
    models: Sequence[Path], scored: ScoredData, *, tta: str | None = None, ensemble: bool = False
) -> Path:
    """Choose the folder for the report of one model, or of several as an ensemble.

    It is `report` beside the first model for its test images. Another split, other data, another
    augmentation and an ensemble are in its name, so that none replaces the report of another.

    Args:
        models: the files of the models.
        scored: what they were scored on.
        tta: the augmentation, where it is not the model's own.
        ensemble: whether the models predict as one.
    """
    others = [path.resolve().parent.name for path in models[1:]] if ensemble else []
    words = [
        "report",
        *([scored.name] if scored.name else []),
        *([] if scored.name or scored.split == DEFAULT_SPLIT else [scored.split]),
        *([f"tta-{tta}"] if tta else []),
        *(["ensemble"] if ensemble else []),
        *others,
    ]
    return _free_folder(_writable(models[0]), "-".join(words), REPORT, scored)


def comparison_folder(models: Sequence[Path], scored: ScoredData) -> Path:
    """Choose the folder for a comparison of two models: beside the second."""
    name = f"comparison-{scored.title}"
    return _free_folder(_writable(models[1]), name, COMPARISON, scored)


def _writable(model: Path) -> Path:
    """The folder of a model, or the working directory where nothing can be written there."""
    try:
        # A read-only disk and a right that is missing show themselves only when one writes
        with tempfile.TemporaryFile(dir=model.parent):
            return model.parent
    except OSError:
        return Path.cwd()


def _free_folder(parent: Path, name: str, marker: str, scored: ScoredData) -> Path:
    """The first folder of the name, with a number if need be, that holds no other data's report."""
    if not scored.name:
        return parent / name
    numbered = (parent / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(folder for folder in numbered if _may_hold(folder / marker, scored.sha256))


def _may_hold(file: Path, sha256: str) -> bool:
    """Whether a report of this data may be written as this file."""
    if not file.is_file():
        return True
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(content.get("data_sha256") == sha256)
