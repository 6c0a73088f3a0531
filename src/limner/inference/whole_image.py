"""A network with what is around it, as one graph: from the bytes of an image to its mask.

All that `Predictor` does is written in torch operations that a trace keeps for every size. Resizing
is a product with a matrix of weights, since exported graphs have no operator that resizes as Pillow
does.
"""

from collections.abc import Sequence
from typing import Any

import PIL
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, UInt8
from torch import Tensor, nn

from limner.data.resize import REDUCING_GAP
from limner.errors import LimnerError
from limner.inference.calibration import MAX_LOGIT
from limner.inference.engines import ReceptiveField
from limner.inference.export_formats import TraceableNetwork
from limner.inference.tta import SIDE_MULTIPLE, TTA_TRANSFORMS, TtaTransform
from limner.model.bundle import Bundle

BLOCK_ONE, WEIGHT_ONE = 2.0**24, 2.0**22
"""What stands for 1 in Pillow's whole numbers, where it averages blocks and where it filters."""
COLUMNS_FIRST_SINCE = 13
"""Pillow's version."""
Side = Any
"""A number of pixels: an int, or while tracing a tensor of one."""


class CanvasNetwork(nn.Module):
    """A network that takes canvases of 8 bits, and gives probabilities."""

    mean: Float[Tensor, "c 1 1"]
    std: Float[Tensor, "c 1 1"]

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.network = TraceableNetwork(bundle.network())
        preprocessing = bundle.preprocessing
        self.channels = preprocessing.channels
        for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, canvases: UInt8[Tensor, "b h w c"]) -> Float[Tensor, "b k h w"]:
        return self.probabilities(self.normalise(canvases.permute(0, 3, 1, 2).float()))

    def normalise(self, planes: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        """As `Preprocessing.normalise`, of pixels in 0..255."""
        planes = planes / 255
        if self.channels is None:
            planes = planes.mean(1, keepdim=True)
        return (planes - self.mean) / self.std

    def probabilities(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """The network's probabilities, of normalised images."""
        logits = self.network(images)
        if logits.shape[1] == 1:
            return torch.sigmoid(logits.clamp(-MAX_LOGIT, MAX_LOGIT))
        return torch.softmax(logits, 1)


class WholeImageNetwork(nn.Module):
    """A model that takes an image of any size, and gives its mask and probabilities.

    The mask has the pixel values that `limner predict` writes. Post-processing is not in it.

    Args:
        bundle: the model.
        receptive_field: of its network.

    Raises:
        LimnerError: The network was trained on tiles, and sees the whole of its input, so that
            tiles must be blended.
    """

    values: UInt8[Tensor, " n *c"]

    def __init__(self, bundle: Bundle, receptive_field: ReceptiveField) -> None:
        super().__init__()
        self.canvases = CanvasNetwork(bundle)
        self.preprocessing, self.receptive_field = bundle.preprocessing, receptive_field
        if self.preprocessing.resize_mode == "tile" and receptive_field.halo_px is None:
            raise LimnerError(
                "this network was trained on tiles and sees the whole of its input, so that large "
                "images are blended from tiles, which one graph cannot do. Export it without "
                "--whole-image."
            )
        self.transforms = TTA_TRANSFORMS[bundle.inference.tta]
        self.threshold = bundle.inference.threshold
        values = torch.from_numpy(bundle.labels.pixel_values)
        self.register_buffer("values", values, persistent=False)

    def forward(
        self, image: UInt8[Tensor, "h w c"]
    ) -> tuple[UInt8[Tensor, "h w *rgb"], Float[Tensor, "k h w"]]:
        planes = image.permute(2, 0, 1).float()
        image_px = _sides(planes)
        if self.preprocessing.resize_mode == "tile":
            probabilities = self._at_full_size(planes, image_px)
        else:
            probabilities = self._resized(planes, image_px)
        if len(probabilities) == 1:
            class_index = (probabilities[0] >= self.threshold).long()
        else:
            class_index = probabilities.argmax(0)
        return self.values[class_index], probabilities

    def _at_full_size(
        self, planes: Float[Tensor, "c h w"], image_px: Sequence[Side]
    ) -> Float[Tensor, "k h w"]:
        """As the one tile of `tile_grid.plan_tiles`."""
        stride = self.receptive_field.stride
        before = [_at_least(size - side, 0) // 2 for size, side in self._against(image_px)]
        padded = [
            _round_up(_at_least(side, max(size, 2 * stride)), stride)
            for size, side in self._against(image_px)
        ]
        canvas = _pad(planes, before, padded)
        top, left = before
        mean = self._mean_probabilities(canvas)
        return mean[:, top : top + image_px[0], left : left + image_px[1]]

    def _resized(
        self, planes: Float[Tensor, "c h w"], image_px: Sequence[Side]
    ) -> Float[Tensor, "k h w"]:
        """As the one view of modes "resize" and "letterbox"."""
        shown = [torch.tensor(size) for size in self.preprocessing.size_px]
        if self.preprocessing.resize_mode == "letterbox":
            factor = torch.stack(
                [_real(size) / _real(side) for size, side in self._against(image_px)]
            ).amin(0)
            shown = [_at_least((_real(side) * factor).round().long()[0], 1) for side in image_px]
        before = [(size - side) // 2 for size, side in self._against(shown)]
        canvas = _pad(resize_as_pillow(planes, shown), before, self.preprocessing.size_px)
        top, left = before
        mean = self._mean_probabilities(canvas)
        part = mean[:, top : top + shown[0], left : left + shown[1]]
        return _resize_floats(part, image_px)

    def _against(self, sides: Sequence[Side]) -> list[tuple[int, Side]]:
        """The canvas's height and width, each beside another one."""
        return list(zip(self.preprocessing.size_px, sides, strict=True))

    def _mean_probabilities(self, canvas: Float[Tensor, "c h w"]) -> Float[Tensor, "k h w"]:
        """The mean over test-time augmentations, of pixels in 0..255."""
        normalised = self.canvases.normalise(canvas[None])[0]
        alike: dict[tuple[bool, float], list[TtaTransform]] = {}
        for transform in self.transforms:
            alike.setdefault((transform.turns % 2 == 1, transform.scale), []).append(transform)
        undone: list[Tensor] = []
        for transforms in alike.values():
            copies = torch.stack([_apply(transform, normalised) for transform in transforms])
            batch = self.canvases.probabilities(copies)
            undone += [
                _invert(transform, planes, _sides(canvas))
                for transform, planes in zip(transforms, batch, strict=True)
            ]
        return torch.stack(undone).mean(0)


def resize_as_pillow(
    planes: Float[Tensor, "c h w"], size_px: Sequence[Side]
) -> Float[Tensor, "c h2 w2"]:
    """As `data.resize.resize_image`, of pixels in 0..255.

    Pillow first averages whole blocks where the image is many times the target's size, then filters
    rows, then columns, and rounds after each. Since version 13 it filters columns first where an
    image loses more than twice as many rows as columns.
    """
    height, width = _sides(planes)
    rows, columns = (
        _at_least((_real(side) / _real(target) / REDUCING_GAP).floor().long()[0], 1)
        for side, target in zip((height, width), size_px, strict=True)
    )
    reduced = _average_blocks(planes, rows, columns)
    reduced_height, reduced_width = _sides(reduced)
    across = _bilinear(reduced_width, size_px[1], (_real(width) / _real(columns)).float().double())
    down = _bilinear(reduced_height, size_px[0], (_real(height) / _real(rows)).float().double())
    pixels, down, across = reduced.double(), _fixed_point(down), _fixed_point(across).T
    rows_first = _filter(down @ _filter(pixels @ across))
    if int(PIL.__version__.partition(".")[0]) < COLUMNS_FIRST_SINCE:
        return rows_first.float()
    lost_height, lost_width = reduced_height - size_px[0], reduced_width - size_px[1]
    columns_first = _filter(_filter(down @ pixels) @ across)
    much_lower = (lost_height > 0) & (lost_height > 2 * lost_width)
    return torch.where(much_lower, columns_first, rows_first).float()


def _average_blocks(
    planes: Float[Tensor, "c h w"], rows: Side, columns: Side
) -> Float[Tensor, "c h2 w2"]:
    """Averages of blocks of so many rows and columns; the last ones hold what is left."""
    sides = _sides(planes)
    counts = [
        _round_up(side, block) // block for side, block in zip(sides, (rows, columns), strict=True)
    ]
    below, right = counts[0] * rows - sides[0], counts[1] * columns - sides[1]
    padded = F.pad(planes, (0, right, 0, below))
    sums = padded.reshape(-1, counts[0], rows, counts[1], columns).sum((2, 4))
    heights, widths = (
        torch.minimum(block, side - torch.arange(count) * block)
        for block, side, count in zip((rows, columns), sides, counts, strict=True)
    )
    pixels = heights[:, None] * widths
    # Pillow divides by a product with a rounded reciprocal, so that halves go down
    reciprocals = (_real(BLOCK_ONE) / pixels.double()).floor()
    rounded = sums.double() + (pixels // 2).double()
    return (rounded * reciprocals / _real(BLOCK_ONE)).floor().float()


def _bilinear(source: Side, target: Side, extent: Float64[Tensor, "1"]) -> Float64[Tensor, "t s"]:
    """The weights of source pixels in target pixels, by a triangle as wide as the pixels need.

    Args:
        source: how many pixels there are.
        target: how many there shall be.
        extent: the length of the source in pixels, of which the last one may be a part.
    """
    scale = extent / _real(target)
    support, half = _at_least(scale, 1.0), _real(0.5)
    centres = (torch.arange(target).double() + half) * scale
    distance = torch.arange(source).double() + half - centres[:, None]
    weights = torch.relu(1 - distance.abs() * (1 / support))
    return weights * (1 / weights.sum(1, keepdim=True))


def _fixed_point(weights: Float64[Tensor, "t s"]) -> Float64[Tensor, "t s"]:
    """Weights as whole numbers, in units of 1 / `WEIGHT_ONE`."""
    return (weights * _real(WEIGHT_ONE) + _real(0.5)).floor()


def _filter(sums: Float64[Tensor, "*n"]) -> Float64[Tensor, "*n"]:
    """Pixels from sums by weights of `_fixed_point`: rounded, and halves up."""
    return ((sums + _real(WEIGHT_ONE / 2)) / _real(WEIGHT_ONE)).floor()


def _resize_floats(
    planes: Float[Tensor, "k h w"], size_px: Sequence[Side]
) -> Float[Tensor, "k h2 w2"]:
    """As Pillow's bilinear filter on floats."""
    down, across = (
        _bilinear(side, target, _real(side)).float()
        for side, target in zip(_sides(planes), size_px, strict=True)
    )
    return down @ (planes @ across.T)


def _apply(transform: TtaTransform, canvas: Float[Tensor, "c h w"]) -> Float[Tensor, "c h2 w2"]:
    """As `TtaTransform.apply`."""
    rotated = _turn(canvas.flip(2) if transform.mirrored else canvas, transform.turns)
    if transform.scale == 1:
        return rotated
    sides = [
        _at_least(
            (_real(side) * transform.scale / SIDE_MULTIPLE).round().long()[0] * SIDE_MULTIPLE, 32
        )
        for side in _sides(rotated)
    ]
    return _resize_floats(rotated, sides)


def _invert(
    transform: TtaTransform, planes: Float[Tensor, "k h2 w2"], size_px: Sequence[Side]
) -> Float[Tensor, "k h w"]:
    """As `TtaTransform.invert`."""
    if transform.scale != 1:
        turned = size_px[::-1] if transform.turns % 2 else size_px
        planes = _resize_floats(planes, turned)
    upright = _turn(planes, -transform.turns % 4)
    return upright.flip(2) if transform.mirrored else upright


def _turn(planes: Float[Tensor, "c h w"], turns: int) -> Float[Tensor, "c h2 w2"]:
    """Quarter turns, counter-clockwise."""
    if turns % 2:
        planes = planes.transpose(1, 2)
        return planes.flip(1 if turns == 1 else 2)
    return planes.flip((1, 2)) if turns == 2 else planes


def _pad(
    planes: Float[Tensor, "c h w"], before: Sequence[Side], size_px: Sequence[Side]
) -> Float[Tensor, "c h2 w2"]:
    """Repeat the edges up to a size, with so many pixels above and to the left."""
    (top, left), (height, width) = before, _sides(planes)
    below, right = size_px[0] - height - top, size_px[1] - width - left
    return F.pad(planes[None], (left, right, top, below), mode="replicate")[0]


def _sides(planes: Float[Tensor, "c h w"]) -> tuple[Tensor, Tensor]:
    """Height and width, as tensors that a trace follows."""
    shape = torch._shape_as_tensor(planes)
    return shape[-2], shape[-1]


def _real(value: Side) -> Float64[Tensor, "1"]:
    """As a vector of one number. Without an axis it would be exported in single precision."""
    return torch.as_tensor(value).double().reshape(1)


def _at_least(value: Tensor, least: Side) -> Tensor:
    """The larger one. A clamp of an integer is what few programs run."""
    return torch.maximum(value, torch.tensor(least, dtype=value.dtype))


def _round_up(length: Tensor, multiple: Side) -> Tensor:
    return (length + multiple - 1) // multiple * multiple
