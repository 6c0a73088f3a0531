"""The recipe: every setting of one run, typed, validated and frozen."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limner.errors import LimnerError
from limner.recipe_migration import in_current_keys

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
PositiveInt = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
ResizeMode = Literal["resize", "letterbox", "tile"]
LossName = Literal[
    "dice",
    "cross-entropy",
    "dice+cross-entropy",
    "focal",
    "dice+focal",
    "tversky",
    "focal-tversky",
    "lovasz",
    "boundary",
    "hausdorff",
]
Tracker = Literal["tensorboard", "mlflow", "wandb"]
Preset = Literal[
    "tutorial", "tutorial-expanded", "unet", "resunet", "attention-unet", "unet++", "limner"
]


class _Section(BaseModel):
    # The text below a field is its description, in docs/recipe.md too
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DataSettings(_Section):
    """What the network sees, and how samples are split."""

    size_px: tuple[PositiveInt, PositiveInt] = (256, 256)
    """Height and width of the network's input."""
    resize_mode: ResizeMode = "resize"
    """How images get that size: stretched (resize), fitted into it and padded (letterbox), or cut
    into tiles at their own size (tile)."""
    channels: PositiveInt = 3
    """Channels of the network's input: 3 for colour, 1 for grey, or as many as the images have."""
    validation_fraction: Fraction = 0.1
    """Share of the samples kept for validation, where the layout has no split."""
    test_fraction: Fraction = 0.2
    """Share of the samples kept for the test, where the layout has no split."""
    split_seed: Seed = 0
    """Seed of the split, where the layout has none."""
    folds: Annotated[int, Field(ge=0)] = 0
    """Folds of a cross-validation, from 2 on; 0 is one training alone."""
    fold: Annotated[int, Field(ge=0)] = 0
    """The fold that is validated on, from 0 on."""
    group_pattern: str = ""
    """Regular expression for the part of a name that images of one patient or film share."""
    image_folder: str = ""
    """Folder of the images in the dataset, where its name says nothing, such as photos."""
    mask_folder: str = ""
    """Folder of the masks, likewise."""
    allow_leaks: bool = False
    """Train although test images are copies of training images."""
    skip_broken: bool = False
    """Leave out images and masks that are broken or have no partner, instead of stopping."""


class ModelSettings(_Section):
    """The network: a member of the U-Net family, or a pretrained encoder with a decoder."""

    preset: Preset = "limner"
    """Member of the U-Net family; it gives the keys below their values where you do not."""
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (32, 64, 128, 256, 512)
    """Channels at full resolution and after each halving, the bottleneck last."""
    block: Literal["conv", "residual"] = "conv"
    """Convolutions in sequence (conv), or with a residual connection (residual,
    arXiv:1603.05027)."""
    encoder_convolutions: PositiveInt = 2
    """Convolutions in each block of the encoder."""
    decoder_convolutions: PositiveInt = 2
    """Convolutions in each block of the decoder."""
    refine_convolutions: Annotated[int, Field(ge=0)] = 0
    """Convolutions in a last block at full resolution; 0 is none."""
    kernel: Literal[1, 3, 5, 7] = 3
    """Side of the convolution kernels, in px."""
    activation: Literal["relu", "leaky-relu", "gelu", "silu"] = "relu"
    """Activation function after each normalisation."""
    norm: Literal["batch", "instance", "group", "none"] = "batch"
    """Normalisation after each convolution."""
    pooling: Literal["max", "stride"] = "max"
    """How the encoder halves the resolution: by a max pool, or by a convolution of stride 2."""
    upsampling: Literal["transpose", "bilinear", "nearest"] = "transpose"
    """How the decoder doubles it: by a transposed convolution, or by bilinear or nearest
    interpolation and a convolution."""
    skip: Literal["concat", "add", "attention"] = "concat"
    """How a decoder block takes the encoder's features: concatenated, added, or through an
    attention gate."""
    nested: bool = False
    """Skips pass through blocks of their own, as in U-Net++."""
    expansion_ratio: Annotated[float, Field(ge=0, le=8)] = 0.0
    """A dilated convolution after each block widens it to so many times its channels; 0 is
    none."""
    expansion_dilation: PositiveInt = 2
    """Dilation of that convolution, in px."""
    dropout: Fraction = 0.0
    """Probability that a channel is dropped after a block."""
    deep_supervision: bool = False
    """The coarser levels of the decoder are trained to predict the mask as well."""
    encoder: str = ""
    """Pretrained encoder by its name in timm, such as tf_efficientnet_lite0 (which needs no timm)
    or resnet34; empty is the preset's own."""
    encoder_weights: str = "hub"
    """Weights of the encoder: none, a file, or hub, which also finds an installed package that
    holds them."""


class AugmentSettings(_Section):
    """Random changes of the training images."""

    horizontal_flip: Fraction = 0.5
    """Probability of a horizontal flip."""
    vertical_flip: Fraction = 0.5
    """Probability of a vertical flip."""
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 180.0
    """Largest rotation either way."""
    scale: Fraction = 0.25
    """Largest change of size, as a share."""
    shift: Fraction = 0.1
    """Largest shift, as a share of the side."""
    elastic: Fraction = 0.02
    """Largest elastic displacement, as a share of the side."""
    brightness: Fraction = 0.1
    """Largest change of brightness, as a share of the full range."""
    contrast: Fraction = 0.2
    """Largest change of contrast, as a share."""
    colour: Fraction = 0.2
    """Largest change of saturation and colour balance, as a share."""
    blur: Fraction = 0.5
    """Largest share of a 3 px blur that is mixed in."""
    noise: Fraction = 0.02
    """Largest standard deviation of the noise, as a share of the full range."""


class TrainSettings(_Section):
    """Loss, optimiser, schedule and machine."""

    seed: Seed = 0
    """Seed of initial weights, sample order and augmentation."""
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    """Device that the network runs on."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the network's arithmetic; weights stay float32."""
    epochs: PositiveInt = 50
    """Passes over the training images."""
    minutes: Positive | None = None
    """Time that the whole run may take; it shortens or lengthens the schedule."""
    batch_size: PositiveInt = 16
    """Images in one training step."""
    loss: LossName = "dice+cross-entropy"
    """Loss function."""
    class_weights: Literal["none", "balanced"] | tuple[Positive, ...] = "none"
    """Weights of the classes in the loss: none, balanced (rarer classes count more), or a number
    for each class."""
    teacher: str = ""
    """Model whose predictions are learned beside the masks, such as the ensemble of a
    cross-validation (distillation); empty is none."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a pixel's label that is spread over all classes, in cross-entropy."""
    optimiser: Literal["adam", "adamw"] = "adamw"
    """Optimiser: adam, or adamw with decoupled weight decay."""
    learning_rate: Positive = 3e-3
    """Highest learning rate, reached after the warm-up."""
    encoder_lr_factor: Positive = 0.5
    """Learning rate of a pretrained encoder, as a share of learning_rate."""
    freeze_encoder: Fraction = 0.0
    """Share of the schedule in which a pretrained encoder is frozen."""
    weight_decay: NonNegative = 1e-2
    """Weight decay of adamw, on convolution weights."""
    warmup: Fraction = 0.05
    """Share of the schedule in which the learning rate rises."""
    lr_schedule: Literal["cosine", "polynomial", "step", "none", "schedule-free"] = "cosine"
    """How the learning rate falls after the warm-up; none keeps it, and so does schedule-free,
    which averages the weights in place of it (arXiv:2405.15682)."""
    ema_decay: Fraction = 0.99
    """Decay of the exponential moving average of the weights, which is the model; 0 is off.
    Schedule-free has its own average."""
    max_grad_norm: Positive = 1.0
    """Gradients are clipped to this norm."""
    patience: PositiveInt = 20
    """Epochs without a better validation Dice until training stops."""
    target_dice: Fraction = 0.0
    """Validation Dice at which training stops before its end; 0 never does."""
    validate_every: PositiveInt = 1
    """Epochs from one validation to the next."""
    checkpoint_seconds: Positive = 60.0
    """Time from one checkpoint to the next within an epoch."""
    compile: bool = False
    """Run the network through torch.compile."""
    trackers: tuple[Tracker, ...] = ()
    """Experiment trackers that get the events of the run: tensorboard, mlflow, wandb."""


class Recipe(_Section):
    """The settings of one run. The plan chooses what the user leaves out.

    Every key is in docs/recipe.md. A recipe is frozen; `replace` gives a changed one.

    Example:
        >>> recipe = Recipe().replace({"train.epochs": 40, "data.size_px": (256, 256)})
        >>> recipe.train.epochs
        40
        >>> sorted(recipe.explicit_keys())
        ['data.size_px', 'train.epochs']
    """

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    augment: AugmentSettings = AugmentSettings()
    train: TrainSettings = TrainSettings()

    def explicit_keys(self) -> set[str]:
        """The keys that were set, such as "train.epochs", even where they are set to a default."""
        return {
            f"{section}.{name}"
            for section in self.model_fields_set
            for name in getattr(self, section).model_fields_set
        }

    def replace(self, values: Mapping[str, Any]) -> "Recipe":
        """This recipe with some keys replaced, such as {"train.epochs": 40}; validated again.

        Raises LimnerError for an unknown key and for a value out of range.
        """
        table = self.model_dump(exclude_unset=True)
        for key, value in values.items():
            section, _, name = key.partition(".")
            table.setdefault(section, {})[name] = value
        return parse_recipe(table)


def parse_recipe(table: Mapping[str, Any]) -> Recipe:
    """Validate a table of sections, in today's keys or in the old ones.

    Raises LimnerError that names every unknown key and wrong value.
    """
    try:
        return Recipe.model_validate(in_current_keys(table))
    except ValidationError as error:
        problems = [
            _explain(problem["type"], problem["loc"], problem["msg"], problem["input"])
            for problem in error.errors()
        ]
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise LimnerError("\n".join([f"the recipe has {count}:", *problems])) from error


def recipe_keys() -> dict[str, str]:
    """Every key with its description, in order."""
    keys: dict[str, str] = {}
    for section, field in Recipe.model_fields.items():
        assert isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        keys |= {
            f"{section}.{name}": " ".join(str(setting.description).split())
            for name, setting in field.annotation.model_fields.items()
        }
    return keys


def _explain(kind: str, location: tuple[int | str, ...], message: str, value: object) -> str:
    """One line for one of pydantic's errors."""
    key = ".".join(str(part) for part in location[:2])
    if kind == "extra_forbidden":
        similar = difflib.get_close_matches(key, recipe_keys(), n=1, cutoff=0.5)
        hint = f"Did you mean {similar[0]}?" if similar else "The keys stand in docs/recipe.md."
        return f"  {key} is not a key of a recipe. {hint}"
    return f"  {key} = {value!r}: {message[0].lower()}{message[1:]}."
