from pathlib import Path

from dataset_folders import save_images
from limner.data.scan import scan


def test_hidden_images_are_counted_and_named(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.png", "masks/a.png")
    assert scan(tmp_path).findings == ()
    save_images(tmp_path, "images/.b.png", "masks/.old/c.png", ".git/d.png", "images/._a.png")
    (note,) = scan(tmp_path).findings
    assert (note.code, note.severity) == ("hidden-files", "note")
    assert note.message == (
        f"2 image files are hidden and left out, such as {tmp_path}/images/.b.png. If they belong "
        "to the set, give names without a dot at the start to them or their folder."
    )


def test_another_form_of_an_image_is_named(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.png", "masks/a.png", "masks/a.tga")
    dataset = scan(tmp_path)
    assert dataset.unsupported == {}
    (note,) = dataset.findings
    assert (note.code, note.severity) == ("other-form", "note")
    assert note.message == (
        f"1 file is left out, such as {tmp_path}/masks/a.tga: the format is not read, and an image "
        "of the same name is beside it, which is taken."
    )
