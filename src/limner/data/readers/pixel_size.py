"""How large a pixel is, as files state it in many units."""

import math
from dataclasses import dataclass

UM_PER = {"nm": 1e-3, "µm": 1.0, "mm": 1e3, "m": 1e6}
"""How many µm each unit of length has in which pixel sizes are given."""
DEGREE = "°"
"""Of maps in longitude and latitude. It is no length."""
_FACTORS = {
    "nm": ("nm", 1.0),
    "nanometer": ("nm", 1.0),
    "nanometre": ("nm", 1.0),
    "å": ("nm", 0.1),
    "angstrom": ("nm", 0.1),
    "pm": ("nm", 1e-3),
    "µm": ("µm", 1.0),
    "um": ("µm", 1.0),
    "micron": ("µm", 1.0),
    "microns": ("µm", 1.0),
    "micrometer": ("µm", 1.0),
    "micrometre": ("µm", 1.0),
    "mm": ("mm", 1.0),
    "millimeter": ("mm", 1.0),
    "cm": ("mm", 10.0),
    "centimeter": ("mm", 10.0),
    "inch": ("mm", 25.4),
    "m": ("m", 1.0),
    "meter": ("m", 1.0),
    "metre": ("m", 1.0),
    DEGREE: (DEGREE, 1.0),
}
"""Units as files name them, in lower case: the unit that is given, and its number."""


@dataclass(frozen=True, slots=True)
class PixelSize:
    """Height and width of a pixel, in a unit of `UM_PER` or in degrees."""

    height: float
    width: float
    unit: str

    def turned(self) -> "PixelSize":
        """Swap height and width, as for an image that is turned by a quarter."""
        return PixelSize(self.width, self.height, self.unit)

    def in_unit(self, unit: str) -> "PixelSize | None":
        """Give the same size in another unit of length; None where one of the two is none."""
        if self.unit == unit:
            return self
        if self.unit not in UM_PER or unit not in UM_PER:
            return None
        factor = UM_PER[self.unit] / UM_PER[unit]
        return PixelSize(self.height * factor, self.width * factor, unit)


def to_pixel_size(height: object, width: object, unit: str) -> PixelSize | None:
    """Make a pixel size of what a file states.

    Args:
        height: A number, or a text that is one.
        width: Likewise.
        unit: As the file names it, such as "micron".

    Returns:
        None where the numbers are not above 0, or the unit is not known.
    """
    name = unit.strip().replace("μ", "µ").replace("\\u00B5", "µ").lower()
    try:
        sides = [float(side) for side in (height, width)]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if name not in _FACTORS or not all(math.isfinite(side) and side > 0 for side in sides):
        return None
    known, factor = _FACTORS[name]
    return PixelSize(sides[0] * factor, sides[1] * factor, known)
