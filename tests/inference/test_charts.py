from xml.etree import ElementTree

import numpy as np
import pytest

from limner.inference.charts import histogram, learning_curve, reliability_curve, scatter

SVG = "{http://www.w3.org/2000/svg}"


def test_a_histogram_counts_every_image_once() -> None:
    values = np.array([0.0, 0.02, 0.5, 0.99, 1.0])
    chart = ElementTree.fromstring(histogram(values, "Dice"))
    titles = [title.text or "" for title in chart.findall("rect/title")]
    assert sum(int(title.split()[0]) for title in titles) == len(values)


def test_a_scatter_has_a_point_for_each_image_and_its_labels() -> None:
    x, y = np.linspace(0, 1, 7), np.linspace(1, 0, 7)
    chart = ElementTree.fromstring(scatter(x, y, "predicted Dice", "true Dice"))
    assert len(chart.findall("circle")) == 7
    assert {"predicted Dice", "true Dice"} <= {text.text for text in chart.findall("text")}


def test_a_reliability_curve_leaves_empty_bins_out() -> None:
    bins = np.array([[10.0, 1.0, 2.0], [0.0, 0.0, 0.0], [10.0, 9.0, 8.0]])
    chart = ElementTree.fromstring(reliability_curve(bins, bins))
    for style in ("before", "after"):
        assert len(chart.findall(f"circle[@class='{style}']")) == 2


@pytest.mark.parametrize(
    ("losses", "lines"), [([3.0, 1.0, 0.5], 2), ([None, 1.0, 0.5], 2), ([None, None, None], 1)]
)
def test_a_learning_curve_marks_the_best_epoch(losses: list[float | None], lines: int) -> None:
    chart = ElementTree.fromstring(learning_curve([1, 2, 3], [0.2, 0.9, 0.8], losses))
    assert "best 0.9000 in epoch 2" in chart.findtext(f"{SVG}title", "")
    assert len(chart.findall(f"{SVG}polyline")) == lines
    assert len(chart.findall(f"{SVG}circle")) == 1
