"""Shapes of annotation tools as pixels: a file for each rule by which a tool draws them."""
