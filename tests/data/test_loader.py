import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.data.cache import PreparedDataset
from limner.data.loader import BatchLoader, epoch_order
from limner.recipe import AugmentSettings


@given(st.integers(1, 200), st.integers(0, 99), st.integers(0, 99))
def test_every_epoch_visits_each_sample_once(count: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(count, seed, epoch)) == list(range(count))


def test_epochs_differ_in_order() -> None:
    assert epoch_order(50, 0, 0).tolist() != epoch_order(50, 0, 1).tolist()


def test_an_epoch_can_begin_in_the_middle() -> None:
    rng = np.random.default_rng(0)
    data = PreparedDataset(
        rng.integers(0, 255, (10, 16, 16, 3)).astype(np.uint8),
        rng.integers(0, 2, (10, 16, 16)).astype(np.uint8),
        np.arange(10),
    )
    batches = BatchLoader(data, 2, AugmentSettings(), seed=3, device=torch.device("cpu"))
    whole, rest = list(batches.epoch(1)), list(batches.epoch(1, first_step=3))
    assert len(whole) == 5
    assert all(
        torch.equal(a, b)
        for pair, other in zip(whole[3:], rest, strict=True)
        for a, b in zip(pair, other, strict=True)
    )


@given(st.integers(1, 4))
def test_the_parts_of_several_processes_are_the_batch(processes: int) -> None:
    rng = np.random.default_rng(0)
    data = PreparedDataset(
        rng.integers(0, 255, (24, 8, 8, 3)).astype(np.uint8),
        rng.integers(0, 2, (24, 8, 8)).astype(np.uint8),
        np.arange(24),
    )
    settings, device = AugmentSettings(), torch.device("cpu")
    whole = next(BatchLoader(data, 12, settings, 3, device).epoch(0))
    parts = [
        next(BatchLoader(data, 12, settings, 3, device, (rank, processes)).epoch(0))
        for rank in range(processes)
    ]
    for position in range(2):
        torch.testing.assert_close(
            torch.cat([part[position] for part in parts]), whole[position], atol=1e-6, rtol=0
        )


def test_a_batch_gives_the_ids_of_its_samples() -> None:
    data = PreparedDataset(
        np.zeros((4, 8, 8, 3), np.uint8),
        np.zeros((4, 8, 8), np.uint8),
        np.array([0, 0, 1, 1]),
        ("a", "b"),
    )
    batches = BatchLoader(data, 4, AugmentSettings(), 0, torch.device("cpu"))
    assert sorted(batches.sample_ids(0, 0)) == ["a", "a", "b", "b"]
