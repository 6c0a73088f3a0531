"""The pages' templates and static files."""

from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

import jinja2
from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from limner.web.errors import ProblemError

MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Files of other kinds are not sent."""
PAGES = files("limner.web") / "pages"
STATIC = {
    file.name: MEDIA_TYPES[PurePosixPath(file.name).suffix]
    for file in PAGES.iterdir()
    if PurePosixPath(file.name).suffix in MEDIA_TYPES
}
"""Media types by name. Requests are looked up here; nothing is joined into a path."""
TEMPLATES = jinja2.Environment(loader=jinja2.PackageLoader("limner.web", "pages"), autoescape=True)

router = APIRouter(include_in_schema=False)


@router.get("/static/{name}")
async def static(name: str) -> Response:
    if name not in STATIC:
        raise ProblemError(404, "there is no such file.")
    return Response((PAGES / name).read_text(encoding="utf-8"), media_type=STATIC[name])


def render_page(template: str, **values: Any) -> HTMLResponse:
    """A page from its template."""
    return HTMLResponse(TEMPLATES.get_template(template).render(**values))
