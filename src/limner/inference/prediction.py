"""Prediction: what a predictor says about one image."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Shaped, UInt8
from numpy import ndarray

from limner.data.image_pixels import to_image, to_rgb
from limner.data.images import read_image
from limner.data.overlays import draw_overlay
from limner.errors import LimnerError
from limner.files import write_atomic
from limner.inference.calibration import Calibration, entropy
from limner.inference.confidence import CanvasStatistics
from limner.inference.contours import trace_outlines
from limner.inference.out_of_distribution import is_unusual
from limner.labels import Labels

ImageSource = Shaped[ndarray, "*_"] | Path | str
"""An image file, or an array (h, w) or (h, w, c) of any depth."""
SHOWN_PX = 320
"""The longer side of the mask in a notebook."""
GREY = 96


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a predictor says about one image, at the image's own size.

    Example:
        prediction = predictor.predict("photo.jpg")
        prediction.save("photo-mask.png")
        prediction.area()      # {"lesion": 5312}
        prediction.contours()  # {"lesion": [array([[x, y], ...])]}
    """

    mask: UInt8[ndarray, "h w"]
    """Class indices: 0 is the first class in `labels`."""
    probabilities: Float32[ndarray, "k h w"]
    """In 0..1: of the foreground (k = 1) for a binary set, else of each class.

    They are the network's own, the mean over augmentations and models, before calibration.
    """
    predicted_dice: float | None
    """The Dice that the mask is expected to reach, in 0..1; None without a confidence model."""
    unusualness: float | None
    """How unlike the training images the image is; see `is_unusual`."""
    labels: Labels
    """The classes of the mask."""
    calibration: Calibration = field(default_factory=Calibration)
    """Turns `probabilities` into calibrated ones: `calibration(probabilities)`."""
    statistics: Sequence[Sequence[CanvasStatistics]] = field(default=(), repr=False)
    """Of each model's canvases, from which the predicted Dice and the unusualness are."""

    @property
    def uncertainty(self) -> Float32[ndarray, "h w"]:
        """The entropy of the calibrated probabilities, in 0..1; 0 is certain."""
        return entropy(self.calibration(self.probabilities))

    @property
    def unusual(self) -> bool:
        """Whether the image is out of distribution: unlike the training images."""
        return is_unusual(self.unusualness)

    def area(self) -> dict[str, int]:
        """The pixels of each class that is scored, by its name."""
        return {
            self.labels.names[index]: int((self.mask == index).sum())
            for index in self.labels.scored
        }

    def contours(self) -> dict[str, list[Float64[ndarray, "_ 2"]]]:
        """The outlines of each class that is scored, by its name.

        Each is a ring of x and y in px from the upper left corner. A hole is a ring of its own, in
        the other direction.
        """
        return {
            self.labels.names[index]: trace_outlines(self.mask == index)
            for index in self.labels.scored
        }

    def overlay(self, image: ImageSource) -> UInt8[ndarray, "h w 3"]:
        """Draw the mask into its image.

        Args:
            image: The one that was predicted, as `Predictor.predict` takes it.

        Raises LimnerError where it has another size than the mask.
        """
        pixels = to_image(image) if isinstance(image, ndarray) else read_image(Path(image))
        if pixels.shape[:2] != self.mask.shape:
            raise LimnerError(
                f"the image has {pixels.shape[1]}x{pixels.shape[0]} px, and the mask "
                f"{self.mask.shape[1]}x{self.mask.shape[0]}. Give the image that was predicted."
            )
        return draw_overlay(to_rgb(pixels), self.mask, self.labels)

    def save(self, path: Path | str) -> None:
        """Write the mask as PNG, in the pixel values of the training set. A file there is replaced.

        Raises LimnerError for a name that does not end in .png.
        """
        from limner.data.writers.png import encode_mask_png

        if Path(path).suffix.lower() != ".png":
            raise LimnerError(f"{path} is no PNG by its name. Masks are saved as .png.")
        write_atomic(Path(path), encode_mask_png(self.labels.to_pixels(self.mask)))

    def _repr_html_(self) -> str:
        """The mask and its numbers, for a notebook."""
        from html import escape

        from limner.data.html_page import embed_jpeg

        step = max(1, -(-max(self.mask.shape) // SHOWN_PX))
        small = self.mask[::step, ::step]
        grey = np.full((*small.shape, 3), GREY, np.uint8)
        picture = embed_jpeg(draw_overlay(grey, small, self.labels))
        share = 100 / self.mask.size
        facts = [f"{escape(name)}: {share * area:.1f} %" for name, area in self.area().items()]
        if self.predicted_dice is not None:
            facts.append(f"predicted Dice {self.predicted_dice:.2f}")
        if self.unusual:
            facts.append("unlike the training images")
        height, width = self.mask.shape
        return (
            f'<figure><img alt="mask" src="data:image/jpeg;base64,{picture}">'
            f"<figcaption>{width}×{height} px · {' · '.join(facts)}</figcaption></figure>"
        )
