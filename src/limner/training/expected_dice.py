"""What a size of the network's input is expected to reach, from its ceiling and what is shown.

A larger size loses less of the masks and shows fewer images in the same time. How the two weigh
against each other was measured: `benchmarks/dice_against_time.csv` has the runs, and
`benchmarks/dice_against_time.py --fit` gives the numbers below. They tell sizes of one dataset
apart. What a dataset reaches in all depends on more than that.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The Dice that is lost where little is shown: `scale * shown ** -exponent`."""

    scale: float
    exponent: float

    def loss(self, shown: float) -> float:
        """The Dice that is missing after so many canvases, shown one by one."""
        return min(1.0, self.scale * max(shown, 1.0) ** -self.exponent)


CEILING_SHARE = 0.7
"""Of the Dice that a size makes possible, the share that a network gains."""
PRETRAINED = LearningCurve(3.9, 0.7)
FROM_SCRATCH = LearningCurve(20.0, 0.7)
CLASSES_FACTOR = 3.0
"""Several classes need so many times as many images as one."""
TILE_PENALTY = 0.03
"""Dice that tiles cost, since the network does not see what is around them."""


def expected_dice(
    ceiling: float, shown: float, *, pretrained: bool, binary: bool, tiles: bool = False
) -> float:
    """Estimate the Dice of a size, up to a constant of the dataset.

    Args:
        ceiling: the mean over classes of the best Dice that the size allows; 1 for tiles.
        shown: canvases that the network is shown in the time given.
        pretrained: whether the encoder is.
        binary: whether there is one foreground class.
        tiles: whether the canvases are tiles at the images' own size.
    """
    curve = PRETRAINED if pretrained else FROM_SCRATCH
    loss = curve.loss(shown if binary else shown / CLASSES_FACTOR)
    return CEILING_SHARE * ceiling - loss - (TILE_PENALTY if tiles else 0.0)
