import random
from pathlib import Path

import pytest
import torch

from limner.data.preprocess import Preprocessing
from limner.errors import LimnerError
from limner.labels import Labels
from limner.model.bundle import Bundle, write_tensors
from limner.model.presets import build_network
from limner.recipe import parse_recipe


@pytest.fixture
def bundle() -> Bundle:
    recipe = parse_recipe({"model": {"widths": [2, 4]}, "data": {"size_px": [8, 12]}})
    weights = build_network(recipe.model, 3, 1).state_dict()
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
    again = Bundle.load(tmp_path / "m.safetensors")
    assert (again.recipe, again.labels, again.preprocessing) == (
        bundle.recipe,
        bundle.labels,
        bundle.preprocessing,
    )
    assert (again.scores, again.split) == (bundle.scores, bundle.split)
    images = torch.randn(1, 3, 8, 12)
    assert torch.equal(again.network()(images), bundle.network()(images))


def test_every_flipped_bit_and_every_truncation_is_refused_by_name(
    bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    bundle.save(path)
    content, chance = path.read_bytes(), random.Random(0)
    for trial in range(120):
        place = chance.randrange(len(content))
        damaged = bytearray(content)
        damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged if trial % 3 else content[:place])
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

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LimnerError, match="No space left"):
        write_tensors(path, {"x": torch.ones(2)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
