"""Sets that miss files, hold copies, or leak."""

import numpy as np
from hostile_spoils import (
    IMAGE,
    MASK,
    Case,
    both,
    copied,
    draw_image,
    draw_mask,
    leak,
    put,
    split_folders,
    write,
)

SETS: dict[str, Case] = {
    "a mask is missing": Case(
        lambda r: (r / MASK).unlink(),
        "missing-mask",
        "error",
        "p03.png",
        "Add a mask",
    ),
    "an image is missing": Case(
        lambda r: (r / IMAGE).unlink(),
        "missing-image",
        "error",
        "p03.png",
        "Add an image",
    ),
    "a part of the set without masks": Case(
        lambda r: (
            (r / "extra/images").mkdir(parents=True),
            put("extra/images/q.png", draw_image(70))(r),
        ),
        "unused-files",
        "warning",
        "q.png",
        "missing its masks",
    ),
    "stacks of different length": Case(
        both(
            put(
                "images/p03.tif",
                np.stack([draw_image(i)[..., 0] for i in (3, 80, 81)]),
                photometric="minisblack",
            ),
            put(
                "masks/p03.tif", np.stack([draw_mask(i) for i in (3, 4)]), photometric="minisblack"
            ),
        ),
        "pages-differ",
        "error",
        "holds 2 images",
        "Export both",
    ),
    "seven channels among colours": Case(
        put(
            "images/p03.tif",
            np.dstack([draw_image(3)] * 3)[..., :7],
            photometric="minisblack",
            planarconfig="contig",
        ),
        "channels-differ",
        "error",
        "has 7 channels, and most images have 3",
        "Export it",
    ),
    "a folder in the place of a mask": Case(
        lambda r: ((r / MASK).unlink(), (r / MASK).mkdir()),
        "missing-mask",
        "error",
        "p03.png",
        "Add a mask",
    ),
    "a blank image": Case(
        put(IMAGE, draw_image(3) * 0 + 7),
        "blank-image",
        "warning",
        "one value 7",
        "exported whole",
    ),
    "a tiny image": Case(
        both(put(IMAGE, draw_image(3)[:9, :9]), put(MASK, draw_mask(3)[10:19, 20:29])),
        "tiny-image",
        "warning",
        "9x9",
        "thumbnail",
    ),
    "8 bits in a file of 16": Case(
        put("images/p03.tif", draw_image(3)[..., 0].astype(np.uint16)),
        "shallow-depth",
        "warning",
        "16 bits",
        "8 bits once",
    ),
    "a thumbnail among large images": Case(
        both(
            put(IMAGE, np.kron(draw_image(3), np.ones((9, 9, 1), np.uint8))),
            put(MASK, np.kron(draw_mask(3), np.ones((9, 9), np.uint8))),
        ),
        "mixed-sizes",
        "warning",
        "very different sizes",
        "thumbnails",
    ),
    "the same image twice": Case(
        copied("p05", "p03"),
        "copies-disagree",
        "warning",
        "copy of",
        "Keep the better",
    ),
    "the same pair twice": Case(
        lambda r: [
            (r / kind / "p12.png").write_bytes((r / kind / "p05.png").read_bytes())
            for kind in ("images", "masks")
        ],
        "copies",
        "warning",
        "p12.png is a copy of",
        "keep one",
    ),
    "the same image, mirrored": Case(
        copied("p05", "p03", lambda p: p[:, ::-1]),
        "near-copies",
        "note",
        "p05.png",
        "one side of every split",
    ),
    "the same image, turned": Case(
        copied("p05", "p03", lambda p: np.rot90(p).copy()),
        "near-copies",
        "note",
        "p05.png",
        "one side of every split",
    ),
    "the same image, brighter": Case(
        copied("p05", "p03", lambda p: np.minimum(p * 1.1, 255).astype(np.uint8)),
        "near-copies",
        "note",
        "p05.png",
        "one side",
    ),
    "the same image, larger": Case(
        copied("p05", "p03", lambda p: np.kron(p, np.ones((2, 2, 1), np.uint8))),
        "near-copies",
        "note",
        "p05.png",
        "one side",
    ),
    "a test image among the training images": Case(
        leak("train/images/p01.png", "test/images/p10.png"),
        "leak",
        "error",
        "(train)",
        "data.allow_leaks=true",
    ),
    "a validation image among the training images": Case(
        leak("train/images/p01.png", "val/images/p07.png"),
        "leak",
        "warning",
        "(val)",
        "Move",
    ),
    "one patient in training and test": Case(
        both(split_folders, write("groups.csv", b"image,group\np01.png,Anna\np10.png,Anna\n")),
        "group-leak",
        "error",
        "group Anna",
        "data.allow_leaks=true",
    ),
    "few images": Case(
        lambda r: [path.unlink() for path in r.glob("*/p[01][1-9].png")],
        "few-images",
        "warning",
        "2 usable pairs",
        "seldom",
    ),
    "no pair at all": Case(
        lambda r: [path.rename(path.with_stem(path.stem + "x")) for path in r.glob("masks/*")],
        "no-pairs",
        "error",
        "no image has a mask",
        "Name each mask",
    ),
}
