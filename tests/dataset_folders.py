"""Files of small datasets, and what a scan makes of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from limner.data.dataset import Dataset
from limner.data.scan import scan
from shapes import disc


def save_image(path: Path, pixels: np.ndarray | None = None) -> None:
    """Write an image, of a disc where nothing else is wanted, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(disc() if pixels is None else pixels).save(path)


def save_images(root: Path, *names: str) -> None:
    """Write the same image under several names below a folder."""
    for name in names:
        save_image(root / name)


def ids_and_splits(root: Path) -> list[tuple[str, str | None]]:
    """The id and the split of each sample that a scan finds."""
    return [(sample.id, sample.split) for sample in scan(root).samples]


def not_annotated(dataset: Dataset) -> str:
    """What a scan says of images of which a tool's files say nothing."""
    (finding,) = (each for each in dataset.findings if each.code == "not-annotated")
    assert finding.severity == "note"
    return finding.message
