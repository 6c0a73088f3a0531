from pathlib import Path

import fsspec
import pytest

from limner.data.storage import Storage
from limner.errors import LimnerError
from limner.inference.image_selection import ImageSelection


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.png", "a/2.jpg", "a/x.xcf", "b/deep/3.png", "c/4.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def selected(*paths: str) -> tuple[str, list[str], list[str]]:
    """The folder, and which names are images and which are foreign."""
    selection = ImageSelection.from_paths(paths)
    return (
        Path(selection.storage.path_of()).name,
        list(selection.names),
        list(selection.foreign),
    )


def test_a_folder_gives_its_images_and_names_what_is_foreign() -> None:
    assert selected("a") == ("a", ["1.png", "2.jpg"], ["x.xcf"])
    assert selected("b") == ("b", ["deep/3.png"], [])


def test_an_image_is_taken_alone(photos: Path) -> None:
    assert selected("a/2.jpg") == ("a", ["2.jpg"], [])
    assert selected(str(photos / "a" / "x.xcf")) == ("a", ["x.xcf"], [])


def test_several_images_and_folders_are_named_from_the_folder_that_holds_them_all(
    photos: Path,
) -> None:
    assert selected("a/1.png", "a/2.jpg") == ("a", ["1.png", "2.jpg"], [])
    names = ["a/1.png", "b/deep/3.png", "c/4.tif"]
    assert selected("c", str(photos / "b"), "a/1.png", "a/1.png") == (photos.name, names, [])
    assert selected("a", "c")[1:] == (["a/1.png", "a/2.jpg", "c/4.tif"], ["a/x.xcf"])


def test_a_pattern_that_no_shell_expanded_is_expanded(photos: Path) -> None:
    assert selected("a/*.png") == ("a", ["1.png"], [])
    assert selected("**/*.[pt]*")[1] == ["a/1.png", "b/deep/3.png", "c/4.tif"]
    (photos / "d[1].png").touch()
    assert selected("d[1].png")[1] == ["d[1].png"]


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(LimnerError, match=r"none\.png does not exist\. Give an image, several"):
        ImageSelection.from_paths(["a", "none.png"])
    with pytest.raises(LimnerError, match=r"no file fits a/\*\.bmp"):
        ImageSelection.from_paths(["a/*.bmp"])


def test_a_url_may_be_a_folder_or_a_pattern() -> None:
    system = fsspec.filesystem("memory")
    for name in ("1.png", "2.jpg", "x.xcf"):
        system.pipe_file(f"/selection/{name}", b"")
    assert ImageSelection.from_paths(["memory://selection"]).names == ("1.png", "2.jpg")
    pattern = ImageSelection.from_paths(["memory://selection/*.png"])
    assert pattern.names == ("1.png",) and pattern.storage == Storage("memory://selection")
    single = ImageSelection.from_paths(["memory://selection/2.jpg"])
    assert single.names == ("2.jpg",) and single.storage == Storage("memory://selection")
    with pytest.raises(LimnerError, match="no file fits memory://selection/z"):
        ImageSelection.from_paths(["memory://selection/z*.png"])
    with pytest.raises(LimnerError, match="there are 2 places for images, and memory://selection"):
        ImageSelection.from_paths(["memory://selection", "a"])


def test_a_folder_stays_the_same_in_another_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Storage("photos").absolute() == Storage(tmp_path / "photos")
    assert Storage("memory://photos").absolute() == Storage("memory://photos")
