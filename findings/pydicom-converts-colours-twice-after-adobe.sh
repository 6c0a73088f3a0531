#!/usr/bin/env bash
# pydicom 3.0.2 with Pillow: a colour JPEG that carries Adobe's marker is turned from YCbCr to RGB twice.
#
# Behaviour: pixel_array of a DICOM of the photometric interpretation YBR_FULL_422 gives the right colours where its JPEG
#   begins with JFIF's marker, and wrong ones, 105 of 255 off on average, where the same JPEG begins with Adobe's marker
#   (APP14, transform 1), which says the same thing. Pillow has then turned the colours already, and pydicom does it
#   again. With the plug-in gdcm both are right.
# What one would guess: pixel_array is RGB for YBR_FULL_422, whatever the marker: both JPEGs hold the same coefficients.
# What follows: decode the frame without a change of colours, ask the markers, and turn once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2 pillow==12.2.0 numpy==2.4.6 python-gdcm==3.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import io

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage

y, x = np.mgrid[:32, :48]
photograph = np.stack([x * 5, y * 7, 255 - x * 5], axis=2).astype(np.uint8)
content = io.BytesIO()
Image.fromarray(photograph).save(content, "JPEG", quality=95, subsampling=0)
jfif = content.getvalue()
jfif_end = 4 + int.from_bytes(jfif[4:6], "big")
adobe = jfif[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\1" + jfif[jfif_end:]


def error(frame: bytes, plugin: str) -> float:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    dataset.Rows, dataset.Columns = photograph.shape[:2]
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    return float(np.abs(pixel_array(dataset, decoding_plugin=plugin).astype(int) - photograph).mean())


print("pydicom", pydicom.__version__)
errors = {
    (marker, plugin): error(frame, plugin)
    for marker, frame in {"JFIF": jfif, "Adobe": adobe}.items()
    for plugin in ("pillow", "gdcm")
}
for (marker, plugin), value in errors.items():
    print(f"{marker:6} {plugin:7} mean error {value:.1f}")
assert errors["JFIF", "pillow"] < 3 and errors["JFIF", "gdcm"] < 3 and errors["Adobe", "gdcm"] < 3
assert errors["Adobe", "pillow"] > 30
PYTHON
# Output seen:
#   pydicom 3.0.2
#   JFIF   pillow  mean error 0.5
#   JFIF   gdcm    mean error 0.5
#   Adobe  pillow  mean error 105.0
#   Adobe  gdcm    mean error 0.5
