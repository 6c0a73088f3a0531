"""Where the voxels of a volume lie in the body."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from limner.data.image_file import SNIFFED_BYTES
from limner.data.readers import nifti, nrrd
from limner.files import channel_paths


def read_affine(path: Path) -> Float[ndarray, "4 4"] | None:
    """Read the affine of a NIfTI or an NRRD: from the indices of voxels to millimetres (RAS+).

    None for a file of another format. Of several files that hold the channels of one image it is
    that of the first.
    """
    path = channel_paths(path)[0]
    if path.is_dir():
        # Such as an OME-Zarr
        return None
    with path.open("rb") as file:
        start = file.read(SNIFFED_BYTES)
        file.seek(0)
        if nifti.recognises(start):
            return np.asarray(nifti.load_nifti(file).affine, float)
        return nrrd.read_affine(file) if nrrd.recognises(start) else None
