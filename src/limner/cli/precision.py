"""The options of `predict` and `serve` for lower precisions."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.errors import LimnerError
from limner.training import run_files

if TYPE_CHECKING:
    from limner.inference.reduced_precision import PrecisionLimits

Precision = Annotated[
    str,
    typer.Option(
        help=(
            "float32; or fast: int8 or bfloat16, where that is quicker and changes the masks of "
            "validation images no more than --max-change says."
        )
    ),
]
MeasuredOn = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help=(
            "The images and masks on which --precision fast is measured. The default is those of "
            "the training."
        ),
    ),
]
MaxChange = Annotated[
    tuple[float, float],
    typer.Option(
        metavar="MEAN WORST",
        help=(
            "How much --precision fast may change mean Dice, and how far an image's Dice may fall."
        ),
    ),
]
MAX_CHANGE = (0.002, 0.05)


def precision_limits(
    precision: str,
    data: Path | None,
    max_change: tuple[float, float],
    model: Path,
    *,
    on_processor: bool,
) -> "PrecisionLimits | None":
    """What a lower precision may change in the masks of a model; None where none is asked for.

    Without `data` it is measured on what the run of the model was trained on. Raises LimnerError,
    also where the model does not run on the processor of this machine.
    """
    if precision not in {"float32", "fast"}:
        raise LimnerError(
            f"--precision {precision} is not known here. Choose float32 or fast; limner export "
            "writes files in one precision."
        )
    if precision == "float32":
        if data is not None or max_change != MAX_CHANGE:
            raise LimnerError("--data and --max-change are for --precision fast. Add it.")
        return None
    if not on_processor:
        raise LimnerError(
            "--precision fast is for the processor of this machine. Leave it, or leave --device "
            "and --engine."
        )
    if min(max_change) < 0:
        raise LimnerError("--max-change takes two numbers from 0 on, such as 0.002 0.05.")
    from limner.inference.reduced_precision import PrecisionLimits

    return PrecisionLimits(data or _training_data(model), *max_change)


def _training_data(model: Path) -> Path:
    """The dataset of the run that a model lies in."""
    try:
        receipt = json.loads(model.with_name(run_files.RECEIPT).read_text(encoding="utf-8"))
        return Path(receipt["data"])
    except (OSError, ValueError, KeyError):
        raise LimnerError(
            f"--precision fast needs images of known masks, and {model} lies in no run that would "
            "name them. Give the folder of images and masks with --data."
        ) from None
