import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import limner
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.inference.audit_record import AuditFile
from limner.model.bundle import Bundle
from limner.recipe import Recipe
from limner.review.merge import merge
from limner.training.label_audit import audit
from review_server import LocalReview


def test_every_mask_is_judged_by_a_model_that_never_saw_it(
    folds: Path, lesions: Path, tmp_path: Path
) -> None:
    result = audit(lesions, tmp_path / "audit", folds, worst=5)
    assert sorted(mask.id for mask in result.masks) == [s.id for s in scan(lesions).samples]
    splits = {
        number: json.loads((folds / f"fold-{number}" / "split.json").read_text())
        for number in (1, 2)
    }
    for mask in result.masks:
        if Path(mask.model) == folds:
            assert mask.id in splits[1]["test"]
        else:
            assert mask.id in splits[int(mask.model[-1])]["val"]
    page = result.page.read_text()
    assert page.count("<li>") == 5 and "limner review" in page
    assert not result.notes


def test_the_worst_are_reviewed_and_merged_into_the_next_revision(
    folds: Path, lesions: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "audit"
    worst = audit(lesions, folder, folds, worst=4).masks[:4]
    review = LocalReview(folder)
    assert {task.entry.id for task in review.session.tasks} == {mask.id for mask in worst}
    notes = {task.entry.id: task.entry.note for task in review.session.tasks}
    assert notes[worst[0].id] == f"the audit suspects: {worst[0].summary}"
    corrected = review.decide(worst[0].id, mended=True)
    merged = merge(folder, lesions, tmp_path / "next", replace=True)
    assert (merged.before, merged.added, merged.replaced, merged.left) == (24, 0, 1, 3)
    after = {sample.id: sample for sample in scan(tmp_path / "next").samples}
    assert np.array_equal(np.asarray(Image.open(after[worst[0].id].mask)) > 0, corrected == 1)


def test_the_command_says_what_is_wrong_and_what_comes_next(
    folds: Path, lesions: Path, tmp_path: Path
) -> None:
    done = limner("audit", lesions, "--model", folds, "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "more likely wrong than right, of 24." in text
    assert f"limner merge out {lesions} --replace --out {lesions.name}-2" in text
    assert text.endswith("Next: limner review out")
    assert AuditFile.read(tmp_path / "out" / "audit.json").worst == 50


def test_a_model_judges_what_it_was_not_trained_on_alone(
    folds: Path, lesions: Path, tmp_path: Path
) -> None:
    model = folds / "fold-1" / "model.safetensors"
    with pytest.raises(LimnerError, match=r"never saw .* of the 24 of .* An audit needs at least"):
        audit(lesions, tmp_path / "audit", model)
    assert not (tmp_path / "audit").exists()


def test_masks_that_no_model_can_judge_are_named(
    folds: Path, lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.training.label_audit.MIN_MASKS", 1)
    split = json.loads((folds / "fold-1" / "split.json").read_text())
    model = folds / "fold-1" / "model.safetensors"
    result = audit(lesions, tmp_path / "audit", model)
    seen = len(split["train"]) + len(split["val"])
    assert len(result.masks) == 24 - seen
    assert result.notes[0].startswith(f"{seen} masks are not judged, since every model was trained")


def test_an_audit_of_a_dataset_that_was_changed_is_not_reviewed(
    folds: Path, lesions: Path, tmp_path: Path
) -> None:
    data = tmp_path / "set"
    shutil.copytree(lesions, data)
    worst = audit(data, tmp_path / "audit", folds, worst=3).masks[0]
    sample = next(sample for sample in scan(data).samples if sample.id == worst.id)
    sample.image.unlink()
    Path(str(sample.mask)).unlink()
    with pytest.raises(LimnerError, match=r"has 2 of the 3 masks .* Audit it again."):
        LocalReview(tmp_path / "audit")


def test_a_folder_of_something_else_is_left_alone(
    folds: Path, lesions: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(LimnerError, match=r"holds no audit.json of an earlier call"):
        audit(lesions, tmp_path, folds)


def test_an_unfinished_cross_validation_says_how_it_goes_on(
    folds: Path, lesions: Path, tmp_path: Path
) -> None:
    shutil.copytree(folds, tmp_path / "cv")
    (tmp_path / "cv" / "model.safetensors").unlink()
    with pytest.raises(LimnerError, match=r"is not finished. Go on with: limner train --resume"):
        audit(lesions, tmp_path / "out", tmp_path / "cv")


def test_broken_files_are_left_out_where_that_is_asked_for(
    folds: Path, lesions: Path, tmp_path: Path
) -> None:
    data = tmp_path / "set"
    shutil.copytree(lesions, data)
    first, *others = scan(data).samples
    first.image.write_bytes(first.image.read_bytes()[:100])
    with pytest.raises(LimnerError, match="--skip-broken"):
        audit(data, tmp_path / "audit", folds)
    assert not (tmp_path / "audit").exists()
    skipping = Recipe().replace({"data.skip_broken": True})
    result = audit(data, tmp_path / "audit", folds, recipe=skipping)
    assert sorted(mask.id for mask in result.masks) == [sample.id for sample in others]
    assert result.notes[0].startswith("1 problem left out, 23 pairs remain")


def test_models_that_were_trained_without_broken_files_judge_without_them(
    folds: Path, lesions: Path, tmp_path: Path
) -> None:
    data = tmp_path / "set"
    shutil.copytree(lesions, data)
    scan(data).samples[0].image.write_bytes(b"no image")
    model = tmp_path / "model.safetensors"
    bundle = Bundle.load(folds / "fold-1" / "model.safetensors")
    skipping = bundle.recipe.replace({"data.skip_broken": True})
    replace(bundle, recipe=skipping, split={}, contents={}, fingerprints={}).save(model)
    assert len(audit(data, tmp_path / "audit", model).masks) == 23


def test_nothing_is_left_of_an_audit_that_cannot_begin(lesions: Path, tmp_path: Path) -> None:
    shutil.copytree(lesions, tmp_path / "set")
    scan(tmp_path / "set").samples[0].image.write_bytes(b"no image")
    done = limner("audit", "set", cwd=tmp_path)
    assert done.returncode == 1 and "--skip-broken" in done.stderr
    left = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"set"} and not (tmp_path / "audits").exists()


def test_how_models_are_trained_is_refused_beside_a_model(
    folds: Path, lesions: Path, tmp_path: Path
) -> None:
    done = limner("audit", lesions, "--model", folds, "--minutes", 3, cwd=tmp_path)
    assert done.returncode == 1 and "--model gives one that is" in done.stderr
