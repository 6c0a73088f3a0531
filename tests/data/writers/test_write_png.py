import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from limner.data.images import (
    decode_image,
)
from limner.data.writers.png import encode_mask_png, encode_smooth_png


@given(
    arrays(
        np.uint8,
        st.one_of(
            st.tuples(*[st.integers(1, 20)] * 2), st.tuples(*[st.integers(1, 20)] * 2, st.just(3))
        ),
    )
)
def test_a_written_mask_is_read_as_it_was_and_by_others_too(pixels: np.ndarray) -> None:
    content = encode_mask_png(pixels)
    with Image.open(io.BytesIO(content)) as read:
        read.load()
        assert read.format == "PNG" and (np.asarray(read) == pixels).all()
    colours = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    assert (decode_image(content, "the mask", 400) == colours).all()


@given(arrays(np.uint8, st.tuples(*[st.integers(1, 20)] * 2)))
def test_a_written_map_is_read_as_it_was(pixels: np.ndarray) -> None:
    with Image.open(io.BytesIO(encode_smooth_png(pixels))) as read:
        read.load()
        assert (read.format, read.mode) == ("PNG", "L") and (np.asarray(read) == pixels).all()
