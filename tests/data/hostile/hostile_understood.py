"""Odd sets that are read as they were meant, with the class names that come of it."""

import numpy as np
from hostile_spoils import (
    IMAGE,
    MASK,
    Spoil,
    both,
    coloured,
    draw_image,
    draw_mask,
    each_mask,
    exif,
    put,
    smooth_mask,
    with_palette,
)
from PIL import Image

UNDERSTOOD: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "masks of 0 and 1": (each_mask(lambda n: draw_mask(n, 1)), ("background", "foreground")),
    "masks of 0 and 254": (each_mask(lambda n: draw_mask(n, 254)), ("background", "foreground")),
    "masks of two other values": (
        each_mask(lambda n: np.where(draw_mask(n) > 0, 200, 90).astype(np.uint8)),
        ("background", "foreground"),
    ),
    "anti-aliased masks": (each_mask(smooth_mask), ("background", "foreground")),
    "bool TIFF masks": (each_mask(lambda n: draw_mask(n) > 0, "tif"), ("background", "foreground")),
    "1-bit PNG masks": (
        each_mask(lambda n: Image.fromarray(draw_mask(n)).convert("1")),
        ("background", "foreground"),
    ),
    "16-bit masks of 0 and 65535": (
        each_mask(lambda n: (draw_mask(n) > 0).astype(np.uint16) * 65535),
        ("background", "foreground"),
    ),
    "masks in a palette": (each_mask(with_palette), ("background", "foreground")),
    "grey masks as RGB": (
        each_mask(lambda n: np.dstack([draw_mask(n)] * 3)),
        ("background", "foreground"),
    ),
    "masks as RGBA": (
        each_mask(lambda n: np.dstack([draw_mask(n)] * 3 + [draw_mask(n) * 0 + 255])),
        ("background", "foreground"),
    ),
    "masks in the alpha channel": (
        each_mask(lambda n: np.dstack([draw_mask(n) * 0] * 3 + [draw_mask(n)])),
        ("background", "foreground"),
    ),
    "masks in one colour": (each_mask(coloured), ("background", "foreground")),
    "class indices with void": (
        each_mask(
            lambda n: np.where(
                np.roll(draw_mask(n), 30, 1) > 0,
                255,
                draw_mask(n, 1) + np.roll(draw_mask(n, 2), 12, 0),
            ).astype(np.uint8)
        ),
        ("background", "class 1", "class 2", "class 3"),
    ),
    "images with alpha": (
        put(IMAGE, np.dstack([draw_image(3), draw_mask(3)])),
        ("background", "foreground"),
    ),
    "images of 16 bits": (
        put("images/p03.tif", draw_image(3)[..., 0].astype(np.uint16) * 200),
        ("background", "foreground"),
    ),
    "images in CMYK": (
        put("images/p03.jpg", Image.fromarray(draw_image(3)).convert("CMYK"), quality=95),
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
        both(put(IMAGE, draw_image(3), exif=exif(6)), put(MASK, draw_mask(3), exif=exif(6))),
        ("background", "foreground"),
    ),
}
