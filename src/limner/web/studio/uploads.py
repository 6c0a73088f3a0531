"""The routes that take new images: into folders beside a project, which the studio makes."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Request
from fastapi import Path as PathParameter
from starlette.requests import ClientDisconnect

from limner.data.image_file import has_image_suffix
from limner.files import sha256_of_file
from limner.studio.projects import DROP_NAME
from limner.web.errors import ProblemError
from limner.web.limits import CLOSE
from limner.web.studio.context import OpenedProject, Owner

MOST_BYTES = 2_000_000_000
"""Of a file."""
MOST_FILES = 100_000
"""In a folder."""
SPARE_BYTES = 500_000_000
"""Free space that a disk keeps."""
SILENCE_S = 30.0
"""How long a sender may say nothing."""
DropFolder = Annotated[str, PathParameter(pattern=f"^{DROP_NAME.pattern}$")]
FileName = Annotated[str, PathParameter(min_length=1, max_length=200)]

router = APIRouter(prefix="/api/projects/{id}", dependencies=[Owner])


@router.post("/drops")
def make_folder(project: OpenedProject) -> dict[str, str]:
    """Make a new folder for images, beside the project."""
    for number in count(1):
        folder = project.work / ("new-images" if number == 1 else f"new-images-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return {"folder": folder.name}
    raise AssertionError


@router.put("/drops/{folder}/{name}")
async def receive(
    request: Request, project: OpenedProject, folder: DropFolder, name: FileName
) -> dict[str, str]:
    """Take an image into a folder that `make_folder` made. It is written whole or not at all."""
    place = project.work / folder
    target = place / _safe_name(name)
    if not place.is_dir():
        raise ProblemError(404, f"there is no folder {folder}.")
    if sum(1 for _ in place.iterdir()) >= MOST_FILES:
        raise ProblemError(413, f"{folder} holds {MOST_FILES:,} files already.", CLOSE)
    part = place / f".{target.name}.part"
    try:
        with part.open("wb") as file:
            await _receive(request, file, shutil.disk_usage(place).free - SPARE_BYTES)
        target = await asyncio.to_thread(_put_in_place, part, target)
    except OSError as error:
        raise ProblemError(507, f"{name} cannot be written: {error.strerror}.", CLOSE) from None
    finally:
        part.unlink(missing_ok=True)
    return {"name": target.name}


async def _receive(request: Request, file: BinaryIO, free_bytes: int) -> None:
    """Write a body as it comes. Raises ProblemError where it is empty, too large or too slow."""
    size = 0
    stream = aiter(request.stream())
    while (part := await _next_part(stream)) is not None:
        size += len(part)
        if size > MOST_BYTES:
            raise ProblemError(413, f"a file has at most {MOST_BYTES:,} bytes.", CLOSE)
        if size > free_bytes:
            raise ProblemError(507, "the disk of the server is nearly full.", CLOSE)
        await asyncio.to_thread(file.write, part)
    if not size:
        raise ProblemError(422, "the file is empty.")


async def _next_part(stream: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(SILENCE_S):
            return await anext(stream)
    except StopAsyncIteration:
        return None
    except ClientDisconnect:
        raise ProblemError(400, "the body did not come whole.", CLOSE) from None
    except TimeoutError:
        raise ProblemError(408, f"nothing came for {SILENCE_S:g} seconds.", CLOSE) from None


def _safe_name(name: str) -> str:
    """The name that a file gets. Raises ProblemError where it is none of an image."""
    safe = PurePosixPath(name.replace("\\", "/")).name
    if not safe or safe.startswith(".") or not safe.isprintable():
        raise ProblemError(422, f"{name!r} is no name for a file.")
    if not has_image_suffix(safe):
        raise ProblemError(415, f"{safe} is no image that limner reads, by its name.")
    return safe


def _put_in_place(part: Path, target: Path) -> Path:
    """Give a file its name. One that was sent before stays; another with its name gets a number."""
    for number in count(1):
        name = target.name if number == 1 else f"{target.stem}-{number}{target.suffix}"
        path = target.with_name(name)
        if not path.exists():
            return part.rename(path)
        if sha256_of_file(path) == sha256_of_file(part):
            return path
    raise AssertionError
