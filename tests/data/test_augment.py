import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.data.augment import augment, batch_generator, hash_noise, sample_parameters
from limner.recipe import AugmentSettings


def augment_with(
    images: torch.Tensor, masks: torch.Tensor, settings: AugmentSettings, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    parameters = sample_parameters(tuple(images.shape), settings, generator)
    return augment(images, masks, settings, parameters)


NOTHING = AugmentSettings(
    horizontal_flip=0,
    vertical_flip=0,
    rotate_degrees=0,
    scale=0,
    shift=0,
    elastic=0,
    brightness=0,
    contrast=0,
    colour=0,
    blur=0,
    noise=0,
)


def batch(h: int = 24, w: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    masks = torch.zeros(4, h, w, dtype=torch.uint8)
    masks[:, 5:15, 6:22] = torch.tensor([1, 2, 255, 1], dtype=torch.uint8).view(4, 1, 1)
    return masks.unsqueeze(1).expand(-1, 3, -1, -1).float() / 255, masks


def test_settings_of_0_change_nothing() -> None:
    images, masks = batch()
    moved, moved_masks = augment_with(images, masks, NOTHING, batch_generator(0, 0, 0))
    torch.testing.assert_close(moved, images, atol=1e-5, rtol=0)
    assert torch.equal(moved_masks, masks)


@given(st.integers(0, 1000))
def test_a_mask_gets_no_new_values(step: int) -> None:
    images, masks = batch()
    moved = augment_with(images, masks, AugmentSettings(), batch_generator(0, 0, step))[1]
    assert set(moved.unique().tolist()) <= {0, 1, 2, 255}


def test_the_parameters_depend_on_seed_epoch_and_step_alone() -> None:
    images, masks = batch()
    first, again = (
        augment_with(images, masks, AugmentSettings(), batch_generator(1, 2, 3))[0]
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(
        first, augment_with(images, masks, AugmentSettings(), batch_generator(1, 2, 4))[0]
    )


def test_image_and_mask_move_together() -> None:
    images, masks = batch()
    masks = masks.clamp(max=1)
    images = masks.unsqueeze(1).expand(-1, 3, -1, -1).float()
    settings = NOTHING.model_copy(
        update={
            "horizontal_flip": 0.5,
            "rotate_degrees": 180.0,
            "scale": 0.2,
            "shift": 0.1,
            "elastic": 0.02,
        }
    )
    moved, moved_masks = augment_with(images, masks, settings, batch_generator(0, 0, 0))
    assert ((moved[:, 0] > 0.5) == (moved_masks == 1)).float().mean() > 0.97


def test_a_flip_is_exact() -> None:
    images, masks = batch()
    moved = augment_with(
        images, masks, NOTHING.model_copy(update={"horizontal_flip": 1.0}), batch_generator(0, 0, 0)
    )[1]
    assert torch.equal(moved, masks.flip(-1))


def test_a_rotation_does_not_shear_a_wide_image() -> None:
    masks = torch.zeros(1, 32, 64, dtype=torch.uint8)
    y, x = torch.meshgrid(torch.arange(32) - 15.5, torch.arange(64) - 31.5, indexing="ij")
    masks[0] = (x**2 + y**2 < 100).to(torch.uint8)
    images = masks.unsqueeze(1).expand(-1, 3, -1, -1).float()
    moved = augment_with(
        images,
        masks,
        NOTHING.model_copy(update={"rotate_degrees": 180.0}),
        batch_generator(0, 0, 5),
    )[1]
    # Further out, the mirror image comes in
    inner = (x**2 + y**2 < 225).unsqueeze(0)
    assert (moved == masks)[inner].float().mean() > 0.97


def test_a_part_of_a_batch_is_augmented_as_in_the_whole() -> None:
    images, masks = batch()
    parameters = sample_parameters((4, 3, 24, 32), AugmentSettings(), batch_generator(0, 0, 0))
    whole = augment(images, masks, AugmentSettings(), parameters.select(slice(0, 4), images.device))
    part = augment(
        images[1:3], masks[1:3], AugmentSettings(), parameters.select(slice(1, 3), images.device)
    )
    for of_whole, of_part in zip(whole, part, strict=True):
        torch.testing.assert_close(of_whole[1:3], of_part, atol=1e-6, rtol=0)


def test_the_noise_is_white() -> None:
    noise = hash_noise(torch.tensor([[3.0], [4.0]]), 128, 128)
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02
    for moved in (noise.roll(1, 3), noise.roll(1, 2), noise.flip(0)):
        assert abs(float((noise * moved).mean())) < 0.03
