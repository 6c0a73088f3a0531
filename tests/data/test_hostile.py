"""What people's folders hold: each case spoils a sound set in one way, and the check catches it, or
mends it and trains on.
"""

import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from limner.data.check import Finding, check
from limner.data.scan import scan
from limner.errors import LimnerError

H, W, COUNT = 40, 52, 12
Spoil = Callable[[Path], object]


def picture(number: int) -> np.ndarray:
    """A picture unlike those of other numbers."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 255, (5, 6, 3)).astype(np.uint8)).resize(
        (W, H), Image.Resampling.BICUBIC
    )
    return np.clip(np.asarray(coarse, np.int16) + rng.integers(-12, 12, (H, W, 3)), 0, 255).astype(
        np.uint8
    )


def mask(number: int, value: int = 255) -> np.ndarray:
    y, x = np.mgrid[:H, :W]
    return (
        (((y - 18 - number % 5) ** 2 + (x - 24 - number % 7) ** 2) < 60 + 12 * number) * value
    ).astype(np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(COUNT):
        Image.fromarray(picture(number)).save(folder / "images" / f"p{number:02}.png")
        Image.fromarray(mask(number)).save(folder / "masks" / f"p{number:02}.png")
    return folder


IMAGE, MASK = "images/p03.png", "masks/p03.png"


def put(name: str, pixels: np.ndarray | Image.Image, **options: object) -> Spoil:
    """Write an image in the place of another, as the ending of `name` says."""

    def spoil(root: Path) -> None:
        path = root / name
        for old in path.parent.glob(f"{path.stem}.*"):
            old.unlink()
        if path.suffix == ".tif":
            tifffile.imwrite(path, np.asarray(pixels), **options)
        else:
            (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(
                path, **options
            )

    return spoil


def write(name: str, content: bytes) -> Spoil:
    return lambda root: (root / name).write_bytes(content)


def cut(name: str, share: float) -> Spoil:
    return lambda root: (root / name).write_bytes(
        (root / name).read_bytes()[: int(share * (root / name).stat().st_size)]
    )


def flip_bit(name: str, share: float) -> Spoil:
    def spoil(root: Path) -> None:
        content = bytearray((root / name).read_bytes())
        content[int(share * len(content))] ^= 0x10
        (root / name).write_bytes(content)

    return spoil


def each_mask(
    change: Callable[[int], np.ndarray | Image.Image], suffix: str = "png", **options: object
) -> Spoil:
    def spoil(root: Path) -> None:
        for number in range(COUNT):
            put(f"masks/p{number:02}.{suffix}", change(number), **options)(root)

    return spoil


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def short_png(name: str) -> Spoil:
    """A PNG that is sound but for half of its rows, which were never written."""

    def spoil(root: Path) -> None:
        rows = bytes(3 * W + 1) * (H // 2)
        chunks = [
            (b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        ]
        body = b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
        (root / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)

    return spoil


def both(*spoils: Spoil) -> Spoil:
    return lambda root: [spoil(root) for spoil in spoils]


def copied(
    source: str, target: str, change: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels
) -> Spoil:
    """The picture of one sample in the place of another's, mask as it was."""

    def spoil(root: Path) -> None:
        pixels = change(np.asarray(Image.open(root / "images" / f"{source}.png")))
        put(f"images/{target}.png", pixels)(root)
        put(
            f"masks/{target}.png",
            np.asarray(
                Image.fromarray(mask(3)).resize(pixels.shape[1::-1], Image.Resampling.NEAREST)
            ),
        )(root)

    return spoil


def split_folders(root: Path) -> None:
    """p00 to p05 train, p06 to p08 val, the rest test."""
    for number in range(COUNT):
        side = "train" if number < 6 else "val" if number < 9 else "test"
        for kind in ("images", "masks"):
            (root / side / kind).mkdir(parents=True, exist_ok=True)
            (root / kind / f"p{number:02}.png").rename(root / side / kind / f"p{number:02}.png")
    for kind in ("images", "masks"):
        (root / kind).rmdir()


def leak(source: str, target: str) -> Spoil:
    def spoil(root: Path) -> None:
        split_folders(root)
        (root / target).write_bytes((root / source).read_bytes())

    return spoil


def with_palette(number: int) -> Image.Image:
    image = Image.fromarray(mask(number, 1), mode="P")
    image.putpalette([0, 0, 0, 224, 64, 64])
    return image


def smooth_mask(number: int) -> np.ndarray:
    big = Image.fromarray(mask(number)).resize((4 * W, 4 * H), Image.Resampling.NEAREST)
    return np.asarray(big.resize((W, H), Image.Resampling.BOX))


def coloured(number: int) -> np.ndarray:
    return np.where(
        mask(number)[..., None] > 0,
        np.array([128, 64, 128], np.uint8),
        np.array([0, 0, 0], np.uint8),
    )


def salted(number: int) -> np.ndarray:
    noise = np.random.default_rng(number).random((H, W)) < 0.02
    return np.where(noise, 255 - mask(number), mask(number)).astype(np.uint8)


CAUGHT: dict[str, tuple[Spoil, str, str, str, str]] = {
    # what people do: (how, code, severity, what the message names, a word of the cure)
    "a mask is missing": (
        lambda r: (r / MASK).unlink(),
        "missing-mask",
        "error",
        "p03.png",
        "Add a mask",
    ),
    "an image is missing": (
        lambda r: (r / IMAGE).unlink(),
        "missing-image",
        "error",
        "p03.png",
        "Add an image",
    ),
    "an empty file": (write(IMAGE, b""), "unreadable-image", "error", "it is empty", "export it"),
    "a text": (write(IMAGE, b"not found"), "unreadable-image", "error", "p03.png", "export"),
    "a web page saved as an image": (
        write(IMAGE, b"<!doctype html>"),
        "unreadable-image",
        "error",
        "HTML",
        "export",
    ),
    "a pointer of Git LFS": (
        write(IMAGE, b"version https://git-lfs.github.com/spec/v1\n"),
        "unreadable-image",
        "error",
        "p03.png",
        "git lfs pull",
    ),
    "an image cut in half": (
        cut(IMAGE, 0.5),
        "unreadable-image",
        "error",
        "p03.png is damaged",
        "copy or export it again",
    ),
    "a mask cut near its end": (
        cut(MASK, 0.9),
        "unreadable-mask",
        "error",
        "p03.png is damaged",
        "copy or export it again",
    ),
    "a flipped bit in an image": (
        flip_bit(IMAGE, 0.5),
        "unreadable-image",
        "error",
        "checksum",
        "copy or export it again",
    ),
    "a flipped bit in a mask": (
        flip_bit(MASK, 0.6),
        "unreadable-mask",
        "error",
        "checksum",
        "copy or export it again",
    ),
    "a JPEG cut in the middle": (
        both(put("images/p03.jpg", picture(3)), cut("images/p03.jpg", 0.6)),
        "unreadable-image",
        "error",
        "p03.jpg",
        "copy or export",
    ),
    "a JPEG cut before its end mark": (
        both(put("images/p03.jpg", picture(3)), cut("images/p03.jpg", 0.97)),
        "unreadable-image",
        "error",
        "p03.jpg",
        "copy",
    ),
    "a TIFF without its last rows": (
        both(put("images/p03.tif", picture(3)), cut("images/p03.tif", 0.8)),
        "unreadable-image",
        "error",
        "p03.tif",
        "copy",
    ),
    "a BMP without its last rows": (
        both(put("images/p03.bmp", picture(3)), cut("images/p03.bmp", 0.8)),
        "unreadable-image",
        "error",
        "p03.bmp",
        "copy",
    ),
    "a photograph of a telephone": (
        write("images/p12.heic", b"\x00\x00\x00\x18ftypheic"),
        "foreign-format",
        "warning",
        "p12.heic",
        "export it",
    ),
    "a part of the set without masks": (
        lambda r: (
            (r / "extra/images").mkdir(parents=True),
            put("extra/images/q.png", picture(70))(r),
        ),
        "unused-files",
        "warning",
        "q.png",
        "missing its masks",
    ),
    "stacks of different length": (
        both(
            put(
                "images/p03.tif",
                np.stack([picture(i)[..., 0] for i in (3, 80, 81)]),
                photometric="minisblack",
            ),
            put("masks/p03.tif", np.stack([mask(i) for i in (3, 4)]), photometric="minisblack"),
        ),
        "pages-differ",
        "error",
        "holds 2 images",
        "Export both",
    ),
    "a PNG whose pixels end in the middle": (
        short_png("images/p03.png"),
        "unreadable-image",
        "error",
        "p03.png is damaged",
        "copy or export it again",
    ),
    "a WebP cut": (
        both(put("images/p03.webp", picture(3)), cut("images/p03.webp", 0.8)),
        "unreadable-image",
        "error",
        "p03.webp",
        "copy",
    ),
    "a GIF": (
        both(put("images/p03.gif", picture(3)), lambda r: (r / "images/p03.gif").rename(r / IMAGE)),
        "unreadable-image",
        "error",
        "GIF",
        "export",
    ),
    "an animated WebP": (
        put(
            "images/p03.webp",
            Image.fromarray(picture(3)),
            save_all=True,
            append_images=[Image.fromarray(picture(4))],
        ),
        "unreadable-image",
        "error",
        "animation of 2 frames",
        "export the frames",
    ),
    "values that are no numbers": (
        put("images/p03.tif", np.full((H, W), np.nan, np.float32)),
        "unreadable-image",
        "error",
        "p03.tif",
        "finite",
    ),
    "seven channels among colours": (
        put(
            "images/p03.tif",
            np.dstack([picture(3)] * 3)[..., :7],
            photometric="minisblack",
            planarconfig="contig",
        ),
        "channels-differ",
        "error",
        "has 7 channels, and most images have 3",
        "Export it",
    ),
    "a folder in the place of a mask": (
        lambda r: ((r / MASK).unlink(), (r / MASK).mkdir()),
        "missing-mask",
        "error",
        "p03.png",
        "Add a mask",
    ),
    "a mask of probabilities": (
        put("masks/p03.tif", mask(3) / np.float32(700)),
        "unreadable-mask",
        "error",
        "p03.tif",
        "classes' numbers",
    ),
    "a mask of negative numbers": (
        put("masks/p03.tif", mask(3).astype(np.int16) - 9),
        "unreadable-mask",
        "error",
        "p03.tif",
        "classes' numbers",
    ),
    "a half transparent mask": (
        put(MASK, np.dstack([coloured(3), np.maximum(mask(3) // 2, 20)])),
        "unreadable-mask",
        "error",
        "half transparent",
        "without alpha",
    ),
    "a mask of another size": (
        put(MASK, mask(3)[:-3]),
        "size-differs",
        "error",
        "52x37 but its image is 52x40",
        "export this mask again",
    ),
    "a transposed mask": (
        put(MASK, mask(3).T.copy()),
        "size-differs",
        "error",
        "looks transposed",
        "export this mask again",
    ),
    "a photograph that EXIF turns, and a mask that it does not": (
        put("images/p03.jpg", picture(3), exif=exif(6)),
        "size-differs",
        "error",
        "turned by its EXIF orientation and the mask is not",
        "export this mask again",
    ),
    "a photograph that EXIF turns over, and a mask that it does not": (
        put("images/p03.jpg", picture(3), exif=exif(3)),
        "orientation-differs",
        "warning",
        "another EXIF orientation",
        "drawn on the image",
    ),
    "an image in the place of its mask": (
        put(MASK, picture(3)),
        "mask-values",
        "error",
        "different colours",
        "labels.toml",
    ),
    "a grey image in the place of its mask": (
        put(MASK, picture(3)[..., 0]),
        "mask-values",
        "error",
        "",
        "labels.toml",
    ),
    "masks of numbered objects": (
        both(each_mask(lambda n: np.arange(H * W).reshape(H, W).astype(np.uint16) // 20)),
        "mask-values",
        "error",
        "number objects one by one",
        '"1-65535"',
    ),
    "some masks of 0 and 1, some of 0 and 255": (
        put(MASK, mask(3, 1)),
        "mask-values",
        "error",
        "p03.png",
        "labels.toml",
    ),
    "class indices saved as JPEG": (
        each_mask(lambda n: mask(n, 4) + np.roll(mask(n, 2), 20, 1), "jpg", quality=30),
        "mask-values",
        "error",
        "JPEG",
        "Export them again as PNG",
    ),
    "grey levels that are neither two nor indices": (
        each_mask(lambda n: mask(n, 100) + np.roll(mask(n, 90), 9, 1)),
        "mask-values",
        "error",
        "100",
        "labels.toml",
    ),
    "a class file that names other values": (
        write("classes.txt", b"0 skin\n1 lesion\n"),
        "mask-values",
        "error",
        "pixel values 255",
        "Add a line",
    ),
    "a class file that leaves a value out": (
        both(write("classes.txt", b"0 skin\n1 lesion\n"), put(MASK, mask(3, 7))),
        "mask-values",
        "error",
        "pixel values 7, 255",
        "Add a line",
    ),
    "a labels.toml that leaves a value out": (
        write("labels.toml", b"[classes]\nskin = 0\nlesion = 1\n"),
        "mask-values",
        "error",
        "255",
        "Add each",
    ),
    "an empty mask": (
        put(MASK, mask(3) * 0),
        "empty-mask",
        "warning",
        "p03.png marks nothing",
        "only where",
    ),
    "a full mask": (
        put(MASK, mask(3) * 0 + 255),
        "full-mask",
        "warning",
        "p03.png marks the whole image",
        "inverted",
    ),
    "masks that are all empty": (
        each_mask(lambda n: mask(n) * 0),
        "absent-class",
        "error",
        "foreground",
        "is in no mask",
    ),
    "inverted masks": (
        each_mask(lambda n: 255 - mask(n)),
        "mostly-foreground",
        "warning",
        "Are the masks inverted?",
        "labels.toml",
    ),
    "a mask that is void everywhere": (
        both(
            each_mask(lambda n: mask(n, 1) + np.roll(mask(n, 1), 25, 1)),
            put(MASK, mask(3) * 0 + 255),
        ),
        "void-mask",
        "warning",
        "p03.png is void",
        "",
    ),
    "salt and pepper in a mask": (
        put(MASK, salted(3)),
        "specks",
        "warning",
        "single pixels",
        "Smooth",
    ),
    "a single speck and nothing else": (
        put(MASK, np.eye(H, W, dtype=np.uint8) * (np.mgrid[:H, :W][0] == 9) * 255),
        "specks",
        "warning",
        "has 1 single",
        "",
    ),
    "a class that one mask has": (
        both(each_mask(lambda n: mask(n, 1)), put(MASK, mask(3, 2))),
        "seen-once",
        "warning",
        "p03.png is the only mask",
        "slip",
    ),
    "a class that no mask has": (
        write("classes.txt", b"0 background\n1 vein\n255 lesion\n"),
        "absent-class",
        "warning",
        "class vein",
        "cannot learn",
    ),
    "a class of a few pixels": (
        each_mask(
            lambda n: (
                mask(n, 1)
                + (2 * (np.arange(H * W) == 5).reshape(H, W) * (n in {3, 4})).astype(np.uint8)
            )
        ),
        "rare-class",
        "warning",
        "class 2 has",
        "more of it",
    ),
    "masks saved as JPEG": (
        each_mask(mask, "jpg", quality=80),
        "lossy-mask",
        "warning",
        "12 masks were saved as JPEG",
        "PNG",
    ),
    "a blank image": (
        put(IMAGE, picture(3) * 0 + 7),
        "blank-image",
        "warning",
        "one value 7",
        "exported whole",
    ),
    "a tiny image": (
        both(put(IMAGE, picture(3)[:9, :9]), put(MASK, mask(3)[10:19, 20:29])),
        "tiny-image",
        "warning",
        "9x9",
        "thumbnail",
    ),
    "8 bits in a file of 16": (
        put("images/p03.tif", picture(3)[..., 0].astype(np.uint16)),
        "shallow-depth",
        "warning",
        "16 bits",
        "8 bits once",
    ),
    "a thumbnail among large images": (
        both(
            put(IMAGE, np.kron(picture(3), np.ones((9, 9, 1), np.uint8))),
            put(MASK, np.kron(mask(3), np.ones((9, 9), np.uint8))),
        ),
        "mixed-sizes",
        "warning",
        "very different sizes",
        "thumbnails",
    ),
    "the same image twice": (
        copied("p05", "p03"),
        "copies-disagree",
        "warning",
        "copy of",
        "Keep the better",
    ),
    "the same pair twice": (
        lambda r: [
            (r / kind / "p12.png").write_bytes((r / kind / "p05.png").read_bytes())
            for kind in ("images", "masks")
        ],
        "copies",
        "warning",
        "p12.png is a copy of",
        "keep one",
    ),
    "the same image, mirrored": (
        copied("p05", "p03", lambda p: p[:, ::-1]),
        "near-copies",
        "note",
        "p05.png",
        "one side of every split",
    ),
    "the same image, turned": (
        copied("p05", "p03", lambda p: np.rot90(p).copy()),
        "near-copies",
        "note",
        "p05.png",
        "one side of every split",
    ),
    "the same image, brighter": (
        copied("p05", "p03", lambda p: np.minimum(p * 1.1, 255).astype(np.uint8)),
        "near-copies",
        "note",
        "p05.png",
        "one side",
    ),
    "the same image, larger": (
        copied("p05", "p03", lambda p: np.kron(p, np.ones((2, 2, 1), np.uint8))),
        "near-copies",
        "note",
        "p05.png",
        "one side",
    ),
    "a test image among the training images": (
        leak("train/images/p01.png", "test/images/p10.png"),
        "leak",
        "error",
        "(train)",
        "data.allow_leaks=true",
    ),
    "a validation image among the training images": (
        leak("train/images/p01.png", "val/images/p07.png"),
        "leak",
        "warning",
        "(val)",
        "Move",
    ),
    "one patient in training and test": (
        both(split_folders, write("groups.csv", b"image,group\np01.png,Anna\np10.png,Anna\n")),
        "group-leak",
        "error",
        "group Anna",
        "data.allow_leaks=true",
    ),
    "few images": (
        lambda r: [path.unlink() for path in r.glob("*/p[01][1-9].png")],
        "few-images",
        "warning",
        "2 usable pairs",
        "seldom",
    ),
    "no pair at all": (
        lambda r: [path.rename(path.with_stem(path.stem + "x")) for path in r.glob("masks/*")],
        "no-pairs",
        "error",
        "no image has a mask",
        "Name each mask",
    ),
}

MENDED: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    # what is read as it was meant, with the class names that come of it
    "masks of 0 and 1": (each_mask(lambda n: mask(n, 1)), ("background", "foreground")),
    "masks of 0 and 254": (each_mask(lambda n: mask(n, 254)), ("background", "foreground")),
    "masks of two other values": (
        each_mask(lambda n: np.where(mask(n) > 0, 200, 90).astype(np.uint8)),
        ("background", "foreground"),
    ),
    "anti-aliased masks": (each_mask(smooth_mask), ("background", "foreground")),
    "bool TIFF masks": (each_mask(lambda n: mask(n) > 0, "tif"), ("background", "foreground")),
    "1-bit PNG masks": (
        each_mask(lambda n: Image.fromarray(mask(n)).convert("1")),
        ("background", "foreground"),
    ),
    "16-bit masks of 0 and 65535": (
        each_mask(lambda n: (mask(n) > 0).astype(np.uint16) * 65535),
        ("background", "foreground"),
    ),
    "masks in a palette": (each_mask(with_palette), ("background", "foreground")),
    "grey masks as RGB": (
        each_mask(lambda n: np.dstack([mask(n)] * 3)),
        ("background", "foreground"),
    ),
    "masks as RGBA": (
        each_mask(lambda n: np.dstack([mask(n)] * 3 + [mask(n) * 0 + 255])),
        ("background", "foreground"),
    ),
    "masks in the alpha channel": (
        each_mask(lambda n: np.dstack([mask(n) * 0] * 3 + [mask(n)])),
        ("background", "foreground"),
    ),
    "masks in one colour": (each_mask(coloured), ("background", "foreground")),
    "class indices with void": (
        each_mask(
            lambda n: np.where(
                np.roll(mask(n), 30, 1) > 0, 255, mask(n, 1) + np.roll(mask(n, 2), 12, 0)
            ).astype(np.uint8)
        ),
        ("background", "class 1", "class 2", "class 3"),
    ),
    "images with alpha": (
        put(IMAGE, np.dstack([picture(3), mask(3)])),
        ("background", "foreground"),
    ),
    "images of 16 bits": (
        put("images/p03.tif", picture(3)[..., 0].astype(np.uint16) * 200),
        ("background", "foreground"),
    ),
    "images in CMYK": (
        put("images/p03.jpg", Image.fromarray(picture(3)).convert("CMYK"), quality=95),
        ("background", "foreground"),
    ),
    "images with a wrong ending": (
        lambda r: (r / IMAGE).rename(r / "images/p03.jpg"),
        ("background", "foreground"),
    ),
    "endings in capitals": (
        lambda r: (r / IMAGE).rename(r / "images/p03.PNG"),
        ("background", "foreground"),
    ),
    "hidden files of other systems": (
        lambda r: [
            (r / "images" / name).write_text("x")
            for name in ("._p03.png", "Thumbs.db", ".DS_Store")
        ],
        ("background", "foreground"),
    ),
    "image and mask that EXIF turns alike": (
        both(put(IMAGE, picture(3), exif=exif(6)), put(MASK, mask(3), exif=exif(6))),
        ("background", "foreground"),
    ),
}


def findings(root: Path) -> list[Finding]:
    return list(check(scan(root)).findings)


def test_the_set_is_sound_before_it_is_spoilt(root: Path) -> None:
    assert findings(root) == []


def test_there_are_at_least_60_cases() -> None:
    assert len(CAUGHT) + len(MENDED) >= 60


@pytest.mark.parametrize("case", CAUGHT)
def test_it_is_caught_with_file_cause_and_cure(case: str, root: Path) -> None:
    spoil, code, severity, named, cure = CAUGHT[case]
    spoil(root)
    found = findings(root)
    matching = [
        f
        for f in found
        if f.code == code and f.severity == severity and named in f.message and cure in f.message
    ]
    assert matching, found
    assert (
        not matching[0].file
        or Path(re.sub(r" \(.*\)$", "", matching[0].file)).name in matching[0].message
    )
    others = {f.code for f in found} - {code} - ALONGSIDE.get(case, set())
    assert not others, found


ALONGSIDE = {
    "one patient in training and test": {"ungrouped"},
    "few images": {"missing-mask", "missing-image"},
    "no pair at all": {"missing-mask", "missing-image"},
    "an image in the place of its mask": {"specks"},
    "a grey image in the place of its mask": {"specks"},
    "masks that are all empty": {"empty-mask"},
    "a class of a few pixels": {"specks"},
}
"""Findings that the same spoiling must give as well."""


@pytest.mark.parametrize("case", MENDED)
def test_it_is_read_as_it_was_meant(case: str, root: Path) -> None:
    spoil, names = MENDED[case]
    spoil(root)
    health = check(scan(root))
    assert [f for f in health.findings if f.severity == "error"] == []
    assert health.labels is not None and health.labels.names == names
    samples = {sample.id: sample for sample in scan(root).samples}
    if health.labels.binary and "EXIF" not in case:
        difference = (samples["p05"].class_index(health.labels) != (mask(5) > 0)).mean()
        assert difference == 0 if "aliased" not in case else difference < 0.03


def test_two_files_of_one_name_are_an_error(root: Path) -> None:
    Image.fromarray(picture(60)).save(root / "images" / "p03.jpg")
    assert [(f.code, f.severity) for f in findings(root)] == [("same-name", "error")]


def test_annotations_that_cannot_be_drawn_are_named(tmp_path: Path) -> None:
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    table = {
        "images": [{"id": 1, "file_name": "a.png", "height": H, "width": W}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3]]}],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(table))
    (finding,) = (f for f in findings(tmp_path) if f.severity == "error")
    assert (
        finding.code == "unreadable-mask"
        and "a.png" in finding.message
        and "polygon has 3 numbers" in finding.message
    )


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"list.csv": "image,mask,split\na.png,b.png,holdout\n"}, r"list\.csv, line 2.*holdout"),
        ({"list.csv": "image,mask\na.png,\n"}, r"list\.csv, line 2.*no image or no mask"),
        ({"classes.txt": "1 a\n1 b\n"}, r"classes\.txt gives a pixel value twice"),
        ({"groups.csv": "picture,patient\na,b\n"}, r"groups\.csv has no columns"),
        ({"labels.toml": "void = 3"}, r"labels\.toml states no classes"),
        (
            {"annotations.json": '{"images": [], "annotations": null, "categories": []}'},
            r"annotations\.json has no list of annotations",
        ),
        (
            {"groups.csv": "image,group\nnobody.png,Anna\n"},
            r"groups\.csv, line 2: no image bears the name 'nobody\.png'",
        ),
        (
            {"groups.csv": "image,group\np01,Anna\np01.png,Bert\n"},
            r"groups\.csv, line 3: p01\.png is in the groups Anna and Bert",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_named(
    root: Path, files: dict[str, str], complaint: str
) -> None:
    for name, text in files.items():
        (root / name).write_text(text)
    with pytest.raises(LimnerError, match=complaint):
        scan(root)
