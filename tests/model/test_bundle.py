import random
from pathlib import Path

import pytest
import torch

from limner.data.preprocess import Preprocessing
from limner.errors import LimnerError
from limner.labels import Labels
from limner.model.bundle import Bundle, read_tensors, write_tensors
from limner.model.unet import UNet
from limner.recipe import parse_recipe

EARLIER = Path(__file__).parent / "earlier"
"""Models written before tensors were renamed, with random weights of a fixed seed."""


@pytest.fixture
def bundle() -> Bundle:
    recipe = parse_recipe({"model": {"widths": [2, 4]}, "data": {"size_px": [8, 12]}})
    weights = UNet.from_settings(recipe.model, 3, 1).state_dict()
    return Bundle(
        recipe=recipe,
        labels=Labels.from_values(("background", "foreground"), (0, 255)),
        preprocessing=Preprocessing((8, 12), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)),
        weights=weights,
        scores={"validation_mean_dice": 0.5},
        split={"train": ["a"], "val": ["b"], "test": []},
    )


def test_a_bundle_survives_its_file(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "m.safetensors")
    loaded = Bundle.load(tmp_path / "m.safetensors")
    assert (loaded.recipe, loaded.labels, loaded.preprocessing) == (
        bundle.recipe,
        bundle.labels,
        bundle.preprocessing,
    )
    assert (loaded.scores, loaded.split) == (bundle.scores, bundle.split)
    images = torch.randn(1, 3, 8, 12)
    assert torch.equal(loaded.network()(images), bundle.network()(images))


def test_every_flipped_bit_and_every_truncation_is_refused_by_name(
    bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    bundle.save(path)
    content, rng = path.read_bytes(), random.Random(0)
    for trial in range(120):
        offset = rng.randrange(len(content))
        damaged = bytearray(content)
        damaged[offset] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged if trial % 3 else content[:offset])
        with pytest.raises(LimnerError, match=r"m\.safetensors"):
            Bundle.load(path)


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(LimnerError, match="not written by limner"):
        Bundle.load(tmp_path / "other.safetensors")


def test_a_missing_model_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match=r"model\.safetensors of a run"):
        Bundle.load(tmp_path / "none.safetensors")


def test_a_failed_write_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    write_tensors(path, {"x": torch.zeros(2)}, {})
    before = path.read_bytes()

    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(LimnerError, match="No space left"):
        write_tensors(path, {"x": torch.ones(2)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("attention", 0.009485489688813686, 0.013242608867585659),
        ("add", 0.3537287712097168, 0.0006220089853741229),
        ("nested", -0.4546513557434082, 0.01013917289674282),
    ],
)
def test_models_of_earlier_versions_give_the_logits_that_they_gave(
    name: str, mean: float, std: float
) -> None:
    network = Bundle.load(EARLIER / f"{name}.safetensors").network()
    with torch.no_grad():
        logits = network(torch.linspace(0, 1, 3 * 8 * 12).view(1, 3, 8, 12))
    assert float(logits.mean()) == pytest.approx(mean, rel=1e-4)
    assert float(logits.std()) == pytest.approx(std, rel=1e-3)


def test_the_names_of_timm_are_never_translated(tmp_path: Path) -> None:
    names = ["average.encoder.body.past.grow.weight", "decoder.ups.0.block.0.past.weight", "lost"]
    path = tmp_path / "m.safetensors"
    write_tensors(path, {name: torch.zeros(1) for name in names}, {})
    assert set(read_tensors(path)[0]) == {
        "ema.encoder.body.past.grow.weight",
        "decoder.blocks.0.block.0.shortcut.weight",
        "loss_sum",
    }
