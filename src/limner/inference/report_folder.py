"""Where a report goes: beside the model, in a folder of its own for each way of scoring."""

import json
import tempfile
from collections.abc import Mapping, Sequence
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
    return _free_folder(models[0], words, REPORT, scored, list(map(resolved, models)))


def comparison_folder(models: Sequence[Path], scored: ScoredData) -> Path:
    """Choose the folder for a comparison of two models: beside the second."""
    words = ["comparison", scored.title]
    return _free_folder(models[1], words, COMPARISON, scored, list(map(resolved, models)))


def resolved(model: Path) -> str:
    """The file of a model as reports name it, whatever the working directory is."""
    return str(model.resolve())


def _writable(model: Path) -> bool:
    """Whether something can be written beside a model."""
    try:
        # A read-only disk and a right that is missing show themselves only when one writes
        with tempfile.TemporaryFile(dir=model.parent):
            return True
    except OSError:
        return False


def _free_folder(
    model: Path, words: Sequence[str], marker: str, scored: ScoredData, models: Sequence[str]
) -> Path:
    """The first folder of these words, with a number if need be, that holds no other report.

    Where nothing can be written beside the model it is in the working directory, and the name of
    the model's run is in its name.
    """
    kind, *rest = words
    expected: dict[str, object] = {"data_sha256": scored.sha256} if scored.name else {}
    parent, name = model.parent, "-".join(words)
    if not _writable(model):
        parent, name = Path.cwd(), "-".join([kind, model.resolve().parent.name, *rest])
        expected["model_files"] = models
    numbered = (parent / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(folder for folder in numbered if _may_hold(folder / marker, expected))


def _may_hold(file: Path, expected: Mapping[str, object]) -> bool:
    """Whether a report of these entries may be written as this file."""
    if not expected:
        return True
    if not file.is_file():
        return True
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return all(content.get(key) == value for key, value in expected.items())
