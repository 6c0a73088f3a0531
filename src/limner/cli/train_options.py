"""The options of `limner train`, and what they set."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from limner.errors import LimnerError

Data = Annotated[
    Path | None, typer.Argument(help="the folder of images and masks", show_default=False)
]
SkipBroken = Annotated[
    bool,
    typer.Option(
        "--skip-broken",
        help="leave out broken and missing images and masks, each named, instead of stopping",
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(help="the time that all of it may take; the schedule is fitted into it"),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        help="a pretrained encoder by timm's name, such as tf_efficientnet_lite1 or resnet34; "
        "tf_efficientnet_lite0 comes with limner and is the default; none trains from scratch"
    ),
]
Epochs = Annotated[
    int | None, typer.Option(min=1, help="how often each image is shown; the plan chooses it")
]
Size = Annotated[
    str | None,
    typer.Option(
        help="the size that images are brought to, in px: 256, or 384x256 (width x height); the "
        "plan chooses it"
    ),
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="images of a step; the plan chooses it")]
TrainDevice = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda or mps; by default the GPU, if any")
]
Name = Annotated[
    str | None, typer.Option(help="the name of the run: runs/NAME", show_default=False)
]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="a recipe TOML, such as the recipe.toml of a run")
]
Seeds = Annotated[
    int,
    typer.Option(
        min=1,
        help="train so many times, each with the next seed, and print mean and standard deviation",
    ),
]
Folds = Annotated[
    int,
    typer.Option(
        help="cross-validate: train so many models, each validated on another part, score every "
        "image by the model that never saw it, and join them into one; --minutes is for all"
    ),
]
Origin = Annotated[
    Path | None,
    typer.Option(
        "--from", help="go on from this run's model: its recipe, its split, and its weights"
    ),
]
Teacher = Annotated[
    Path | None,
    typer.Option(
        help="learn from this model's predictions beside the masks, such as from the ensemble of "
        "--folds: one network as quick as one of its members"
    ),
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="the new run folder; runs/NAME by default"),
]
Resume = Annotated[Path | None, typer.Option(help="go on with this run, from where it was stopped")]


def spell_overrides(values: Mapping[str, object]) -> list[str]:
    """What options set, as --set takes it."""
    return [
        f"{key}={json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
        if value is not None
    ]


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of a canvas. Raises LimnerError for what is no size."""
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.strip())
    if match is None:
        raise LimnerError(
            f"--size {text} is no size. Write a number of px, such as 256, or width and height, "
            "such as 384x256."
        )
    width, height = match[1], match[2] or match[1]
    return int(height), int(width)


def run_folder(name: str | None, out: Path | None) -> Path | None:
    """The folder of the new run; None lets its dataset name it. Raises LimnerError for two."""
    if name is None:
        return out
    if out is not None or not name or Path(name).name != name:
        raise LimnerError(
            f"--name {name} is the name of a run in runs/, and --out a folder. Give one of them."
        )
    return Path("runs") / name
