"""What follows the last step: tune the model's use, and compare it with the model before it."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

from limner.inference.predictor import Predictor
from limner.inference.tune import tune
from limner.metrics.intervals import MIN_DECISION_IMAGES, format_interval
from limner.model.bundle import Bundle
from limner.plurals import count_noun
from limner.recipe import TrainSettings
from limner.training.events import Event, Note, Tuned, TuningProgress
from limner.training.model_comparison import ModelComparison, compare_on_validation
from limner.training.run import Run, RunInputs
from limner.training.run_files import MODEL, ORIGIN, WORSE
from limner.training.schedule import Deadline

FINISH_SHARE = 0.05
"""Share of a time budget that is kept for tuning, and as much for comparing."""


def training_share(*, has_origin: bool) -> float:
    """Give the share of a time budget that is left for training."""
    return 1 - FINISH_SHARE * (2 if has_origin else 1)


def finish_run(run: Run, inputs: RunInputs, stop_requested: Callable[[], bool]) -> Iterator[Event]:
    """Tune the best model of a run, and keep it where it is no worse than the run's origin.

    On a stop request the current stage is given up, and the model file stays as it was.
    """
    yield from _tune_model(run, inputs, stop_requested)
    yield from _compare_with_origin(run, inputs, stop_requested)


def _tune_model(run: Run, inputs: RunInputs, stop_requested: Callable[[], bool]) -> Iterator[Event]:
    """Choose the inference settings of the best model on validation, and save it with them."""
    bundle, settings = Bundle.load(run.model), inputs.recipe.train
    if bundle.confidence:
        # It was tuned before the run was resumed
        return
    samples = inputs.validation_samples
    tuning = tune(bundle, samples, inputs.train.images, settings.device, _seconds_left(settings))
    tuned_on = 0
    while not stop_requested():
        try:
            event = TuningProgress(*next(tuning))
        except StopIteration as finished:
            tuned_bundle, results = finished.value
            break
        # Each image is predicted twice
        tuned_on = event.count // 2
        yield event
    else:
        return
    tuned_bundle.save(run.model)
    if tuned_on < len(samples):
        yield Note(
            f"the time allowed a look at {tuned_on} of {len(samples)} validation images, from "
            "which the following is chosen"
        )
    judged_by = min((result.groups for result in results if result.images), default=0)
    if judged_by < MIN_DECISION_IMAGES:
        yield Note(
            f"only {count_noun(judged_by, 'validation image')} can judge (one of each group), and "
            f"{MIN_DECISION_IMAGES} are needed to choose threshold, augmentation and "
            "post-processing, so only what helps on other sets is taken. A larger "
            "data.validation_fraction gives more"
        )
    for result in results:
        yield Tuned(**asdict(result))


def _compare_with_origin(
    run: Run, inputs: RunInputs, stop_requested: Callable[[], bool]
) -> Iterator[Event]:
    """Keep the model that the run goes on from, where the new one is worse on validation.

    It is worse where the whole 95 % interval of the paired difference lies below 0, on at least
    `MIN_DECISION_IMAGES` images.
    """
    before, worse_path = run.origin, run.folder / WORSE
    if before is None or "judged" in run.receipt or stop_requested():
        return
    # A kill may have come between putting the old model in its place and recording that
    after = Bundle.load(worse_path if worse_path.exists() else run.model)
    settings, samples = inputs.recipe.train, inputs.validation_samples
    predictor_before = Predictor.from_models(before, device=settings.device)
    predictor_after = Predictor.from_models(after, device=settings.device)
    seconds_left = _seconds_left(settings)
    comparing = compare_on_validation(
        predictor_before, predictor_after, samples, inputs.labels, seconds_left
    )
    while not stop_requested():
        try:
            event = TuningProgress(next(comparing), len(samples))
        except StopIteration as finished:
            comparison: ModelComparison = finished.value
            break
        yield event
    else:
        return
    worse = comparison.worse
    if worse:
        after.save(worse_path)
        before.save(run.model)
    kept = "before" if worse else "after"
    run.update_receipt(lambda _: {"judged": {**asdict(comparison), "kept": kept}})
    yield _comparison_note(comparison, worse=worse)


def _comparison_note(comparison: ModelComparison, *, worse: bool) -> Note:
    interval = format_interval(comparison.interval, 4, signed=True)
    outcome = (
        f"the new model is worse, so {MODEL} is the one before, and the new one is {WORSE}"
        if worse
        else "the new model takes its place"
    )
    if comparison.doubt:
        outcome += f". {comparison.doubt} The one before is {ORIGIN}"
    return Note(
        f"validation Dice {comparison.before:.4f} before and {comparison.after:.4f} after on "
        f"{count_noun(comparison.images, 'image')} (95 % interval of the difference: "
        f"{interval}): {outcome}"
    )


def _seconds_left(settings: TrainSettings) -> Callable[[], float]:
    if settings.minutes is None:
        return lambda: math.inf
    return Deadline(settings.minutes * 60 * FINISH_SHARE, time.monotonic())
