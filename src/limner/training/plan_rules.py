"""The rules by which the plan chooses the keys that a recipe leaves open.

Each rule is a function of the context, named for the key it decides. It yields a value with its
reason, or nothing where the default stays. `NETWORK_RULES` and `SCHEDULE_RULES` list them in
order: each sees what those before it chose, and a later choice of a key replaces an earlier one.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from limner.data.views import views
from limner.model.presets import ENCODER_DEFAULTS, PRESETS
from limner.model.pretrained import weights_available
from limner.plurals import count_noun
from limner.recipe import Recipe, TrainSettings
from limner.training.hardware import best_device, best_precision
from limner.training.plan_context import Choice, PlanContext, TimedContext
from limner.training.trackers import is_installed
from limner.training.working_size import working_size

PRETRAINED_ENCODER = "tf_efficientnet_lite0"
MAX_BATCH_SIZE, MIN_BATCH_SIZE = 16, 4
MIN_STEPS = 300
"""A batch is halved until the time holds so many steps: of the same 1,152 images of nuclei batches
of 4 taught more than those of 16 (0.01 test Dice).
"""
MIN_SHOWN = 16_000
"""Images and tiles that a network from scratch is shown in all: with fewer a narrower one is as
good.
"""
MIN_EPOCHS, MAX_EPOCHS = 20, 300
MIN_AUGMENTED_EPOCHS = 30
"""With fewer epochs only turns, flips, scale, shift and colour change the images. What blurs or
bends them costs more than it gives then: 0.01 test Dice on nuclei after 9 epochs.
"""
MIN_PATIENCE, UNLIMITED_PATIENCE = 10, 1_000_000
EXPECTED_VALIDATION_COST = 1 / 3
"""Of a training image's time, what a validation image takes, which has no backward pass."""
VALIDATION_SHARE = 0.1
"""Of the time in all, what validation may take."""


def channels(context: PlanContext) -> Iterator[Choice]:
    if context.image_channels != 3:
        yield Choice("data.channels", context.image_channels, "the images have so many")


def device(_: PlanContext) -> Iterator[Choice]:
    yield Choice("train.device", *best_device())


def precision(context: PlanContext) -> Iterator[Choice]:
    yield Choice("train.precision", *best_precision(context.recipe.train.device))


def batch_size(context: PlanContext) -> Iterator[Choice]:
    """A quarter of the images, and a multiple of the processes that share it."""
    images, processes = len(context.samples), context.processes
    size = min(MAX_BATCH_SIZE, max(2, images // 4))
    reason = f"{images} training images"
    if processes > 1:
        reason += f", in parts for {processes} processes"
    elif context.on_cpu:
        reason += ", and a processor gains nothing from more"
    yield Choice("train.batch_size", max(processes, size // processes * processes), reason)


def trackers(_: PlanContext) -> Iterator[Choice]:
    if is_installed("tensorboard"):
        reason = "it is installed: tensorboard --logdir runs shows the runs"
        yield Choice("train.trackers", ("tensorboard",), reason)


def encoder(context: PlanContext) -> Iterator[Choice]:
    """A pretrained encoder, where its weights need no download."""
    if not context.network_is_explicit and weights_available(PRETRAINED_ENCODER):
        reason = (
            "pretrained, and its weights are here; on photographs it beats networks from "
            "scratch in the same time (docs/family.md)"
        )
        yield Choice("model.encoder", PRETRAINED_ENCODER, reason)


def preset(context: PlanContext) -> Iterator[Choice]:
    if not context.network_is_explicit and not context.recipe.model.encoder:
        reason = (
            "of the networks from scratch the best for the time, where no pretrained encoder "
            "is here (docs/family.md)"
        )
        yield Choice("model.preset", "limner", reason)


def network(context: PlanContext) -> Iterator[Choice]:
    """The keys that come with an encoder or a preset."""
    model = context.recipe.model
    if model.encoder:
        defaults, reason = ENCODER_DEFAULTS, f"with the encoder {model.encoder}"
    else:
        defaults, reason = PRESETS[model.preset], f"the preset {model.preset}"
    for name, value in defaults.items():
        yield Choice(f"model.{name}", value, reason)


def widths(context: PlanContext) -> Iterator[Choice]:
    if context.widths_are_free and context.on_cpu:
        reason = "half as wide, a quarter of the arithmetic, for a processor"
        yield Choice("model.widths", _scale_widths(context.recipe, 0.5), reason)


def widths_for_time(context: TimedContext) -> Iterator[Choice]:
    """Widths that suit the time given, once it is known how fast a step is."""
    if change := _width_change(context):
        reason = f"{context.budget.measurement}: {change.reason}"
        yield Choice("model.widths", _scale_widths(context.recipe, change.factor), reason)


def batch_size_for_time(context: TimedContext) -> Iterator[Choice]:
    """A smaller batch where the time holds few steps, since more of them teach more."""
    if not context.budget.measurement:
        return
    batch_size = context.recipe.train.batch_size
    shown = context.budget.pixels / math.prod(context.recipe.data.size_px)
    smaller = batch_size
    while smaller // 2 >= max(MIN_BATCH_SIZE, context.processes) and shown < MIN_STEPS * smaller:
        smaller //= 2
    if smaller < batch_size:
        smaller = smaller // context.processes * context.processes
        reason = (
            f"about {shown / smaller:,.0f} steps in the time given; larger batches give too few"
        )
        yield Choice("train.batch_size", smaller, reason)


def epochs(context: TimedContext) -> Iterator[Choice]:
    """As many epochs as the budget holds."""
    data, budget, images = context.recipe.data, context.budget, len(context.samples)
    per_epoch = sum(
        len(views(sample.size_px, data.size_px, data.resize_mode)) for sample in context.samples
    )
    shown = budget.pixels / math.prod(data.size_px)
    if budget.measurement:
        change = _width_change(context)
        count = max(1, round(shown * (change.speed if change else 1) / per_epoch))
        reason = f"{budget.measurement}; the schedule follows the clock"
    else:
        count = min(max(math.ceil(shown / per_epoch), MIN_EPOCHS), MAX_EPOCHS)
        what = (
            count_noun(images, "image")
            if per_epoch == images
            else f"{per_epoch} tiles of {count_noun(images, 'image')}"
        )
        reason = f"{what}, shown about {count * per_epoch:,} times in all"
    yield Choice("train.epochs", count, reason)


def lr_schedule(context: TimedContext) -> Iterator[Choice]:
    averages_by_itself = context.recipe.train.ema_decay == TrainSettings().ema_decay
    if context.recipe.model.encoder and averages_by_itself:
        reason = "at every moment as good as a schedule that ends there (docs/performance.md)"
        yield Choice("train.lr_schedule", "schedule-free", reason)


def validate_every(context: TimedContext) -> Iterator[Choice]:
    epochs = max(
        1, math.ceil(context.validation_ratio * EXPECTED_VALIDATION_COST / VALIDATION_SHARE)
    )
    reason = (
        f"validation takes less than {VALIDATION_SHARE:.0%} of the time"
        if epochs > 1
        else "after each epoch"
    )
    yield Choice("train.validate_every", epochs, reason)


def patience(context: TimedContext) -> Iterator[Choice]:
    train = context.recipe.train
    if train.minutes is not None:
        yield Choice("train.patience", UNLIMITED_PATIENCE, "the time that is given is used")
    else:
        reason = "half of the schedule, so that the decay is seldom cut"
        yield Choice("train.patience", max(MIN_PATIENCE, train.epochs // 2), reason)


def class_weights(context: TimedContext) -> Iterator[Choice]:
    if not context.labels.binary:
        reason = "several classes: the rare and the thin count too"
        yield Choice("train.class_weights", "balanced", reason)


def augmentation(context: TimedContext) -> Iterator[Choice]:
    """Less where images are seldom shown; scenes of several classes are never upside down."""
    epochs = context.recipe.train.epochs
    if epochs < MIN_AUGMENTED_EPOCHS:
        shown = "once" if epochs == 1 else f"{epochs} times"
        reason = f"each image is shown about {shown}: too seldom to be learned by heart"
        for name in ("elastic", "blur", "noise"):
            yield Choice(f"augment.{name}", 0.0, reason)
    if not context.labels.binary:
        reason = "several classes: up and down may matter"
        yield Choice("augment.rotate_degrees", 15.0, reason)
        yield Choice("augment.vertical_flip", 0.0, reason)


NETWORK_RULES: tuple[Callable[[PlanContext], Iterator[Choice]], ...] = (
    channels,
    device,
    precision,
    batch_size,
    trackers,
    encoder,
    preset,
    network,
    widths,
)
"""Of machine and network: they decide how long a training step takes."""
SCHEDULE_RULES: tuple[Callable[[TimedContext], Iterator[Choice]], ...] = (
    working_size,
    widths_for_time,
    batch_size_for_time,
    epochs,
    lr_schedule,
    validate_every,
    patience,
    class_weights,
    augmentation,
)
"""Of size and schedule: they know the budget, which may come from measured steps."""


@dataclass(frozen=True, slots=True)
class _WidthChange:
    factor: float
    speed: float
    """How many images it goes through in the time of one before."""
    reason: str


def _width_change(context: TimedContext) -> _WidthChange | None:
    """Narrower where little is shown in the time given, wider on a processor where much is."""
    if not (context.budget.measurement and context.widths_are_free):
        return None
    shown = context.budget.pixels / math.prod(context.recipe.data.size_px)
    if shown < MIN_SHOWN / 4:
        return _WidthChange(0.5, 2.5, "a narrower network sees more images")
    if shown > 4 * MIN_SHOWN and context.on_cpu:
        return _WidthChange(1.5, 0.5, "enough for a wider network")
    return None


def _scale_widths(recipe: Recipe, factor: float) -> tuple[int, ...]:
    return tuple(max(1, round(width * factor)) for width in recipe.model.widths)
