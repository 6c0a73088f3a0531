"""The typed, frozen settings of one run: TOML in, --set overrides, TOML record out."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limner.errors import LimnerError

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(gt=0)]
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

OLD_KEYS = {
    "data.geometry": "data.resize_mode",
    "model.up": "model.upsampling",
    "augment.flip": "augment.horizontal_flip",
    "augment.upside_down": "augment.vertical_flip",
    "train.average": "train.ema_decay",
    "train.clip": "train.max_grad_norm",
    "train.frozen": "train.freeze_encoder",
    "train.encoder_rate": "train.encoder_lr_factor",
}
"""Keys of recipes and models that earlier versions wrote, and what they are called now."""
OLD_VALUES = {("model.block", "plain"): "conv"}
"""Values of such recipes, by key, and what they are called now."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Section):
    size_px: Annotated[
        tuple[PositiveInt, PositiveInt],
        Field(description="height and width of what the network sees"),
    ] = (256, 256)
    resize_mode: Annotated[
        ResizeMode,
        Field(
            description=(
                "images are stretched to size_px, fitted into it, or cut into tiles of it at "
                "their own size"
            )
        ),
    ] = "resize"
    channels: Annotated[
        PositiveInt,
        Field(
            description="what the network sees: 3 for colour, 1 for grey, or as many as the images have"
        ),
    ] = 3
    validation_fraction: Annotated[
        Fraction, Field(description="share kept for validation where the layout has no split")
    ] = 0.1
    test_fraction: Annotated[
        Fraction, Field(description="share kept for the test where the layout has no split")
    ] = 0.2
    split_seed: Annotated[
        int, Field(ge=0, lt=2**31, description="of the split, where the layout has none")
    ] = 0
    group_pattern: Annotated[
        str,
        Field(
            description=(
                "regular expression for the part of a name that images of one patient or film share"
            )
        ),
    ] = ""
    allow_leaks: Annotated[
        bool, Field(description="train although test images are copies of training images")
    ] = False


class ModelSettings(_Section):
    preset: Annotated[
        Preset,
        Field(
            description=(
                "the member of the U-Net family, which gives the keys below their values where "
                "you do not"
            )
        ),
    ] = "limner"
    widths: Annotated[
        tuple[PositiveInt, ...],
        Field(
            min_length=1,
            description="channels at full resolution and after each halving, the bottleneck last",
        ),
    ] = (
        32,
        64,
        128,
        256,
        512,
    )
    block: Annotated[
        Literal["conv", "residual"],
        Field(
            description="convolutions one after the other, or with a way past them (arXiv:1603.05027)"
        ),
    ] = "conv"
    encoder_convolutions: Annotated[
        PositiveInt, Field(description="convolutions in each block on the way down")
    ] = 2
    decoder_convolutions: Annotated[
        PositiveInt, Field(description="convolutions in each block on the way up")
    ] = 2
    refine_convolutions: Annotated[
        int, Field(ge=0, description="convolutions in a last block at full resolution; 0 is none")
    ] = 0
    kernel: Annotated[Literal[1, 3, 5, 7], Field(description="side of the convolutions, in px")] = 3
    activation: Annotated[
        Literal["relu", "leaky-relu", "gelu", "silu"], Field(description="after each normalisation")
    ] = "relu"
    norm: Annotated[
        Literal["batch", "instance", "group", "none"],
        Field(description="normalisation after each convolution"),
    ] = "batch"
    pooling: Annotated[
        Literal["max", "stride"],
        Field(
            description="how the image is halved: by a max pool, or by a convolution of stride 2"
        ),
    ] = "max"
    upsampling: Annotated[
        Literal["transpose", "bilinear", "nearest"],
        Field(
            description="how it grows: a transposed convolution, bilinear, or nearest with a convolution"
        ),
    ] = "transpose"
    skip: Annotated[
        Literal["concat", "add", "attention"],
        Field(description="how a decoder block takes the encoder's output"),
    ] = "concat"
    nested: Annotated[
        bool, Field(description="skips pass through blocks of their own, as in U-Net++")
    ] = False
    expansion_ratio: Annotated[
        float,
        Field(
            ge=0,
            le=8,
            description="after each block a dilated convolution to so many times its channels; 0 is none",
        ),
    ] = 0.0
    expansion_dilation: Annotated[PositiveInt, Field(description="its dilation, in px")] = 2
    dropout: Annotated[
        Fraction, Field(description="probability that a channel is dropped after a block")
    ] = 0.0
    deep_supervision: Annotated[
        bool,
        Field(description="the coarser levels of the decoder are trained to draw the mask as well"),
    ] = False
    encoder: Annotated[
        str,
        Field(
            description="a pretrained encoder by timm's name, such as resnet34; empty is the preset's own"
        ),
    ] = ""
    encoder_weights: Annotated[
        str,
        Field(
            description=(
                "hub, none, or a file of weights; by default the hub, or an installed package "
                "that holds them"
            )
        ),
    ] = "hub"


class AugmentSettings(_Section):
    horizontal_flip: Annotated[
        Fraction, Field(description="probability of a horizontal mirror")
    ] = 0.5
    vertical_flip: Annotated[Fraction, Field(description="probability of a vertical mirror")] = 0.5
    rotate_degrees: Annotated[float, Field(ge=0, le=180, description="largest turn either way")] = (
        180.0
    )
    scale: Annotated[Fraction, Field(description="largest change of size, as a share")] = 0.25
    shift: Annotated[Fraction, Field(description="largest shift, as a share of the side")] = 0.1
    elastic: Annotated[
        Fraction, Field(description="largest elastic displacement, as a share of the side")
    ] = 0.02
    brightness: Annotated[
        Fraction, Field(description="largest change of brightness, of the full range")
    ] = 0.1
    contrast: Annotated[Fraction, Field(description="largest change of contrast, as a share")] = 0.2
    colour: Annotated[
        Fraction, Field(description="largest change of saturation and colour balance, as a share")
    ] = 0.2
    blur: Annotated[
        Fraction, Field(description="largest share of a 3 px blur that is mixed in")
    ] = 0.5
    noise: Annotated[
        Fraction, Field(description="largest standard deviation of the noise, of the full range")
    ] = 0.02


class TrainSettings(_Section):
    seed: Annotated[
        int, Field(ge=0, lt=2**31, description="of weights, order and augmentation")
    ] = 0
    device: Annotated[
        Literal["cpu", "cuda", "mps"], Field(description="where the network runs")
    ] = "cpu"
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Field(description="of the network's arithmetic; weights stay float32"),
    ] = "float32"
    epochs: Annotated[PositiveInt, Field(description="passes over the training images")] = 50
    minutes: Annotated[
        Positive | None,
        Field(
            description="the time that the whole run may take; shortens or lengthens the schedule"
        ),
    ] = None
    batch_size: Annotated[PositiveInt, Field(description="images in one step")] = 16
    loss: Annotated[LossName, Field(description="what is minimised")] = "dice+cross-entropy"
    class_weights: Annotated[
        Literal["none", "balanced"] | tuple[Positive, ...],
        Field(
            description=(
                "of the classes in the loss: none, balanced (by how rare each is), or a number "
                "for each class"
            )
        ),
    ] = "none"
    label_smoothing: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="share of a pixel's truth that is spread over all classes, in cross-entropy",
        ),
    ] = 0.0
    optimiser: Annotated[
        Literal["adam", "adamw"], Field(description="adam, or adam with decoupled weight decay")
    ] = "adamw"
    learning_rate: Annotated[
        Positive, Field(description="the highest, reached after the warm-up")
    ] = 3e-3
    encoder_lr_factor: Annotated[
        Positive, Field(description="a pretrained encoder's learning rate, as a share of it")
    ] = 0.5
    freeze_encoder: Annotated[
        Fraction,
        Field(description="share of the schedule in which a pretrained encoder stays as it is"),
    ] = 0.0
    weight_decay: Annotated[float, Field(ge=0, description="of adamw, on convolution weights")] = (
        1e-2
    )
    warm_up: Annotated[
        Fraction, Field(description="share of the schedule in which the rate rises")
    ] = 0.05
    decay: Annotated[
        Literal["cosine", "polynomial", "step", "none"],
        Field(description="how the rate falls after the warm-up"),
    ] = "cosine"
    ema_decay: Annotated[
        Fraction,
        Field(description="decay of the weights' moving average, which is the model; 0 is off"),
    ] = 0.99
    max_grad_norm: Annotated[Positive, Field(description="largest norm of the gradient")] = 1.0
    patience: Annotated[
        PositiveInt,
        Field(description="epochs without a better validation Dice until training stops"),
    ] = 20
    validate_every: Annotated[
        PositiveInt, Field(description="epochs from one validation to the next")
    ] = 1
    checkpoint_seconds: Annotated[
        Positive, Field(description="from one checkpoint to the next within an epoch")
    ] = 60.0
    compile: Annotated[bool, Field(description="run the network through torch.compile")] = False
    trackers: Annotated[
        tuple[Tracker, ...],
        Field(description="who else sees the events: tensorboard, mlflow, wandb"),
    ] = ()


class Recipe(_Section):
    """The settings of one run. `recipe.data.model_fields_set` and its like name what the user
    chose; the plan chooses the rest.
    """

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    augment: AugmentSettings = AugmentSettings()
    train: TrainSettings = TrainSettings()

    def explicit_keys(self) -> set[str]:
        """The keys that were given, such as "train.epochs"."""
        return {
            f"{name}.{key}"
            for name in self.model_fields_set
            for key in getattr(self, name).model_fields_set
        }

    def replace(self, values: Mapping[str, Any]) -> "Recipe":
        """This recipe with some keys replaced, such as {"train.epochs": 40}; validated again."""
        table = self.model_dump(exclude_unset=True)
        for key, value in values.items():
            section, _, name = key.partition(".")
            table.setdefault(section, {})[name] = value
        return parse_recipe(table)


def load_recipe(path: Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe TOML and apply `--set section.key=value` overrides; all problems are reported
    at once.

    Raises LimnerError for a file that cannot be read, an unknown key or a value out of range.
    """
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise LimnerError(
                f"the recipe {path} cannot be read: {error}. Give a TOML file such as the "
                "recipe.toml of a run."
            ) from error
    for override in overrides:
        key, equals, text = override.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and name) or not isinstance(table.setdefault(section, {}), dict):
            raise LimnerError(
                f"--set {override} is no setting. Write section.key=value, for example --set "
                "train.epochs=40."
            )
        table[section][name] = _toml_value(text.strip())
    return parse_recipe(table)


def parse_recipe(table: Mapping[str, Any]) -> Recipe:
    """A recipe from a table of sections, in today's keys or in `OLD_KEYS`.

    Raises LimnerError naming every unknown key and wrong value.
    """
    try:
        return Recipe.model_validate(_in_new_keys(table))
    except ValidationError as error:
        lines = [
            _explain(problem["type"], problem["loc"], problem["msg"], problem["input"])
            for problem in error.errors()
        ]
        raise LimnerError(
            "the recipe has "
            + ("a problem" if len(lines) == 1 else f"{len(lines)} problems")
            + ":\n"
            + "\n".join(lines)
        ) from error


def _in_new_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with `OLD_KEYS` and `OLD_VALUES` replaced. Raises LimnerError where a key stands in
    both spellings.
    """
    renamed = {
        name: dict(values) if isinstance(values, Mapping) else values
        for name, values in table.items()
    }
    for old, new in OLD_KEYS.items():
        (section, name), (_, new_name) = old.split("."), new.split(".")
        values = renamed.get(section)
        if not isinstance(values, dict) or name not in values:
            continue
        if new_name in values:
            raise LimnerError(
                f"the recipe gives {old} and {new}, which are the old and the new name of one "
                f"key. Keep {new}."
            )
        values[new_name] = values.pop(name)
    for (key, old_value), new_value in OLD_VALUES.items():
        section, name = key.split(".")
        values = renamed.get(section)
        if isinstance(values, dict) and values.get(name) == old_value:
            values[name] = new_value
    return renamed


def in_old_keys(recipe: Recipe) -> dict[str, Any]:
    """The recipe as earlier versions wrote it; the hash in their receipts is of that."""
    table = recipe.model_dump()
    for old, new in OLD_KEYS.items():
        (section, name), (_, new_name) = old.split("."), new.split(".")
        table[section][name] = table[section].pop(new_name)
    for (key, old_value), new_value in OLD_VALUES.items():
        section, name = key.split(".")
        table[section][name] = (
            old_value if table[section][name] == new_value else table[section][name]
        )
    return table


def recipe_keys() -> dict[str, str]:
    """Every key with its description, in order."""
    keys: dict[str, str] = {}
    for section, field in Recipe.model_fields.items():
        assert isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        keys |= {
            f"{section}.{name}": str(inner.description)
            for name, inner in field.annotation.model_fields.items()
        }
    return keys


def dump_recipe(recipe: Recipe, reasons: Mapping[str, str]) -> str:
    """The recipe as TOML, with the reason of each planned value as a comment."""
    lines = []
    for section, values in recipe.model_dump(exclude_none=True).items():
        lines.append(f"[{section}]")
        for name, value in values.items():
            reason = reasons.get(f"{section}.{name}")
            lines.append(f"{name} = {_to_toml(value)}" + (f"  # {reason}" if reason else ""))
        lines.append("")
    return "\n".join(lines)


def _explain(kind: str, location: tuple[int | str, ...], message: str, value: object) -> str:
    key = ".".join(str(part) for part in location[:2])
    if kind == "extra_forbidden":
        import difflib

        near = difflib.get_close_matches(key, recipe_keys(), n=1, cutoff=0.5)
        return f"  {key} is no key of a recipe." + (
            f" Did you mean {near[0]}?" if near else " The keys stand in docs/recipe.md."
        )
    return f"  {key} = {value!r}: {message[0].lower()}{message[1:]}."


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _to_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # TOML's basic strings escape as JSON does
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_to_toml(item) for item in value) + "]"
    return repr(value)
