"""CVAT's "CVAT for images 1.1": an XML with an exact mask of each connected part."""

from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from limner.data.storage import Storage
from limner.labels import VOID, Labels
from limner.review.formats.parts import boxed_parts, void_lost
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> list[str]:
    """Write `annotations.xml`. Returns what the format cannot hold: void."""
    labels, void = predictions.labels, 0
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    listed = ElementTree.SubElement(task, "labels")
    for class_index in labels.scored:
        label = ElementTree.SubElement(listed, "label")
        ElementTree.SubElement(label, "name").text = labels.names[class_index]
        ElementTree.SubElement(label, "color").text = _hex(labels.colour(class_index))
        ElementTree.SubElement(label, "type").text = "any"
    for number, kept in enumerate(masks):
        root.append(_image(number, kept, labels))
        void += bool((kept.mask == VOID).any())
    ElementTree.indent(root)
    content = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    out.write_bytes("annotations.xml", content)
    return void_lost(void, "CVAT")


def _image(number: int, kept: KeptMask, labels: Labels) -> ElementTree.Element:
    height, width = kept.mask.shape
    attributes = {"id": number, "name": kept.image_name, "width": width, "height": height}
    image = ElementTree.Element("image", {key: str(value) for key, value in attributes.items()})
    for class_index in labels.scored:
        for top, left, pixels in boxed_parts(kept.mask == class_index):
            values = {
                "label": labels.names[class_index],
                "source": "manual",
                "occluded": 0,
                "rle": ", ".join(map(str, _runs(pixels))),
                "left": left,
                "top": top,
                "width": pixels.shape[1],
                "height": pixels.shape[0],
                "z_order": 0,
            }
            ElementTree.SubElement(image, "mask", {key: str(v) for key, v in values.items()})
    return image


def _runs(pixels: Bool[ndarray, "h w"]) -> list[int]:
    """Run lengths row by row, of background and object in turn."""
    flat = np.concatenate([[False], pixels.ravel(), [not pixels.ravel()[-1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    runs: list[int] = np.diff(edges, prepend=0).tolist()
    return runs


def _hex(colour: tuple[int, int, int]) -> str:
    return f"#{bytes(colour).hex()}"
