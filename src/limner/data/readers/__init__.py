"""One file for each image format. A new one also needs a line in `data/image_file.py`."""
