"""What is wrong with a dataset: findings, each with a stable code and a severity."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from limner.data.annotation_mask import AnnotationMask
from limner.data.united_mask import UnitedMask

Severity = Literal["error", "warning", "note"]
"""An error stops training. A warning is worth a look. A note says what limner does by itself."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The worst first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of a dataset.

    `code` is stable, for programs. `file` is empty where the whole dataset is meant. `message` says
    what is wrong and how to mend it; lines after the first are to be run or
    copied as they stand. `ids` are the samples that show it.
    """

    code: str
    severity: Severity
    file: str
    message: str
    ids: tuple[str, ...] = ()


def file_finding(
    code: str,
    severity: Severity,
    file: Path | UnitedMask | AnnotationMask | str,
    message: str,
    *ids: str,
) -> Finding:
    """Make a finding about one file; its message is the file's name and then `message`."""
    return Finding(code, severity, str(file), f"{file} {message}", ids)
