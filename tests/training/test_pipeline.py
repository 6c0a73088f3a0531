import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from test_run import TINY

from limner.data.parallel import Progress
from limner.errors import LimnerError
from limner.training.events import Stopped
from limner.training.pipeline import TrainingSession, start_run
from limner.training.plan import Plan
from limner.training.run import Run

COUNT_OPENED = """
import json, sys
from collections import Counter
from pathlib import Path

opened = Counter()
sys.addaudithook(lambda event, args: opened.update([str(args[0])] if event == "open" else []))

from limner.recipe import Recipe
from limner.training.pipeline import train

data, folder, settings = sys.argv[1:]
train(Path(data), Recipe().replace(json.loads(settings)), Path(folder))
print(json.dumps({path: count for path, count in opened.items() if path.startswith(data)}))
"""


def opened_files(data: Path, folder: Path, settings: dict[str, object]) -> dict[str, int]:
    """How often a training opens each file of its dataset."""
    command = [sys.executable, "-c", COUNT_OPENED, str(data), str(folder), json.dumps(settings)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("size", [{"data.size_px": (32, 32)}, {}])
def test_training_opens_each_file_twice_and_masks_once_more_for_the_ceiling(
    lesions: Path, tmp_path: Path, size: dict[str, object]
) -> None:
    settings = {"train.device": "cpu", "train.epochs": 1, "train.compile": False}
    settings |= {"model.widths": (4, 8), **size}
    opened = opened_files(lesions, tmp_path / "run", settings)
    trained = set(Run.open(tmp_path / "run").split["train"])
    for path, count in opened.items():
        if Path(path).stem.removesuffix("_segmentation") in trained:
            measured = path.endswith("_segmentation.png") and not size
            assert count == 2 + measured, path


def test_a_file_that_changes_after_the_check_is_not_trained_on(
    lesions: Path, tmp_path: Path
) -> None:
    data = tmp_path / "set"
    shutil.copytree(lesions, data)
    changed = min((data / "ISIC2018_Task1-2_Training_Input").glob("*.jpg"))

    def change(_: Plan) -> None:
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

    session = TrainingSession(announce=lambda plan: stages.append("plan"), progress=note)
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
