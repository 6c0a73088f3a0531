"""limner: a folder of images and masks becomes a U-Net that segments new images, with honest
scores.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "LimnerError": "limner.errors",
    "Labels": "limner.labels",
    "Recipe": "limner.recipe",
    "scan": "limner.data.scan",
    "check": "limner.data.check",
    "UNet": "limner.model.unet",
    "Bundle": "limner.model.bundle",
    "Predictor": "limner.inference.predictor",
    "evaluate": "limner.inference.evaluate",
    "train": "limner.training.pipeline",
    "export": "limner.inference.export",
    "merge": "limner.review.merge",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> object:
    """Load a public name when it is asked for, so that importing limner imports no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'limner' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
