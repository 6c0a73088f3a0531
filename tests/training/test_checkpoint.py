from pathlib import Path

import torch

from limner.model.unet import UNet
from limner.recipe import parse_recipe
from limner.training.checkpoint import Checkpoints, restore_state
from limner.training.state import SCALAR_FIELDS, TrainState, initial_state

EARLIER = Path(__file__).parent / "earlier"
"""A checkpoint written before tensors were renamed, after one step of a fixed seed."""
RECIPE = parse_recipe(
    {
        "model": {
            "widths": [2, 4, 6],
            "block": "residual",
            "skip": "attention",
            "deep_supervision": True,
            "refine_convolutions": 1,
        },
        "train": {"seed": 5, "device": "cpu", "precision": "float32"},
    }
)


def new_state() -> TrainState:
    return initial_state(UNet.from_settings(RECIPE.model, 3, 1), RECIPE.train)


def norm(network: UNet) -> float:
    return sum(float(parameter.detach().abs().sum()) for parameter in network.parameters())


def test_a_checkpoint_of_an_earlier_version_is_restored() -> None:
    checkpoint = Checkpoints(EARLIER).load()
    assert checkpoint is not None and checkpoint.damaged == ()
    state = new_state()
    restore_state(state, checkpoint)
    assert (state.step, state.updates, state.micro_batches, state.best_dice) == (1, 1, 2, 0.25)
    torch.testing.assert_close(state.loss_sum, torch.tensor([0.5442, 1.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(norm(state.network), 218.52994210086763, atol=1e-4, rtol=0)
    torch.testing.assert_close(norm(state.ema), 218.52012326102704, atol=1e-4, rtol=0)


def test_a_checkpoint_holds_all_of_a_state(tmp_path: Path) -> None:
    state = new_state()
    restore_state(state, Checkpoints(EARLIER).load())
    state.epoch, state.progress, state.skipped = 3, 0.25, 7
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, {"identity": {"torch": "0"}})
    loaded, restored = checkpoints.load(), new_state()
    assert loaded.metadata["identity"] == {"torch": "0"}
    restore_state(restored, loaded)
    assert [getattr(restored, name) for name in SCALAR_FIELDS] == [
        getattr(state, name) for name in SCALAR_FIELDS
    ]
    for name in ("network", "ema"):
        expected = getattr(state, name).state_dict()
        for key, value in getattr(restored, name).state_dict().items():
            assert torch.equal(value, expected[key])
    moments = restored.optimiser.state_dict()["state"]
    for index, expected in state.optimiser.state_dict()["state"].items():
        assert all(torch.equal(moments[index][key], value) for key, value in expected.items())
