"""What a size of the network's input is expected to reach, from its ceiling and what is shown.

A larger size loses less of the masks and shows fewer images in the same time. How the two weigh
against each other was measured: `benchmarks/dice_against_time.csv` has the runs, and
`benchmarks/dice_against_time.py --fit` gave share, penalty and the number of a pretrained encoder.
The other two are estimates from few runs. They tell sizes of one dataset apart. What a dataset
reaches in all depends on more than that.
"""

CEILING_SHARE = 0.74
"""Of the Dice that a size makes possible, the share that a network gains."""
PRETRAINED, FROM_SCRATCH = 26.0, 360.0
"""Dice that is missing after one canvas; it falls with their number. A network from scratch needs
as many more of them.
"""
CLASSES_FACTOR = 5.0
"""Several classes need so many times as many canvases as one."""
TILE_PENALTY = 0.11
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
    missing = (PRETRAINED if pretrained else FROM_SCRATCH) * (1 if binary else CLASSES_FACTOR)
    return CEILING_SHARE * ceiling - missing / max(shown, 1) - (TILE_PENALTY if tiles else 0.0)
