"""OME-Zarr stores of the versions in use, written by zarr."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr


def write_store(
    path: Path, pixels: np.ndarray, axes: str, *, version: str = "0.5", **options: Any
) -> Any:
    """Write an image with a smaller level below it, as `write_image` does; returns the group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    return write_image(group, pixels, axes, version=version, **options)


def write_image(
    group: Any,
    pixels: np.ndarray,
    axes: str,
    *,
    version: str = "0.5",
    um: float = 0.25,
    level: str = "full",
) -> Any:
    """Write an image into a group."""
    chunks = (*(1 for _ in axes[:-2]), 16, 16)
    for name, values in ((level, pixels), ("half", pixels[..., ::2, ::2])):
        array = group.create_array(name, shape=values.shape, chunks=chunks, dtype=values.dtype)
        array[:] = values
    kinds = {"t": {"type": "time"}, "c": {"type": "channel"}}
    space = {"type": "space", "unit": "micrometer"}
    scale = [um if axis in "yx" else 1.0 for axis in axes]
    scales = {
        "axes": [{"name": axis, **kinds.get(axis, space)} for axis in axes],
        "datasets": [
            {
                "path": name,
                "coordinateTransformations": [
                    {"type": "scale", "scale": [value * factor for value in scale]}
                ],
            }
            for name, factor in ((level, 1), ("half", 2))
        ],
    }
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": [scales]}
    else:
        group.attrs["multiscales"] = [scales | {"version": version}]
    return group


def write_labels(
    group: Any, labels: dict[str, np.ndarray], axes: str, version: str = "0.5"
) -> None:
    """Write label images into the group of an image."""
    parent = group.create_group("labels")
    for name, values in labels.items():
        write_image(parent.create_group(name), values, axes, version=version)
    names = {"labels": list(labels)}
    parent.attrs.update({"ome": {"version": version} | names} if version == "0.5" else names)
