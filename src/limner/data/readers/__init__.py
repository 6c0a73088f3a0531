"""One file for each image format; DICOM has several. A new format also needs a line in
`data/image_file.py`.
"""
