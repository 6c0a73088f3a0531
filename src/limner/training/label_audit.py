"""The label audit: which masks of a dataset are probably wrong, by models that never saw them.

Related work: confident learning (arXiv:1911.00068) and its form for segmentation
(arXiv:2307.05080), which ranks masks by how improbable a model finds their pixels. Here each set
learns what its own errors would look like; see `label_errors`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.broken_samples import UsableSamples
from limner.data.check import CheckResult, check
from limner.data.parallel import StageProgress, no_progress, with_progress
from limner.data.sample import Sample
from limner.data.scan import scan
from limner.data.split_record import known_contents
from limner.errors import LimnerError
from limner.files import require_own_folder, write_atomic
from limner.inference.audit_page import AuditPicture, render_audit
from limner.inference.audit_record import AUDIT_FILE, AuditedMask, AuditFile
from limner.inference.label_comparison import MaskComparison
from limner.inference.predictor import Predictor
from limner.labels import Labels, require_same_classes
from limner.model.bundle import Bundle
from limner.name_list import list_some
from limner.plurals import count_noun
from limner.recipe import Recipe
from limner.training.cross_validation import CrossValidation, cross_validate
from limner.training.pipeline import LEAKS, usable_samples
from limner.training.run_files import MODEL, model_path

FOLDS_FOLDER, PAGE = "folds", "index.html"
MIN_MASKS = 20
"""With fewer masks no error is told from what is usual."""
OTHER_MASKS = 48
"""Masks from which those of wrong images are drawn."""


@dataclass(frozen=True, slots=True)
class AuditResult:
    """The masks of a dataset, the likeliest to be wrong first."""

    masks: Sequence[AuditedMask]
    page: Path
    notes: Sequence[str]
    """What people are told: which masks could not be judged."""


@dataclass(frozen=True, slots=True)
class JudgeModel:
    """A model that may judge masks."""

    bundle: Bundle
    name: str
    unseen_sides: Sequence[str]
    """The sides of its split that it was not trained on."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A model, and the samples that it never saw."""

    model: JudgeModel
    samples: Sequence[Sample]

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    def predictor(self) -> Predictor:
        """One pass for each image: flips and the like change little that an audit asks for."""
        return Predictor.from_models(self.model.bundle, tta="none")


def audit(
    data: Path | str,
    folder: Path | str,
    model: Path | str | None = None,
    *,
    folds: int = 5,
    recipe: Recipe | None = None,
    worst: int = 50,
) -> AuditResult:
    """Rank the masks of a dataset by how likely they are wrong.

    Args:
        data: The dataset, in any layout that `limner.scan` knows. It is not changed.
        folder: Where the page, `audit.json` and the cross-validation are written.
        model: A folder of a cross-validation, whose models judge what they never saw; or a model
            file, for images that it was not trained on. By default the dataset is cross-validated
            first, and a repeated call goes on with that.
        folds: How many models are trained where none is given.
        recipe: How they are trained, as for `cross_validate`. With `data.skip_broken` broken files
            are left out, as they are where the models were trained so.
        worst: How many masks the page shows and `limner review` opens.

    Raises LimnerError for a dataset with errors, too few masks, other classes than the models', and
    where a model was trained on every image.

    Example:
        >>> from limner import Recipe, audit
        >>> recipe = Recipe().replace({"train.minutes": 10})
        >>> result = audit("photos", "audits/photos", recipe=recipe)  # doctest: +SKIP
        >>> result.masks[0].id, result.masks[0].summary  # doctest: +SKIP
        ('0013', 'shifted: moved by 12 px to the right it fits better')
    """
    data, folder, recipe = Path(data), Path(folder), recipe or Recipe()
    require_audit_folder(folder)
    if model is None:
        model = folder / FOLDS_FOLDER
        if not (model / MODEL).is_file():
            cross_validate(data, folds, recipe, model)
    skip_broken, progress = recipe.data.skip_broken, no_progress
    return audit_with(
        data, folder, Path(model), skip_broken=skip_broken, worst=worst, progress=progress
    )


def require_audit_folder(folder: Path) -> None:
    """Raise LimnerError where a folder holds anything but an earlier audit."""
    if not (folder / FOLDS_FOLDER).is_dir():
        require_own_folder(folder, AUDIT_FILE)


def audit_with(
    data: Path,
    folder: Path,
    model: Path,
    *,
    skip_broken: bool,
    worst: int,
    progress: StageProgress,
) -> AuditResult:
    """Audit with models that are there already; see `audit`."""
    models = load_judge_models(model)
    skip_broken |= any(each.bundle.recipe.data.skip_broken for each in models)
    stated = models[0].bundle.recipe.data
    dataset = scan(data, image_folder=stated.image_folder, mask_folder=stated.mask_folder)
    result = check(dataset, progress("checking"))
    usable, labels = usable_samples(
        dataset, result, Recipe().replace({"data.skip_broken": skip_broken}), LEAKS
    )
    judges = find_judges(models, usable.samples, result)
    for judge in judges:
        require_same_classes(labels, str(data), judge.model.bundle.labels, judge.name)
    judged = sum(len(judge.samples) for judge in judges)
    if judged < MIN_MASKS:
        raise LimnerError(
            f"{model} never saw {count_noun(judged, 'image')} of the "
            f"{len(usable.samples)} of {data}. An audit needs at least {MIN_MASKS}: give a model "
            "that was trained on other images, or leave --model out to cross-validate."
        )
    comparison = MaskComparison(labels, judged, _other_masks(judges, labels))
    for judge in judges:
        predictor = judge.predictor()
        stage = progress(f"judging by {judge.name}")
        for sample in with_progress(iter(judge.samples), len(judge.samples), stage):
            comparison.add(sample, predictor, judge.name)
    masks = comparison.judge()
    file = AuditFile(str(data.absolute()), [judge.name for judge in judges], masks, worst)
    pictures = _pictures(masks[:worst], judges, labels)
    drawn = with_progress(pictures, min(worst, len(masks)), progress("drawing"))
    page = render_audit(data.absolute().name, str(folder), masks, drawn, labels)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / AUDIT_FILE, file.to_text())
    write_atomic(folder / PAGE, page)
    return AuditResult(masks, folder / PAGE, list(_notes(usable, judges)))


def load_judge_models(model: Path) -> list[JudgeModel]:
    """Load the models that judge: a model, or all of a cross-validation.

    Raises LimnerError where there is no model, and for a cross-validation that is not finished.
    """
    if CrossValidation.is_at(model):
        validation = CrossValidation(model)
        if not (model / MODEL).is_file():
            raise LimnerError(
                f"the cross-validation {model} is not finished. Go on with: limner train --resume "
                f"{model}"
            )
        files = [validation.fold_folder(fold) / MODEL for fold in range(validation.folds)]
        sides = [("val",)] * len(files) + [("test", "new")]
        files.append(model / MODEL)
    else:
        files, sides = [model_path(model)], [("test", "new")]
    return [
        JudgeModel(Bundle.load(file), str(file.parent if file.name == MODEL else file), names)
        for file, names in zip(files, sides, strict=True)
    ]


def find_judges(
    models: Sequence[JudgeModel], samples: Sequence[Sample], result: CheckResult
) -> list[Judge]:
    """The models, each with the samples of the dataset that it was not trained on.

    Images are known by their content.
    """
    judges = (Judge(model, _unseen(model, samples, result)) for model in models)
    return [judge for judge in judges if judge.samples]


def _unseen(model: JudgeModel, samples: Sequence[Sample], result: CheckResult) -> list[Sample]:
    infos, record = result.info_by_id, model.bundle.split_record
    contents = known_contents(samples, infos)
    thumbnails = {id: info.thumbnail for id, info in infos.items()}
    copies = record.near_copies(samples, contents, thumbnails)
    assigned = record.assign(samples, contents, copies)
    return [sample for side in model.unseen_sides for sample in assigned[side]]


def _other_masks(judges: Sequence[Judge], labels: Labels) -> list[UInt8[ndarray, "h w"]]:
    """A few masks of the set that are not empty, spread over it."""
    samples = [sample for judge in judges for sample in judge.samples]
    spread = samples[:: max(1, len(samples) // (2 * OTHER_MASKS))]
    masks = (sample.class_index(labels) for sample in spread)
    filled = [mask for mask in masks if np.isin(mask, labels.scored).any()]
    return filled[:OTHER_MASKS]


def _pictures(
    masks: Sequence[AuditedMask], judges: Sequence[Judge], labels: Labels
) -> Iterator[AuditPicture]:
    """What is drawn of each mask; its image is predicted once more."""
    judge_of = {(sample.id, judge.name): judge for judge in judges for sample in judge.samples}
    predictors: dict[str, Predictor] = {}
    for mask in masks:
        judge = judge_of[mask.id, mask.model]
        if judge.name not in predictors:
            predictors[judge.name] = judge.predictor()
        sample = next(sample for sample in judge.samples if sample.id == mask.id)
        image = sample.read_image(channels=predictors[judge.name].channels)
        predicted = predictors[judge.name].predict(image).mask
        yield AuditPicture(mask, image, sample.class_index(labels), predicted)


def _notes(usable: UsableSamples, judges: Sequence[Judge]) -> Iterator[str]:
    if usable.left_out:
        yield usable.describe()
    judged = Counter(sample.id for judge in judges for sample in judge.samples)
    left = [sample.id for sample in usable.samples if sample.id not in judged]
    if left:
        yield (
            f"{count_noun(len(left), 'mask is', 'masks are')} not judged, since every model was "
            f"trained on {'its image' if len(left) == 1 else 'their images'}: {list_some(left)}."
        )
