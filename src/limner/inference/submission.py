"""A challenge's submission: written as its scorer reads it, and read again before it leaves."""

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from PIL import Image

from limner.data.images import encode_mask_png, image_size, read_image
from limner.data.postprocess import Postprocessing, count_components_and_holes
from limner.data.scan import find_images
from limner.errors import LimnerError
from limner.files import atomic_file
from limner.inference.predictor import Predictor

Progress = Callable[[Iterable[str], int], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a challenge asks of a submission: how ids look, how files are named, and what each mask
    must be.
    """

    id_pattern: str
    file_name: str
    one_part_without_holes: bool


CHALLENGES: Mapping[str, Challenge] = {
    "isic2018": Challenge(r"ISIC_[0-9]{7}", "{id}_segmentation.png", one_part_without_holes=True)
}
"""ISIC 2018 Task 1 takes the lesion as one connected region without holes (arXiv:1902.03368)."""
FALL_BACK = 0.5
"""Where no pixel reaches the threshold, those with this share of the highest probability are drawn,
since every image has a lesion.
"""


def write_submission(
    predictor: Predictor,
    images: Path,
    out: Path,
    challenge: str,
    progress: Progress = lambda ids, count: ids,
) -> tuple[int, list[str]]:
    """Write the zip of all images' masks; how many there are, and the ids of those whose mask was
    empty before the fall-back.

    Raises LimnerError for an unknown challenge, names without an id or with one that is there
    twice, a model of several classes, a zip that is there already, and for anything that the
    challenge's scorer would refuse or misread.
    """
    rules = challenge_rules(challenge)
    if not predictor.labels.binary:
        raise LimnerError(
            f"{challenge} asks for one kind of object, and the model has the classes "
            f"{', '.join(predictor.labels.names)}. Train on a binary set."
        )
    taken = LimnerError(
        f"{out} is there already. Nothing is overwritten: name another file with --out."
    )
    if out.exists():
        raise taken
    paths = images_by_id(images, rules)
    files: dict[str, bytes] = {}
    empty = []
    for id in progress(list(paths), len(paths)):
        prediction = predictor.predict(read_image(paths[id]))
        inside = prediction.mask == 1
        if not inside.any():
            empty.append(id)
            inside = prediction.probabilities[0] >= FALL_BACK * prediction.probabilities[0].max()
        if rules.one_part_without_holes:
            inside = (
                Postprocessing(keep_largest=True, fill_holes=True)(
                    inside.astype(np.uint8), predictor.labels
                )
                == 1
            )
        files[rules.file_name.format(id=id)] = encode_mask_png(inside.astype(np.uint8) * 255)
    content = zip_files(files)
    if wrong := find_problems(
        content, {id: image_size(path) for id, path in paths.items()}, challenge
    ):
        raise LimnerError(
            "the submission would be refused or misread, and was not written: "
            f"{'; '.join(wrong[:5])}."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_file(out, new=True) as part:
            part.write_bytes(content)
    except FileExistsError as error:
        raise taken from error
    return len(files), empty


def challenge_rules(challenge: str) -> Challenge:
    if challenge not in CHALLENGES:
        raise LimnerError(
            f"--challenge {challenge} is not known. Choose {' or '.join(CHALLENGES)}."
        )
    return CHALLENGES[challenge]


def images_by_id(images: Path, rules: Challenge) -> dict[str, Path]:
    """The images of a folder by their ids, in order. Raises LimnerError for names without an id,
    and ids that are there twice.
    """
    found: dict[str, Path] = {}
    nameless, twice = [], []
    for path in find_images(images) if images.is_dir() else []:
        match = re.findall(rules.id_pattern, path.stem)
        if len(match) != 1:
            nameless.append(path.name)
        elif match[0] in found:
            twice.append(path.name)
        else:
            found[match[0]] = path
    if nameless:
        raise LimnerError(
            f"{_some(nameless)} in {images} have no id like ISIC_0012345 in their name. The "
            "scorer finds masks by it: rename or remove them."
        )
    if twice:
        raise LimnerError(
            f"{_some(twice)} in {images} have an id that another image has. The scorer "
            "refuses two masks of one id: remove them."
        )
    if not found:
        raise LimnerError(
            f"{images} {'holds no image' if images.is_dir() else 'is no folder'}. Give the "
            "folder of the challenge's images."
        )
    return dict(sorted(found.items()))


def zip_files(files: Mapping[str, bytes]) -> bytes:
    """A zip of files, the same for the same content."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0)), data)
    return content.getvalue()


def find_problems(
    content: bytes, sizes_px: Mapping[str, tuple[int, int]], challenge: str
) -> list[str]:
    """What a challenge's scorer would refuse or misread in a zip of masks of images of these sizes
    (height, width), by id; nothing where it is right.
    """
    rules = challenge_rules(challenge)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            files = [(entry.filename, archive.read(entry)) for entry in entries]
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        return [f"it is no zip that can be read ({error})"]
    names = [name for name, _ in files]
    expected = {rules.file_name.format(id=id): size for id, size in sizes_px.items()}
    found = [
        f"{name} is there {names.count(name)} times"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    found += [f"{name} is missing" for name in expected if name not in names]
    found += [
        f"{name} belongs to no image" for name in dict.fromkeys(names) if name not in expected
    ]
    for name, data in files:
        if name in expected and (wrong := _wrong(data, expected[name], rules)):
            found.append(f"{name} {wrong}")
    return found


def _wrong(data: bytes, size_px: tuple[int, int], rules: Challenge) -> str | None:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            mode, pixels = image.mode, np.asarray(image)
    except Exception as error:  # noqa: BLE001
        # A damaged file may raise anything
        return f"is no PNG that decodes ({error})"
    if mode != "L":
        return f"has the mode {mode}; it must have a single channel of 8 bits (L)"
    if pixels.shape != size_px:
        return f"is {pixels.shape[1]}x{pixels.shape[0]}; its image is {size_px[1]}x{size_px[0]}"
    values = np.unique(pixels).tolist()
    if not set(values) <= {0, 255}:
        return f"has the values {', '.join(map(str, values[:4]))}; only 0 and 255 are read as meant"
    return _misshapen(pixels == 255) if rules.one_part_without_holes else None


def _misshapen(inside: Bool[ndarray, "h w"]) -> str | None:
    parts, holes = count_components_and_holes(inside)
    if parts != 1:
        return f"has {parts} parts; it must be one connected region"
    return f"has {holes} holes; it must have none" if holes else None


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} others' if len(names) > 3 else ''}"
