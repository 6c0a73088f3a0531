"""Post-processing of a predicted mask: keep the largest component, fill holes, remove small ones.

`PostprocessSettings` says which steps run; each is off unless validation showed a gain.
"""

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray
from scipy import ndimage

from limner.labels import Labels
from limner.model.metadata import PostprocessSettings

SMALL_COMPONENT = 0.001
"""Components below this share of the image's area are small."""


def postprocess(
    mask: UInt8[ndarray, "h w"], settings: PostprocessSettings, labels: Labels
) -> UInt8[ndarray, "h w"]:
    """Apply the enabled steps to each scored class, and return a new mask.

    Only holes of class 0 are filled: the background, if the set has one. Removed components become
    class 0 too.

    Args:
        mask: class indices.
        settings: which steps run.
        labels: the classes; those that are not scored are left alone.
    """
    result = mask.copy()
    for index in labels.scored if settings.enabled else ():
        before = result == index
        after = _postprocess_class(before, settings)
        result[before & ~after] = 0
        result[after & (result == 0)] = index
    return result


def count_components_and_holes(mask: Bool[ndarray, "h w"]) -> tuple[int, int]:
    """Count the connected components of a binary mask, and its holes.

    Neighbours share a side. A hole is background that does not reach the image's edge.
    """
    components = ndimage.label(mask)[1]
    background = ndimage.label(np.pad(~mask, 1, constant_values=True))[1]
    return int(components), int(background) - 1


def _postprocess_class(
    mask: Bool[ndarray, "h w"], settings: PostprocessSettings
) -> Bool[ndarray, "h w"]:
    if settings.keep_largest or settings.remove_small:
        mask = _remove_components(mask, settings)
    if settings.fill_holes:
        filled: Bool[ndarray, "h w"] = ndimage.binary_fill_holes(mask)
        return filled
    return mask


def _remove_components(
    mask: Bool[ndarray, "h w"], settings: PostprocessSettings
) -> Bool[ndarray, "h w"]:
    components, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(components.ravel())
    # Label 0 is the background
    sizes[0] = 0
    large = sizes >= SMALL_COMPONENT * mask.size
    # Where every component is small, the largest stays
    if settings.keep_largest or not large.any():
        large = np.arange(count + 1) == sizes.argmax()
    kept: Bool[ndarray, "h w"] = large[components]
    return kept
