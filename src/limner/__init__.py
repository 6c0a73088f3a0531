"""limner: a folder of images and masks becomes a U-Net that segments new images.

The public names below are loaded when they are first used, so `import limner` is quick and imports
no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner.data.check import check as check
    from limner.data.scan import scan as scan
    from limner.errors import LimnerError as LimnerError
    from limner.inference.evaluate import evaluate as evaluate
    from limner.inference.export import export as export
    from limner.inference.prediction import Prediction as Prediction
    from limner.inference.predictor import Predictor as Predictor
    from limner.inference.scores import Scores as Scores
    from limner.labels import Labels as Labels
    from limner.measures.measure import measure as measure
    from limner.model.bundle import Bundle as Bundle
    from limner.model.unet import UNet as UNet
    from limner.recipe import Recipe as Recipe
    from limner.review.merge import merge as merge
    from limner.training.cross_validation import cross_validate as cross_validate
    from limner.training.label_audit import audit as audit
    from limner.training.pipeline import train as train
    from limner.training.run import Run as Run

__version__ = "0.2.0"

_MODULES = {
    "Bundle": "limner.model.bundle",
    "Labels": "limner.labels",
    "LimnerError": "limner.errors",
    "Prediction": "limner.inference.prediction",
    "Predictor": "limner.inference.predictor",
    "Recipe": "limner.recipe",
    "Run": "limner.training.run",
    "Scores": "limner.inference.scores",
    "UNet": "limner.model.unet",
    "audit": "limner.training.label_audit",
    "check": "limner.data.check",
    "cross_validate": "limner.training.cross_validation",
    "evaluate": "limner.inference.evaluate",
    "export": "limner.inference.export",
    "measure": "limner.measures.measure",
    "merge": "limner.review.merge",
    "scan": "limner.data.scan",
    "train": "limner.training.pipeline",
}
"""The module that each public name comes from."""

__all__ = [
    "Bundle",
    "Labels",
    "LimnerError",
    "Prediction",
    "Predictor",
    "Recipe",
    "Run",
    "Scores",
    "UNet",
    "__version__",
    "audit",
    "check",
    "cross_validate",
    "evaluate",
    "export",
    "measure",
    "merge",
    "scan",
    "train",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load a public name; type checkers and editors see the imports above instead."""
        if name not in _MODULES:
            raise AttributeError(f"module 'limner' has no attribute {name!r}")
        from limner.errors import needs_torch

        try:
            return getattr(import_module(_MODULES[name]), name)
        except ModuleNotFoundError as error:
            raise needs_torch(error) or error from error


def __dir__() -> list[str]:
    """The public names, for completion in an editor or a notebook."""
    return sorted(__all__)
