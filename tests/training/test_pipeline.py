import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from tiny_run import TINY

from limner.data.parallel import Progress
from limner.errors import LimnerError
from limner.recipe import Recipe
from limner.training.events import Stopped
from limner.training.pipeline import TrainingSession, start_run, train
from limner.training.plan import Plan


class OpenedFiles:
    """How often this process opens each file, whatever opens it; an audit hook stays for good."""

    def __init__(self) -> None:
        self.counts: Counter[str] | None = None
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and self.counts is not None:
            self.counts[str(arguments[0])] += 1

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        self.counts = counts = Counter()
        yield counts
        self.counts = None


@pytest.fixture(scope="session")
def opened_files() -> OpenedFiles:
    return OpenedFiles()


@pytest.mark.parametrize("size", [{"data.size_px": (32, 32)}, {}])
def test_training_opens_each_file_twice_and_masks_once_more_for_the_ceiling(
    lesions: Path, tmp_path: Path, opened_files: OpenedFiles, size: dict[str, object]
) -> None:
    settings = {"train.device": "cpu", "train.epochs": 1, "train.compile": False}
    recipe = Recipe().replace({**settings, "model.widths": (4, 8), **size})
    with opened_files.counted() as counts:
        run = train(lesions, recipe, tmp_path / "run")
    trained = set(run.split["train"])
    opened = [
        path
        for path in map(Path, counts)
        if path.is_relative_to(lesions) and path.stem.removesuffix("_segmentation") in trained
    ]
    assert len(opened) == 2 * len(trained)
    for path in opened:
        measured = path.name.endswith("_segmentation.png") and not size
        assert counts[str(path)] == 2 + measured, path


def test_a_file_that_changes_after_the_check_is_not_trained_on(
    lesions: Path, tmp_path: Path
) -> None:
    data = tmp_path / "set"
    shutil.copytree(lesions, data)
    changed = min((data / "ISIC2018_Task1-2_Training_Input").glob("*.jpg"))

    def change(_: Plan, _folder: Path) -> None:
        Image.new("RGB", (32, 32)).save(changed)

    with pytest.raises(LimnerError, match=rf"{changed.name} changed while its dataset"):
        start_run(data, TINY, tmp_path / "run", TrainingSession(announce=change))


def test_the_stages_show_their_progress_and_the_plan_comes_before_preparing(
    lesions: Path, tmp_path: Path
) -> None:
    stages: list[str] = []

    def note(stage: str) -> Progress:
        def wrap(items: Iterable[object], count: int) -> Iterator[object]:
            stages.append(f"{stage} {count}")
            return iter(items)

        return wrap

    session = TrainingSession(announce=lambda plan, folder: stages.append("plan"), progress=note)
    run, events = start_run(lesions, TINY, tmp_path / "run", session)
    events.close()
    train, validation = (len(run.split[side]) for side in ("train", "val"))
    assert stages == [
        "checking 24",
        "plan",
        f"preparing {train}",
        f"preparing validation {validation}",
    ]


def test_the_working_directory_may_change_while_a_run_trains(
    lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lesions.parent)
    _, events = start_run(Path(lesions.name), TINY, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    *_, last = events
    assert isinstance(last, Stopped) and last.finished
