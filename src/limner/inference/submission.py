"""A challenge's submission: written as its scorer reads it, and checked before it is written."""

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray
from PIL import Image

from limner.data.folder_listing import find_images
from limner.data.images import image_size, read_image
from limner.data.parallel import Progress, with_progress
from limner.data.writers.png import encode_mask_png
from limner.errors import LimnerError
from limner.files import already_exists, atomic_file, require_new
from limner.inference.postprocess import count_components_and_holes, postprocess
from limner.inference.prediction import Prediction
from limner.inference.predictor import Predictor
from limner.labels import Labels
from limner.model.metadata import PostprocessSettings
from limner.name_list import list_some, list_some_lines


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a challenge asks of a submission."""

    id_pattern: str
    """A regular expression that matches an image's id in its name."""
    file_name: str
    """The name of a mask, in which {id} stands for the id."""
    single_region: bool
    """Whether each mask must be one connected region without holes."""


CHALLENGES: Mapping[str, Challenge] = {
    # Task 1 takes the lesion as one connected region without holes (arXiv:1902.03368)
    "isic2018": Challenge(r"ISIC_[0-9]{7}", "{id}_segmentation.png", single_region=True)
}
"""By the names of `limner submit --challenge`."""
FALLBACK_SHARE = 0.5
"""Where no pixel reaches the threshold, those with this share of the highest probability are taken.

Every image of ISIC 2018 has a lesion.
"""


def write_submission(
    predictor: Predictor,
    images: Path,
    out: Path,
    challenge: str,
    progress: Progress | None = None,
) -> tuple[int, list[str]]:
    """Write the zip of all images' masks.

    Args:
        predictor: of a binary model.
        images: the folder of the challenge's images.
        out: a new zip file.
        challenge: a name in `CHALLENGES`.
        progress: wraps the images, to show a progress bar.

    Returns how many masks there are, and the ids of those that were empty and hold the most
    probable pixels instead.

    Raises LimnerError for an unknown challenge, for names without an id or two with the same, for a
    model of several classes, for a zip that exists, and for anything that the challenge's scorer
    would refuse or misread.
    """
    rules = challenge_rules(challenge)
    if not predictor.labels.binary:
        raise LimnerError(
            f"{challenge} asks for one kind of object, and the model has the classes "
            f"{', '.join(predictor.labels.names)}. Train on a binary set."
        )
    require_new(out)
    paths = images_by_id(images, rules)
    files: dict[str, bytes] = {}
    empty = []
    for id in with_progress(iter(paths), len(paths), progress):
        prediction = predictor.predict(read_image(paths[id], channels=predictor.channels))
        if not (prediction.mask == 1).any():
            empty.append(id)
        mask = _submitted_mask(prediction, predictor.labels, rules)
        files[rules.file_name.format(id=id)] = encode_mask_png(mask * np.uint8(255))
    content = zip_files(files)
    sizes_px = {id: image_size(path) for id, path in paths.items()}
    if problems := find_problems(content, sizes_px, challenge):
        raise LimnerError(
            "the submission would be refused or misread, and was not written:\n"
            f"{list_some_lines(problems)}"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_file(out, new=True) as part:
            part.write_bytes(content)
    except FileExistsError as error:
        raise already_exists(out) from error
    return len(files), empty


def challenge_rules(challenge: str) -> Challenge:
    """Return the rules of a challenge. Raises LimnerError for one that is not known."""
    if challenge not in CHALLENGES:
        raise LimnerError(
            f"--challenge {challenge} is not known. Choose {' or '.join(CHALLENGES)}."
        )
    return CHALLENGES[challenge]


def images_by_id(images: Path, rules: Challenge) -> dict[str, Path]:
    """Find the images of a folder, by their ids in ascending order.

    Raises LimnerError where there is none, for names without an id, and for an id that two have.
    """
    paths: dict[str, Path] = {}
    without_id, duplicates = [], []
    for path in find_images(images) if images.is_dir() else []:
        ids = re.findall(rules.id_pattern, path.stem)
        if len(ids) != 1:
            without_id.append(path.name)
        elif ids[0] in paths:
            duplicates.append(path.name)
        else:
            paths[ids[0]] = path
    if without_id:
        raise LimnerError(
            f"{list_some(without_id)} in {images} have no id like ISIC_0012345 in their name. The "
            "scorer finds masks by it: rename or remove them."
        )
    if duplicates:
        raise LimnerError(
            f"{list_some(duplicates)} in {images} have an id that another image has. The scorer "
            "refuses two masks of one id: remove them."
        )
    if not paths:
        raise LimnerError(
            f"{images} {'holds no image' if images.is_dir() else 'is not a folder'}. Give the "
            "folder of the challenge's images."
        )
    return dict(sorted(paths.items()))


def zip_files(files: Mapping[str, bytes]) -> bytes:
    """Zip files by their names; the same content gives the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0)), data)
    return content.getvalue()


def find_problems(
    content: bytes, sizes_px: Mapping[str, tuple[int, int]], challenge: str
) -> list[str]:
    """Find what a challenge's scorer would refuse or misread in a zip of masks.

    Args:
        content: the zip.
        sizes_px: height and width of each image, by its id.
        challenge: a name in `CHALLENGES`.

    Returns a message for each problem; none where the zip is right.
    """
    rules = challenge_rules(challenge)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            files = [(entry.filename, archive.read(entry)) for entry in entries]
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        return [f"it is not a zip that can be read ({error})"]
    names = [name for name, _ in files]
    expected = {rules.file_name.format(id=id): size_px for id, size_px in sizes_px.items()}
    distinct = dict.fromkeys(names)
    problems = [
        f"{name} is there {names.count(name)} times" for name in distinct if names.count(name) > 1
    ]
    problems += [f"{name} is missing" for name in expected if name not in distinct]
    problems += [f"{name} belongs to no image" for name in distinct if name not in expected]
    for name, data in files:
        if name in expected and (problem := _find_mask_problem(data, expected[name], rules)):
            problems.append(f"{name} {problem}")
    return problems


def _submitted_mask(
    prediction: Prediction, labels: Labels, rules: Challenge
) -> UInt8[ndarray, "h w"]:
    """The mask of 0 and 1 that is submitted: never empty, and one region where the rules ask."""
    mask = prediction.mask == 1
    if not mask.any():
        probability = prediction.probabilities[0]
        mask = probability >= FALLBACK_SHARE * probability.max()
    if not rules.single_region:
        return mask.astype(np.uint8)
    settings = PostprocessSettings(keep_largest=True, fill_holes=True)
    return (postprocess(mask.astype(np.uint8), settings, labels) == 1).astype(np.uint8)


def _find_mask_problem(data: bytes, size_px: tuple[int, int], rules: Challenge) -> str | None:
    """What is wrong with a mask's PNG, if anything."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            mode, pixels = image.mode, np.asarray(image)
    # A damaged file may raise anything
    except Exception as error:  # noqa: BLE001
        return f"is not a PNG that decodes ({error})"
    if mode != "L":
        return f"has the mode {mode}; it must have a single channel of 8 bits (L)"
    if pixels.shape != size_px:
        return f"is {pixels.shape[1]}x{pixels.shape[0]}; its image is {size_px[1]}x{size_px[0]}"
    values = np.unique(pixels).tolist()
    if not set(values) <= {0, 255}:
        return f"has the values {', '.join(map(str, values[:4]))}; only 0 and 255 are read as meant"
    return _find_region_problem(pixels == 255) if rules.single_region else None


def _find_region_problem(mask: Bool[ndarray, "h w"]) -> str | None:
    components, holes = count_components_and_holes(mask)
    if components != 1:
        return f"has {components} parts; it must be one connected region"
    return f"has {holes} holes; it must have none" if holes else None
