"""HTML pages in one file that needs no network: packaged templates, embedded pictures, colours."""

import base64
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from limner.data.writers.jpeg import encode_jpeg


def render_page(package: str, template: str, **values: Any) -> str:
    """Render a template that lies in a package, with everything escaped that is not `Markup`.

    Args:
        package: such as "limner.data".
        template: the file's name in it.
        values: what the template shows; a name that is missing is an error.
    """
    # Loaded when a page is written, since importing limner must stay quick
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)


def embed_jpeg(pixels: UInt8[ndarray, "h w 3"], quality: int = 85) -> str:
    """Encode a picture for a `data:image/jpeg;base64,` URL; `quality` is from 1 to 100."""
    return base64.b64encode(encode_jpeg(pixels, quality)).decode("ascii")


def css_colour(colour: tuple[int, int, int]) -> str:
    """Spell an RGB colour as CSS does: "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
