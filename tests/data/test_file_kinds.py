import gzip
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from command_line import limner
from dataset_folders import save_image
from limner.data.check import check
from limner.data.file_kinds import COMPANION_SUFFIXES, KINDS
from limner.data.folder_listing import FolderListing, find_images
from limner.data.image_file import IMAGE_SUFFIXES
from limner.data.images import read_image
from limner.data.large_images import open_large_image
from limner.data.scan import scan
from limner.errors import LimnerError
from shapes import disc


def encoded(format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(disc()).save(buffer, format)
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", b"x")
    return buffer.getvalue()


def saved_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, disc())
    return buffer.getvalue()


def test_a_suffix_has_one_meaning() -> None:
    assert not KINDS.keys() & IMAGE_SUFFIXES
    assert not KINDS.keys() & COMPANION_SUFFIXES
    assert not COMPANION_SUFFIXES & IMAGE_SUFFIXES
    assert all(kind.cure.endswith(".") for kind in KINDS.values())


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP", "WebP", "GIF", "JPEG2000"])
@pytest.mark.parametrize("name", ["photo", "photo.1", "x.pcx", "x.heic", "x.unheard", "x.dat"])
def test_an_image_is_known_by_its_content_whatever_its_suffix(
    tmp_path: Path, format: str, name: str
) -> None:
    if (format, name) == ("BMP", "x.dat"):
        pytest.skip("two letters are too few to tell a BMP from other data")
    (tmp_path / name).write_bytes(encoded(format))
    assert find_images(tmp_path) == [tmp_path / name]
    with Image.open(tmp_path / name) as image:
        assert (read_image(tmp_path / name) == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (lambda: encoded("PDF"), "a PDF"),
        (lambda: encoded("ICO"), "a file of unknown content"),
        (saved_array, "a NumPy array"),
        (zipped, "a zip archive"),
        (lambda: gzip.compress(b"x"), "a gzip archive"),
        (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (lambda: b"\0\0\0\x18ftypqt  ", "a video"),
    ],
)
def test_what_has_no_suffix_is_named_by_its_content(
    tmp_path: Path, content: Callable[[], bytes], what: str
) -> None:
    (tmp_path / "IMG_0001").write_bytes(content())
    assert [kind.name for kind in FolderListing(tmp_path).foreign().values()] == [what]
    assert find_images(tmp_path) == []


@pytest.mark.parametrize("name", ["weights.bin", "x.dat", "x.data"])
@pytest.mark.parametrize("content", [b"", b"BM\0\1\2\3", b"\0\1\2\3", b"text", b"PK\x03\x04\0"])
def test_other_content_with_the_suffix_of_any_program_is_not_named(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    listing = FolderListing(tmp_path)
    assert listing.foreign() == {} and listing.images() == []


@pytest.mark.parametrize(
    "name", ["x.nef", "x.qptiff", "x.lsm", "x.tif.part", "x.png.bak", "x.png~", "#x.png#"]
)
def test_a_thumbnail_or_a_half_of_a_file_is_not_taken_for_it(tmp_path: Path, name: str) -> None:
    tifffile.imwrite(tmp_path / "x.tif", disc())
    (tmp_path / "x.tif").rename(tmp_path / name)
    assert find_images(tmp_path) == [] and list(FolderListing(tmp_path).foreign())
    with pytest.raises(
        LimnerError, match=rf"{name} is not an image that can be read: it is (a|the)"
    ):
        read_image(tmp_path / name)


def test_what_lies_beside_images_is_not_named(tmp_path: Path) -> None:
    names = ["README.md", "notes.txt", "set.csv", "set.csv.gz", "Thumbs.db", "desktop.ini"]
    names += [".DS_Store", "._a.ims", "x.tfw", "x.tif.aux.xml", "x.xmp", "model.safetensors"]
    for name in names:
        (tmp_path / name).write_bytes(b"\0\1\2")
    (tmp_path / "LICENSE").write_text("as is")
    (tmp_path / "BMW").write_text("BM is how a bitmap begins")
    (tmp_path / "Icon\r").touch()
    listing = FolderListing(tmp_path)
    assert listing.foreign() == {} and listing.images() == []


def test_a_backup_of_an_editor_is_a_note(tmp_path: Path) -> None:
    for name in ("images/a", "masks/a"):
        save_image(tmp_path / f"{name}.png")
    (tmp_path / "masks/a.png~").write_bytes(encoded("PNG"))
    (finding,) = (each for each in check(scan(tmp_path)).findings if each.code != "few-images")
    assert (finding.code, finding.severity) == ("foreign-format", "note")
    assert f"{tmp_path}/masks/a.png~ is a backup or temporary copy" in finding.message


def test_a_store_is_named_once_and_system_folders_never(tmp_path: Path) -> None:
    for name in ("x.n5/0/0.0", "x.n5/0/0.1", "@eaDir/a.jpg/THUMB.jpg", "__MACOSX/b.ims"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\1\2")
    listing = FolderListing(tmp_path)
    assert {path.name: kind.name for path, kind in listing.foreign().items()} == {
        "x.n5": "an N5 store"
    }
    assert listing.images() == []


@pytest.mark.parametrize(
    ("name", "what"), [("v.mgz", "a FreeSurfer volume"), ("x.kra", "a Krita file")]
)
def test_a_suffix_says_more_than_the_archive_that_it_is(
    tmp_path: Path, name: str, what: str
) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"x") if name.endswith("mgz") else zipped())
    assert [kind.name for kind in FolderListing(tmp_path).foreign().values()] == [what]


def test_a_stack_with_the_suffix_of_a_single_image_is_named(tmp_path: Path) -> None:
    for name in ("images/a", "masks/a"):
        save_image(tmp_path / f"{name}.png")
    stack = np.random.default_rng(0).integers(0, 9, (3, *disc().shape)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack")
    (tmp_path / "x.tif").rename(tmp_path / "images/a.png")
    text = " ".join(limner("check", tmp_path, cwd=tmp_path).stdout.split())
    assert "images/a.png holds 3 images, and only the first is read" in text


def test_a_mask_that_is_a_stack_is_not_told_to_have_the_suffix_that_it_has(
    tmp_path: Path,
) -> None:
    save_image(tmp_path / "images/a.png")
    (tmp_path / "masks").mkdir()
    stack = np.stack([disc(), disc()])
    tifffile.imwrite(tmp_path / "masks/a.tif", stack, photometric="minisblack")
    codes = {finding.code for finding in check(scan(tmp_path)).findings}
    assert "pages-differ" in codes and "wrong-suffix" not in codes


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_pipe_is_named_and_never_opened(tmp_path: Path, name: str) -> None:
    for folder in ("images", "masks"):
        save_image(tmp_path / folder / "b.png")
    save_image(tmp_path / "masks/a.png")
    os.mkfifo(tmp_path / "images" / name)
    os.mkfifo(tmp_path / "images/c")
    result = check(scan(tmp_path))
    (error,) = result.errors
    assert error.code == "unreadable-image"
    assert error.message == (
        f"{tmp_path}/images/{name} is a pipe, a socket or a device, and not a file. Put the file "
        "that it should be in its place."
    )
    (note,) = (finding for finding in result.findings if finding.code == "foreign-format")
    assert note.message.startswith(f"{tmp_path}/images/c is a pipe, a socket or a device")
    # As `predict` does
    assert open_large_image(tmp_path / "images" / name) is None
    with pytest.raises(LimnerError, match="and not a file"):
        read_image(tmp_path / "images" / name)


def test_check_names_each_kind_once_with_its_cure(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_image(tmp_path / "images" / f"{name}.png", disc() // 2)
        save_image(tmp_path / "masks" / f"{name}.png")
    for name in ("c.oir", "d.oir", "clip.mp4"):
        (tmp_path / "images" / name).write_bytes(b"\0\1\2")
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7")
    output = limner("check", tmp_path, cwd=tmp_path)
    text = " ".join(output.stdout.split())
    assert "warning foreign-format 2 files, such as images/c.oir, are each an Olympus" in text
    assert "Fiji opens it by Bio-Formats" in text
    assert "note foreign-format images/clip.mp4 is a video, which is not read. Export its" in text
    assert "note foreign-format paper.pdf is a PDF, which is not read. Export its pages" in text


def test_images_and_masks_of_a_microscope_are_named_with_their_partner(tmp_path: Path) -> None:
    save_image(tmp_path / "masks" / "a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.ims").write_bytes(b"\0\1\2")
    text = " ".join(limner("check", tmp_path, cwd=tmp_path).stdout.split())
    assert "the image of masks/a.png, is an Imaris file. Export it as OME-TIFF" in text


def test_links_and_pipes_that_cannot_be_opened_do_not_stop_a_listing(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (kind,) = FolderListing(tmp_path).foreign().values()
    assert kind.name == "a file that cannot be opened" and "leads nowhere" in kind.cure


def test_a_folder_that_cannot_be_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    (tmp_path / "images").mkdir()
    save_image(tmp_path / "a.png")
    scandir = os.scandir

    def refusing_scandir(folder: Path) -> object:
        if folder == tmp_path / "images":
            # As for people who are not root
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing_scandir)
    foreign = FolderListing(tmp_path).foreign()
    assert {path.name: kind.name for path, kind in foreign.items()} == {
        "images": "a folder that cannot be opened"
    }
