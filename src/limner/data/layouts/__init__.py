"""One file for each layout or annotation format. A new one also needs a line in `data/scan.py`."""
