import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.inference.label_evidence import FEATURES, ClassPrediction, Evidence
from limner.inference.simulated_errors import WRONG_CLASS, ErrorSimulator

SIZE_PX = 96


def disc(row: float, column: float, radius: float) -> np.ndarray:
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    return (y - row) ** 2 + (x - column) ** 2 <= radius**2


def soft(mask: np.ndarray, sure: float = 0.95) -> np.ndarray:
    return np.where(mask, sure, 1 - sure).astype(np.float32)


CELLS = disc(24, 24, 9) | disc(24, 70, 9) | disc(70, 24, 9)
FIRST, SECOND = disc(30, 30, 10), disc(66, 66, 10)


def compare(mask: np.ndarray, predicted: np.ndarray = CELLS) -> Evidence:
    probability = soft(predicted)
    prediction = ClassPrediction(np.stack([1 - probability, probability]), 1, ())
    return prediction.compare(mask, np.ones_like(mask))


def feature(evidence: Evidence, name: str) -> float:
    return float(evidence.features[FEATURES.index(name)])


def test_a_mask_as_predicted_is_no_evidence() -> None:
    evidence = compare(CELLS)
    assert feature(evidence, "agreement") == pytest.approx(feature(evidence, "expected_agreement"))
    for name in ("missing", "invented", "shift", "shift_gain", "mirror_gain"):
        assert feature(evidence, name) == pytest.approx(0, abs=1e-6)
    assert evidence.offset_px == 0


def test_an_object_that_is_not_in_the_mask_is_found_at_its_place() -> None:
    evidence = compare(CELLS & ~disc(24, 70, 9))
    assert evidence.missing == (15, 61, 34, 80)
    assert feature(evidence, "missing") > 0.8 and evidence.invented is None


def test_an_object_that_was_not_predicted_is_found_at_its_place() -> None:
    evidence = compare(CELLS | disc(70, 70, 9))
    assert evidence.invented == (61, 61, 80, 80)
    assert feature(evidence, "invented") > 0.8 and evidence.missing is None


def test_void_is_no_object_that_is_missing() -> None:
    probability = soft(CELLS)
    prediction = ClassPrediction(np.stack([1 - probability, probability]), 1, ())
    void = disc(24, 70, 12)
    assert prediction.compare(CELLS & ~void, ~void).missing is None


def test_a_shift_is_measured() -> None:
    evidence = compare(np.roll(CELLS, (-5, 4), (0, 1)))
    assert evidence.shift_px == (5, -4)
    assert feature(evidence, "shift_gain") > 0.2


@pytest.mark.parametrize("way", [-3, 3])
def test_how_far_an_outline_is_out_or_in_is_measured(way: int) -> None:
    evidence = compare(disc(48, 48, 24 + way), disc(48, 48, 24))
    assert evidence.offset_px == pytest.approx(way, abs=0.5)


def test_an_object_of_another_class_is_found_with_that_class() -> None:
    first, second = soft(FIRST), soft(SECOND)
    probabilities = np.stack([np.clip(1 - first - second, 0.01, 1), first, second])
    prediction = ClassPrediction(probabilities / probabilities.sum(0), 1, (2,))
    evidence = prediction.compare(FIRST | SECOND, np.ones_like(FIRST))
    assert (evidence.other_class, evidence.other_class_box) == (2, (56, 56, 77, 77))


@given(st.integers(0, 10_000))
def test_simulated_errors_change_the_mask_by_counter(seed: int) -> None:
    def drawn() -> dict[str, np.ndarray | None]:
        simulator = ErrorSimulator(np.random.default_rng(seed), [FIRST, SECOND | FIRST])
        return {kind: simulator.draw(kind, CELLS) for kind in simulator.kinds}

    masks = drawn()
    for kind, again in drawn().items():
        mask = masks[kind]
        assert (mask is None and again is None) or np.array_equal(mask, again)
        assert mask is None or not np.array_equal(mask, CELLS)
    assert masks["missing object"] is not None and not (masks["missing object"] & ~CELLS).any()
    assert masks["loose outline"] is not None and (masks["loose outline"] >= CELLS).all()
    assert masks["tight outline"] is not None and (masks["tight outline"] <= CELLS).all()


def test_nothing_is_drawn_into_an_empty_mask() -> None:
    simulator = ErrorSimulator(np.random.default_rng(0), [CELLS])
    empty = np.zeros_like(CELLS)
    assert all(simulator.draw(kind, empty) is None for kind in simulator.kinds)
    assert simulator.rename(empty, empty) is None and WRONG_CLASS not in simulator.kinds
    renamed = simulator.rename(empty, SECOND)
    assert renamed is not None and np.array_equal(renamed, SECOND)
