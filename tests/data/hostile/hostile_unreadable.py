"""Files that cannot be read."""

import numpy as np
from hostile_spoils import (
    HEIGHT,
    IMAGE,
    MASK,
    WIDTH,
    Case,
    both,
    coloured,
    cut,
    draw_image,
    draw_mask,
    flip_bit,
    put,
    short_png,
    write,
)
from PIL import Image

UNREADABLE: dict[str, Case] = {
    "an empty file": Case(
        write(IMAGE, b""), "unreadable-image", "error", "it is an empty file", "Copy it"
    ),
    "a text": Case(
        write(IMAGE, b"not found"), "unreadable-image", "error", "it is a text", "Export"
    ),
    "a web page saved as an image": Case(
        write(IMAGE, b"<!doctype html>"),
        "unreadable-image",
        "error",
        "HTML",
        "Fetch it again",
    ),
    "a pointer of Git LFS": Case(
        write(IMAGE, b"version https://git-lfs.github.com/spec/v1\n"),
        "unreadable-image",
        "error",
        "p03.png",
        "git lfs pull",
    ),
    "an image cut in half": Case(
        cut(IMAGE, 0.5),
        "unreadable-image",
        "error",
        "p03.png is damaged",
        "copy or export it again",
    ),
    "a mask cut near its end": Case(
        cut(MASK, 0.9),
        "unreadable-mask",
        "error",
        "p03.png is damaged",
        "copy or export it again",
    ),
    "a flipped bit in an image": Case(
        flip_bit(IMAGE, 0.5),
        "unreadable-image",
        "error",
        "checksum",
        "copy or export it again",
    ),
    "a flipped bit in a mask": Case(
        flip_bit(MASK, 0.6),
        "unreadable-mask",
        "error",
        "checksum",
        "copy or export it again",
    ),
    "a JPEG cut in the middle": Case(
        both(put("images/p03.jpg", draw_image(3)), cut("images/p03.jpg", 0.6)),
        "unreadable-image",
        "error",
        "p03.jpg",
        "copy or export",
    ),
    "a JPEG cut before its end mark": Case(
        both(put("images/p03.jpg", draw_image(3)), cut("images/p03.jpg", 0.97)),
        "unreadable-image",
        "error",
        "p03.jpg",
        "copy",
    ),
    "a TIFF without its last rows": Case(
        both(put("images/p03.tif", draw_image(3)), cut("images/p03.tif", 0.8)),
        "unreadable-image",
        "error",
        "p03.tif",
        "copy",
    ),
    "a BMP without its last rows": Case(
        both(put("images/p03.bmp", draw_image(3)), cut("images/p03.bmp", 0.8)),
        "unreadable-image",
        "error",
        "p03.bmp",
        "copy",
    ),
    "a photograph of a telephone": Case(
        write("images/p12.heic", b"\x00\x00\x00\x18ftypheic"),
        "foreign-format",
        "warning",
        "p12.heic is a HEIC photograph",
        "Export it as JPEG or PNG",
    ),
    "a PNG whose pixels end in the middle": Case(
        short_png("images/p03.png"),
        "unreadable-image",
        "error",
        "p03.png is damaged",
        "copy or export it again",
    ),
    "a WebP cut": Case(
        both(put("images/p03.webp", draw_image(3)), cut("images/p03.webp", 0.8)),
        "unreadable-image",
        "error",
        "p03.webp",
        "copy",
    ),
    "a TGA": Case(
        both(
            put("images/p03.tga", draw_image(3)), lambda r: (r / "images/p03.tga").rename(r / IMAGE)
        ),
        "unreadable-image",
        "error",
        "unknown content",
        "export",
    ),
    "an animated WebP": Case(
        put(
            "images/p03.webp",
            Image.fromarray(draw_image(3)),
            save_all=True,
            append_images=[Image.fromarray(draw_image(4))],
        ),
        "unreadable-image",
        "error",
        "animation of 2 frames",
        "export the frames",
    ),
    "values that are not numbers": Case(
        put("images/p03.tif", np.full((HEIGHT, WIDTH), np.nan, np.float32)),
        "unreadable-image",
        "error",
        "p03.tif",
        "finite",
    ),
    "a mask of probabilities": Case(
        put("masks/p03.tif", draw_mask(3) / np.float32(700)),
        "unreadable-mask",
        "error",
        "p03.tif",
        "classes' numbers",
    ),
    "a mask of negative numbers": Case(
        put("masks/p03.tif", draw_mask(3).astype(np.int16) - 9),
        "unreadable-mask",
        "error",
        "p03.tif",
        "classes' numbers",
    ),
    "a half transparent mask": Case(
        put(MASK, np.dstack([coloured(3), np.maximum(draw_mask(3) // 2, 20)])),
        "unreadable-mask",
        "error",
        "half transparent",
        "without alpha",
    ),
}
