"""One file for each format of reviewed masks. A new one also needs a line in `write.py`."""
