"""The routes of what commands wrote: pages of checks and reports, pictures of runs, masks."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from limner.inference.prediction_record import PREDICTIONS_FILE
from limner.measures.measure import PAGE as MEASURES_PAGE
from limner.training import run_files
from limner.web.errors import ProblemError
from limner.web.studio.context import OpenedProject, open_run

DOCUMENT_POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'self'; sandbox allow-popups"
    ),
    "X-Frame-Options": "SAMEORIGIN",
}
"""A page in one file: it may run nothing and fetch nothing, and the studio may show it inside."""
PART_BYTES = 1 << 20

router = APIRouter(prefix="/api/projects/{id}")


@router.get("/check")
def check_page(project: OpenedProject) -> Response:
    """The page of the last check."""
    return _page(project.work / "checks" / project.data.name / "index.html")


@router.get("/runs/{name}/report")
def report_page(project: OpenedProject, name: str) -> Response:
    """The report of a run on its test images."""
    return _page(open_run(project, name).folder / "report" / "index.html")


@router.get("/runs/{name}/validation")
def validation_picture(project: OpenedProject, name: str) -> Response:
    """What a training draws in some validation images."""
    path = open_run(project, name).folder / run_files.VALIDATION_IMAGES
    return Response(_read(path), media_type="image/jpeg")


@router.get("/predictions/{name}/measures")
def measures_page(project: OpenedProject, name: str) -> Response:
    """The page of what was measured in masks."""
    folder = _predictions(project, name)
    return _page(folder.with_name(f"{folder.name}-measures") / MEASURES_PAGE)


@router.get("/predictions/{name}/masks.zip")
def masks(project: OpenedProject, name: str) -> Response:
    """All masks of a folder and what is known of them, as a zip."""
    folder = _predictions(project, name)
    files = [folder / PREDICTIONS_FILE]
    files += [
        folder / record for record in sorted(_mask_names(folder)) if (folder / record).is_file()
    ]
    measures = folder.with_name(f"{folder.name}-measures")
    if measures.is_dir():
        files += sorted(path for path in measures.iterdir() if path.suffix in {".csv", ".html"})
    disposition = f"attachment; filename*=UTF-8''{quote(folder.name)}.zip"
    return StreamingResponse(
        _zip(folder.parent, files),
        media_type="application/zip",
        headers={"Content-Disposition": disposition},
    )


def _predictions(project: OpenedProject, name: str) -> Path:
    if not any(each.name == name for each in project.predictions):
        raise ProblemError(404, f"there are no predictions {name}.")
    return project.work / name


def _mask_names(folder: Path) -> list[str]:
    from limner.inference.prediction_record import PredictionFile

    path = folder / PREDICTIONS_FILE
    return [record.mask for record in PredictionFile.from_bytes(_read(path), path).records]


def _page(path: Path) -> Response:
    return Response(_read(path), media_type="text/html", headers=DOCUMENT_POLICY)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise ProblemError(404, f"there is no {path.name} yet.") from None


class _Parts(io.RawIOBase):
    """A file that is written once, from front to back, and taken in parts."""

    def __init__(self) -> None:
        self._parts, self.size = list[bytes](), 0

    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        part = bytes(content)  # type: ignore[call-overload]
        self._parts.append(part)
        self.size += len(part)
        return len(part)

    def take(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts, self.size = [], 0
        return whole


def _zip(root: Path, files: list[Path]) -> Iterator[bytes]:
    """A zip, in parts. Masks are packed already and stored as they are."""
    parts = _Parts()
    with zipfile.ZipFile(parts, "w") as archive:
        for path in files:
            archive.write(path, path.relative_to(root).as_posix())
            if parts.size > PART_BYTES:
                yield parts.take()
    yield parts.take()
