"""OME-Zarr stores that hold their labels (https://ngff.openmicroscopy.org)."""

from pathlib import Path
from unicodedata import normalize

from limner.data.annotated_images import not_annotated_findings
from limner.data.folder_listing import FolderListing
from limner.data.image_file import without_suffix
from limner.data.layout_match import LayoutMatch, with_splits
from limner.data.readers import zarr_store
from limner.data.sample import Sample
from limner.errors import LimnerError
from limner.name_list import list_some


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """OME-Zarr: x.zarr with labels/NAME in it"""
    stores = [path for path in listing.images() if path.suffix.lower() in zarr_store.SUFFIXES]
    labels = {store: names for store in stores if (names := _label_names(store))}
    if not labels:
        return None
    samples = []
    for store, names in labels.items():
        if len(names) > 1:
            raise LimnerError(
                f"{store} holds the labels {list_some(names)}. One label image for each image is "
                "read: remove the others from labels/, or join them into one."
            )
        folder = store.relative_to(listing.root).parent
        id = normalize("NFC", (folder / without_suffix(store.name)).as_posix())
        sample = Sample(id, store, store / "labels" / names[0])
        samples.append((sample, folder.parts))
    others = [path for path in listing.images() if path not in labels]
    return LayoutMatch(
        "OME-Zarr",
        with_splits(samples),
        set_aside=tuple(others),
        findings=tuple(not_annotated_findings(others, "OME-Zarr")),
    )


def _label_names(store: Path) -> list[str]:
    try:
        return zarr_store.label_names(store)
    except (ValueError, OSError, AttributeError) as error:
        raise LimnerError(
            f"{store}/labels cannot be read ({error}). It must list its label images: write it "
            "again."
        ) from error
