"""One network on one image: its tiles, with each test-time augmentation apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from limner.data.large_images import ArrayImage, ImageReader
from limner.data.preprocess import Preprocessing
from limner.inference.confidence import CanvasPrediction, ConfidenceModel
from limner.inference.engines import Engine, LoadedModel, ReceptiveField
from limner.inference.streaming import OpenSegments, no_segments
from limner.inference.tile_grid import WHOLE, GridPart, TileGrid
from limner.inference.tiling import Tile, TiledNetwork, exact_grid, merge_tiles, predict_tiles
from limner.inference.tta import TtaTransform


class ModelRunner(NamedTuple):
    """One network with what it needs: engine, preprocessing and confidence model."""

    engine: Engine
    preprocessing: Preprocessing
    confidence: ConfidenceModel | None = None
    receptive_field: ReceptiveField = ReceptiveField()
    segmented: OpenSegments = no_segments
    """Gives the network in segments, for large images; None where it cannot be cut."""

    @classmethod
    def from_model(cls, model: LoadedModel) -> "ModelRunner":
        """Prepare a loaded model."""
        return cls(
            model.engine,
            model.metadata.preprocessing,
            ConfidenceModel.from_dict(model.metadata.confidence),
            model.receptive_field,
            model.segmented,
        )

    def predict_tiles(
        self, image: ImageReader, transforms: Sequence[TtaTransform], part: GridPart = WHOLE
    ) -> Iterator[Tile]:
        """Predict an image or a part of it tile by tile, with each test-time augmentation."""
        network = TiledNetwork(self.engine, self.receptive_field, self.segmented)
        return predict_tiles(image, network, self.preprocessing, transforms, part)

    def exact_grid(self, image_px: tuple[int, int]) -> TileGrid | None:
        """The grid of an image's exact tiles; None where it is one canvas, or they are blended."""
        return exact_grid(image_px, self.preprocessing, self.receptive_field)


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """The tiles of one network for an image, with each test-time augmentation apart."""

    image_px: tuple[int, int]
    tiles: Sequence[Tile]

    def canvases(self) -> list[CanvasPrediction]:
        """Return the tiles' canvases with their mean probabilities."""
        return [tile.canvas() for tile in self.tiles]

    def probabilities(self, transforms: Sequence[int] | None = None) -> Float32[ndarray, "k h w"]:
        """Return probabilities at the image's size, the mean over augmentations or some of them."""
        return np.concatenate(list(merge_tiles(self.tiles, self.image_px, transforms)), axis=1)


def run_network(
    network: ModelRunner, image: UInt8[ndarray, "h w c"], transforms: Sequence[TtaTransform]
) -> NetworkOutput:
    """Run a network on an image, and keep the probabilities of each test-time augmentation."""
    tiles = list(network.predict_tiles(ArrayImage(image), transforms))
    return NetworkOutput((image.shape[0], image.shape[1]), tiles)
