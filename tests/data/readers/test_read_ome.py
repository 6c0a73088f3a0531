"""OME-TIFFs whose metadata are written by hand, as programs other than tifffile write them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from limner.data.images import page_count, read_image, read_mask
from limner.errors import LimnerError

SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
PLANES = np.arange(12, dtype=np.uint8)[:, None, None] + np.zeros((12, 6, 9), np.uint8)


def write_ome(
    path: Path,
    pixels: str,
    *,
    pages: int = 12,
    root: str = "",
    order: str = "XYCZT",
    sizes: tuple[int, int, int] = (2, 3, 2),
) -> Path:
    """Write pages whose numbers count them, with the given elements in Pixels."""
    channels, slices, times = sizes
    xml = (
        f'<?xml version="1.0"?><OME xmlns="{SCHEMA}" {root}>'
        f'<Image ID="Image:0"><Pixels DimensionOrder="{order}" SizeC="{channels}" SizeZ="{slices}" '
        f'SizeT="{times}" SizeX="9" SizeY="6" Type="uint8">{pixels}</Pixels></Image></OME>'
    )
    return write_pages(path, xml, pages)


def write_pages(path: Path, description: str, pages: int) -> Path:
    with tifffile.TiffWriter(path) as file:
        for number in range(pages):
            file.write(
                PLANES[number],
                description=description if number == 0 else None,
                metadata=None,
                contiguous=False,
            )
    return path


def numbers(path: Path) -> list[list[int]]:
    """The page of each channel of each image."""
    return [read_image(path, page=page)[0, 0].tolist() for page in range(page_count(path))]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("XYCZT", [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]),
        ("XYZCT", [[0, 3], [1, 4], [2, 5], [6, 9], [7, 10], [8, 11]]),
        ("XYZTC", [[0, 6], [1, 7], [2, 8], [3, 9], [4, 10], [5, 11]]),
        ("XYTCZ", [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9, 11]]),
    ],
)
@pytest.mark.parametrize("placing", ["", "<TiffData/>", '<TiffData IFD="0" PlaneCount="12"/>'])
def test_planes_are_in_the_order_that_the_metadata_state(
    tmp_path: Path, order: str, expected: list[list[int]], placing: str
) -> None:
    assert numbers(write_ome(tmp_path / "x.tif", placing, order=order)) == expected


def test_planes_may_lie_on_any_page(tmp_path: Path) -> None:
    placing = "".join(
        f'<TiffData FirstC="{c}" FirstZ="{z}" FirstT="{t}" IFD="{11 - (c + 2 * z + 6 * t)}"/>'
        for t in range(2)
        for z in range(3)
        for c in range(2)
    )
    path = write_ome(tmp_path / "x.tif", placing)
    assert numbers(path) == [[11, 10], [9, 8], [7, 6], [5, 4], [3, 2], [1, 0]]
    with pytest.raises(LimnerError, match="holds 2 planes that it calls channels"):
        read_mask(path)


def test_two_positions_are_two_images(tmp_path: Path) -> None:
    position = (
        '<Image><Pixels DimensionOrder="XYCZT" SizeC="2" SizeZ="1" SizeT="1">'
        '<TiffData IFD="{}" PlaneCount="2"/></Pixels></Image>'
    )
    xml = f"<OME>{position.format(2)}{position.format(0)}</OME>"
    assert numbers(write_pages(tmp_path / "x.tif", xml, 4)) == [[2, 3], [0, 1]]


def of_set(file: int, channels: int, times: int) -> str:
    """One file for each moment, whose pages are its channels."""
    placing = "".join(
        f'<TiffData FirstC="{c}" FirstT="{t}" IFD="{c}" PlaneCount="1">'
        f'<UUID FileName="t{t}.ome.tif">urn:{t}</UUID></TiffData>'
        for t in range(times)
        for c in range(channels)
    )
    assert f"urn:{file}<" in placing
    return placing


def test_of_a_set_of_files_each_holds_its_own_planes(tmp_path: Path) -> None:
    for file in range(3):
        path = write_ome(
            # Whatever it is called by now
            tmp_path / f"renamed-{file}.ome.tif",
            of_set(file, 2, 3),
            pages=2,
            root=f'UUID="urn:{file}"',
            sizes=(2, 1, 3),
        )
        assert numbers(path) == [[0, 1]]


def test_one_channel_of_a_set_of_files_is_a_grey_image(tmp_path: Path) -> None:
    placing = "".join(
        f'<TiffData FirstC="{c}"><UUID FileName="c{c}.ome.tif">urn:{c}</UUID></TiffData>'
        for c in range(2)
    )
    path = write_ome(tmp_path / "c.ome.tif", placing, pages=1, root='UUID="urn:1"', sizes=(2, 1, 1))
    assert numbers(path) == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("placing", "options", "message"),
    [
        ('<TiffData FirstC="2" IFD="0"/>', {}, "are wrong or incomplete .plane 3 of 2"),
        ('<TiffData IFD="3" PlaneCount="12"/>', {}, "wrong or incomplete .12 planes from page 4"),
        ('<TiffData IFD="0"/><TiffData FirstC="1" IFD="0"/>', {}, "place 1 of its 12 pages"),
        ('<TiffData IFD="0" PlaneCount="11"/>', {}, "give 1 channels to some .* and 2 to the rest"),
        (
            '<TiffData IFD="0"/><TiffData FirstC="1" FirstZ="1" IFD="1"/>',
            {},
            "and others to the rest",
        ),
        (of_set(0, 2, 3), {"sizes": (2, 1, 3)}, "are of 3 files, and do not say which"),
        ("", {"order": "XYCZQ"}, "wrong or incomplete .DimensionOrder XYCZQ"),
        ("", {"sizes": (0, 3, 2)}, "wrong or incomplete .sizes"),
        ('<Channel SamplesPerPixel="1"/><Channel SamplesPerPixel="3"/>', {}, "SamplesPerPixel"),
        ("<Broken", {}, "cannot be read"),
        ('</Pixels><BinaryOnly MetadataFile="x.ome" UUID="u"/><Pixels>', {}, "OME metadata"),
        ('<TiffData IFD="0" PlaneCount="6"/>', {"sizes": (2, 3, 1)}, "6 images that its OME"),
    ],
)
def test_metadata_that_do_not_fit_the_pages_are_refused_and_nothing_is_shuffled(
    tmp_path: Path, placing: str, options: dict[str, object], message: str
) -> None:
    path = write_ome(tmp_path / "x.tif", placing, **options)
    with pytest.raises(LimnerError, match=message):
        read_image(path)


def test_metadata_that_lie_in_another_file_are_said_to(tmp_path: Path) -> None:
    xml = '<OME><BinaryOnly MetadataFile="x.companion.ome" UUID="urn:1"/></OME>'
    with pytest.raises(LimnerError, match=r"lie in another file.*export it as a single OME-TIFF"):
        read_image(write_pages(tmp_path / "x.tif", xml, 3))
    assert numbers(write_pages(tmp_path / "one.tif", xml, 1)) == [[0, 0, 0]]


def test_claims_of_billions_of_planes_cost_nothing(tmp_path: Path) -> None:
    path = write_ome(
        tmp_path / "x.tif", '<TiffData IFD="0"/>', sizes=(10**9, 10**9, 10**9), pages=2
    )
    with pytest.raises(LimnerError, match="holds 1 images that its OME metadata do not speak of"):
        read_image(path)
