import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from limner.data.cache import ABANDONED_S, TEMPORARY_PREFIX, cache_folder, prepare
from limner.data.check import check
from limner.data.images import read_image
from limner.data.resize import resize_image
from limner.data.sample import Sample
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.labels import Labels
from limner.recipe import ResizeMode
from shapes import disc

LABELS = Labels.from_values(("background", "foreground"), (0, 255))


def test_the_cache_holds_what_preprocessing_makes(lesions: Path) -> None:
    samples = scan(lesions).samples
    data = prepare(samples, LABELS, (16, 24))
    assert data.images.shape == (24, 16, 24, 3)
    assert data.images.dtype == np.uint8 and isinstance(data.images, np.memmap)
    assert (data.images[3] == resize_image(read_image(samples[3].image), (16, 24))).all()
    assert set(np.unique(data.masks)) == {0, 1}


def test_a_large_jpeg_at_reduced_scale_differs_by_less_than_its_noise(tmp_path: Path) -> None:
    from limner.data.synthetic import draw_lesion

    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    image, mask = draw_lesion(0, 0, 512)
    Image.fromarray(image).save(tmp_path / "set" / "images" / "a.jpg", quality=95)
    Image.fromarray(mask).save(tmp_path / "set" / "masks" / "a.png")
    (sample,) = scan(tmp_path / "set").samples
    reduced = prepare([sample], LABELS, (64, 64)).images[0].astype(np.int16)
    whole = resize_image(read_image(sample.image), (64, 64))
    assert np.abs(reduced - whole).mean() < 0.6


def test_the_second_call_decodes_nothing(lesions: Path) -> None:
    samples = scan(lesions).samples
    prepare(samples, LABELS, (16, 16))
    before = {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*")}
    prepare(samples, LABELS, (16, 16))
    assert {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*")} == before


def test_images_with_and_without_their_last_band_are_two_entries(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (16, 16, 4)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    Image.fromarray(disc()).save(tmp_path / "x.png")
    for channels in (4, 3, 4):
        sample = Sample("x", tmp_path / "x.tif", tmp_path / "x.png", channels=channels)
        assert prepare([sample], LABELS, (16, 16)).images.shape[-1] == channels


def test_a_changed_file_is_prepared_again(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc()})
    samples = scan(root).samples
    first = np.array(prepare(samples, LABELS, (16, 16)).images)
    Image.new("RGB", (16, 16), (1, 2, 3)).save(root / "images" / "a.png")
    assert (np.array(prepare(samples, LABELS, (16, 16)).images) != first).any()


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_file_that_changes_after_the_check_is_not_prepared(
    pairs: Callable[..., Path], kind: str
) -> None:
    dataset = scan(pairs({"a": disc(), "b": disc()}))
    info = check(dataset).info_by_id
    changed = dataset.root / kind / "b.png"
    Image.fromarray(255 - np.asarray(Image.open(changed))).save(changed)
    with pytest.raises(LimnerError, match=rf"{kind}/b\.png changed while .* start again"):
        prepare(dataset.samples, LABELS, (16, 16), info=info)
    assert list(cache_folder().iterdir()) == []


@pytest.mark.parametrize("resize_mode", ["resize", "tile"])
def test_what_the_check_learnt_finds_the_same_entry_without_reading_a_file(
    pairs: Callable[..., Path], resize_mode: ResizeMode
) -> None:
    dataset = scan(pairs({"a": disc(16), "b": disc(40)}))
    info = check(dataset).info_by_id
    prepared = prepare(dataset.samples, LABELS, (16, 16), resize_mode, info=info)
    assert prepare(dataset.samples, LABELS, (16, 16), resize_mode).key == prepared.key
    shutil.rmtree(dataset.root)
    again = prepare(dataset.samples, LABELS, (16, 16), resize_mode, info=info)
    assert again.key == prepared.key and (again.images == prepared.images).all()


def test_tiles_belong_to_their_image(pairs: Callable[..., Path]) -> None:
    samples = scan(pairs({"a": disc(16), "b": disc(40)})).samples
    data = prepare(samples, LABELS, (16, 16), "tile")
    assert data.sample_index.tolist() == [0] + [1] * 9
    assert (data.masks[1:] == 1).sum() == (disc(40) > 0).sum()


def test_a_failed_preparation_leaves_nothing_behind(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc(), "b": disc()})
    samples = scan(root).samples
    (root / "images" / "b.png").write_text("broken")
    with pytest.raises(LimnerError, match=r"b\.png"):
        prepare(samples, LABELS, (16, 16))
    assert list(cache_folder().iterdir()) == []


@pytest.mark.parametrize("name", ["images.npy", "masks.npy", "owners.npy", "checksums.npy"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_cache_is_made_anew(lesions: Path, name: str, harm: str) -> None:
    samples = scan(lesions).samples
    expected = np.array(prepare(samples, LABELS, (16, 16)).images)
    (path,) = cache_folder().glob(f"*/{name}")
    content = bytearray(path.read_bytes())
    content[-7] ^= 4
    path.unlink() if harm == "remove" else path.write_bytes(
        content if harm == "flip" else content[:-20]
    )
    assert (prepare(samples, LABELS, (16, 16)).images == expected).all()


def _prepare_in_a_process(data: Path, home: Path, queue: "multiprocessing.Queue[int]") -> None:
    os.environ["LIMNER_CACHE"] = str(home)
    queue.put(int(prepare(scan(data).samples, LABELS, (48, 48)).images.sum()))


def test_two_processes_may_prepare_the_same_at_once(lesions: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[int] = context.Queue()
    both = [
        context.Process(target=_prepare_in_a_process, args=(lesions, cache_folder(), queue))
        for _ in range(2)
    ]
    for process in both:
        process.start()
    sums = [queue.get(timeout=60) for _ in both]
    for process in both:
        process.join()
    assert sums[0] == sums[1] == int(prepare(scan(lesions).samples, LABELS, (48, 48)).images.sum())
    assert len(list(cache_folder().iterdir())) == 1


def test_another_process_may_be_quicker(lesions: Path) -> None:
    samples = scan(lesions).samples

    def meanwhile(canvases: Iterable[object], _: int) -> Iterator[object]:
        yield from canvases
        prepare(samples, LABELS, (48, 48))

    slower = prepare(samples, LABELS, (48, 48), progress=meanwhile)
    found = prepare(
        samples,
        LABELS,
        (48, 48),
        progress=lambda canvases, total: pytest.fail("made a second time"),
    )
    assert (slower.images == found.images).all()
    assert (slower.masks == found.masks).all()
    assert [folder.name for folder in cache_folder().iterdir()] == [found.key]


@pytest.mark.parametrize("moment_s", [0.0, 0.02, 0.05, 0.1])
def test_a_kill_at_any_moment_leaves_no_half_cache(lesions: Path, moment_s: float) -> None:
    code = (
        "import sys; from limner.data.cache import prepare; from limner.data.scan import scan; "
        "from limner.labels import Labels; "
        "labels = Labels.from_values(('background', 'foreground'), (0, 255)); "
        "samples = scan(sys.argv[1]).samples; print('ready', flush=True); "
        "[prepare(samples, labels, (size, 256)) for size in range(200, 300)]"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(lesions)], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moment_s)
        process.send_signal(signal.SIGKILL)
    samples = scan(lesions).samples
    for size in (200, 201):
        data = prepare(samples, LABELS, (size, 256))
        assert (data.images[5] == resize_image(read_image(samples[5].image), (size, 256))).all()


def test_what_a_killed_process_left_is_swept_a_day_later(lesions: Path) -> None:
    left, fresh, long = (
        cache_folder() / f"{TEMPORARY_PREFIX}{name}" for name in ("old", "new", "long")
    )
    for folder in (left, fresh, long):
        folder.mkdir(parents=True)
    (long / "images.npy").write_text("still written")
    for folder in (left, long):
        os.utime(folder, (0, time.time() - ABANDONED_S - 60))
    prepare(scan(lesions).samples, LABELS, (16, 16))
    assert not left.exists() and fresh.exists() and long.exists()
