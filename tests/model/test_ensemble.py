from pathlib import Path

import pytest
import torch

from limner.data.preprocess import Preprocessing
from limner.labels import Labels
from limner.model.bundle import Bundle
from limner.model.ensemble import Ensemble, join_weights, member_count
from limner.model.receptive_field import measure_halo
from limner.model.unet import UNet
from limner.recipe import Recipe

RECIPE = Recipe().replace({"model.widths": (2, 4), "data.size_px": (16, 16)})
LABELS = Labels.from_values(("background", "lesion"), (0, 255))


def network(seed: int) -> UNet:
    torch.manual_seed(seed)
    return UNet.from_settings(RECIPE.model, 3, 1).eval()


def test_the_logits_are_the_mean_of_the_members_() -> None:
    members = [network(seed) for seed in range(3)]
    images = torch.rand(2, 3, 21, 34)
    expected = torch.stack([member(images) for member in members]).mean(0)
    torch.testing.assert_close(Ensemble(members, 3)(images), expected)


def test_members_of_other_normalisations_see_what_they_were_trained_on() -> None:
    """Also at the borders, which are padded by repetition."""
    members = [network(seed) for seed in range(2)]
    normalisations = [((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), ((0.4, 0.6, 0.3), (0.2, 0.25, 0.3))]
    weights = join_weights([member.state_dict() for member in members], normalisations)
    assert member_count(weights) == 2 and member_count(members[0].state_dict()) == 0
    ensemble = Ensemble([network(7), network(8)], 3).eval()
    ensemble.load_state_dict(weights)
    images = torch.rand(1, 3, 21, 34)
    standardised = [
        (images - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
        for mean, std in normalisations
    ]
    expected = (members[0](standardised[0]) + members[1](standardised[1])) / 2
    torch.testing.assert_close(ensemble(standardised[0]), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("members", [1, 3])
def test_a_model_file_holds_all_members(tmp_path: Path, members: int) -> None:
    networks = [network(seed) for seed in range(members)]
    mean = std = (0.5, 0.5, 0.5)
    bundle = Bundle(
        recipe=RECIPE,
        labels=LABELS,
        preprocessing=Preprocessing((16, 16), mean, std),
        weights=join_weights([each.state_dict() for each in networks], [(mean, std)] * members),
    )
    bundle.save(tmp_path / "model.safetensors")
    loaded = Bundle.load(tmp_path / "model.safetensors")
    assert loaded.members == members
    images = torch.rand(1, 3, 16, 16)
    expected = torch.stack([each(images) for each in networks]).mean(0)
    torch.testing.assert_close(loaded.network()(images), expected)


def test_an_ensemble_sees_as_far_as_its_members() -> None:
    assert measure_halo(Ensemble([network(0), network(1)], 3).eval(), 3) == measure_halo(
        network(0), 3
    )
