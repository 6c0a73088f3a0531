#!/usr/bin/env bash
# dcm2niix 1.0.20260724 and SimpleITK 2.5.7: one DICOM series becomes two NIfTI volumes whose rows run in opposite order.
#
# Behaviour: dcm2niix turns the rows of each slice round and says so in the affine; SimpleITK keeps the order of DICOM
#   and says that. By their affines both hold the same voxel at the same place.
# What one would guess: the arrays are equal, since neither program changes a value of the series.
# What follows: a mask that was drawn on one file and is laid on the other by its array alone, or on the DICOM slices, is
#   upside down. Pair slices and pixels by the affine, as 3D viewers do, and never by the index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dcm2niix==1.0.20260724 SimpleITK==2.5.7 nibabel==5.4.2 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
cat > make.py <<'PYTHON'
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

Path("series").mkdir()
rng = np.random.default_rng(0)
study, series, frame = generate_uid(), generate_uid(), generate_uid()
for number in range(4):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    slice_ = Dataset()
    slice_.file_meta = meta
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, series
    slice_.FrameOfReferenceUID, slice_.Modality, slice_.Manufacturer = frame, "CT", "none"
    slice_.SeriesNumber, slice_.InstanceNumber = 1, number + 1
    slice_.PatientID, slice_.PatientName = "1", "A"
    slice_.StudyDate = slice_.SeriesDate = "20260101"
    slice_.StudyTime = slice_.SeriesTime = "120000"
    slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    slice_.ImagePositionPatient = [-10, -20, 2.0 * number]
    slice_.PixelSpacing, slice_.SliceThickness = [0.5, 0.75], 2.0
    slice_.Rows, slice_.Columns, slice_.SamplesPerPixel = 6, 8, 1
    slice_.PhotometricInterpretation = "MONOCHROME2"
    slice_.BitsAllocated = slice_.BitsStored = 16
    slice_.HighBit, slice_.PixelRepresentation = 15, 1
    slice_.RescaleSlope, slice_.RescaleIntercept = 1, 0
    slice_.PixelData = rng.integers(0, 999, (6, 8)).astype(np.int16).tobytes()
    slice_.save_as(f"series/{number}.dcm", enforce_file_format=True)
PYTHON
venv/bin/python make.py
venv/bin/dcm2niix -z y -b n -f dcm2niix -o . series > dcm2niix.log
venv/bin/python - <<'PYTHON'
import nibabel
import numpy as np
import SimpleITK

reader = SimpleITK.ImageSeriesReader()
reader.SetFileNames(reader.GetGDCMSeriesFileNames("series"))
SimpleITK.WriteImage(reader.Execute(), "itk.nii.gz")
volumes = nibabel.load("dcm2niix.nii.gz"), nibabel.load("itk.nii.gz")
first, second = (np.asarray(volume.dataobj) for volume in volumes)
print("the arrays are equal:", np.array_equal(first, second))
print("equal once the second axis is turned round:", np.array_equal(first, second[:, ::-1]))
print("directions of the axes:", *("".join(nibabel.aff2axcodes(each.affine)) for each in volumes))
turned = [nibabel.as_closest_canonical(volume) for volume in volumes]
same = np.array_equal(*(np.asarray(volume.dataobj) for volume in turned))
print("equal by their affines:", same and np.allclose(turned[0].affine, turned[1].affine))
assert not np.array_equal(first, second) and np.array_equal(first, second[:, ::-1]) and same
PYTHON
# Output seen:
#   the arrays are equal: False
#   equal once the second axis is turned round: True
#   directions of the axes: LAS LPS
#   equal by their affines: True
