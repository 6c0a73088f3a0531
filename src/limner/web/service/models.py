"""The models that are served, by name; a new version takes the place of the old one between two
requests.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from limner.errors import LimnerError
from limner.inference.engines import load_model
from limner.inference.predictor import Predictor
from limner.web.limits import ProblemError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One version of a model, ready to predict."""

    name: str
    version: str
    predictor: Predictor


class ModelRepository:
    """Models by name. A request that took one keeps it, whatever is put in its place. `exported`
    gives the file that is opened for a path.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        device: str = "cpu",
        threads: int = 1,
        exported: Callable[[Path], Path] = Path,
    ) -> None:
        self._paths, self._device, self._threads, self._exported = (
            dict(paths),
            device,
            threads,
            exported,
        )
        self._lock = Lock()
        self._served = {name: self._open(name) for name in self._paths}

    @property
    def names(self) -> list[str]:
        return list(self._served)

    @property
    def default(self) -> str:
        """The name that is meant where none is given: the first."""
        return next(iter(self._served))

    def all(self) -> list[ServedModel]:
        return list(self._served.values())

    def get(self, name: str) -> ServedModel | None:
        return self._served.get(name)

    def require(self, name: str | None) -> ServedModel:
        """A model by its name, or the default. Raises ProblemError where there is none of it."""
        found = self.get(name or self.default)
        if found is None:
            raise ProblemError(
                404, f"there is no model of that name. There are: {', '.join(self.names)}."
            )
        return found

    def reload(self, name: str) -> ServedModel:
        """Open a model's file again, and serve what it holds now. Raises LimnerError where it
        cannot be used; the old one is then kept.
        """
        with self._lock:
            # Of two who ask at once, the later finds the later file
            opened = self._open(name)
            self._served[name] = opened
        return opened

    def _open(self, name: str) -> ServedModel:
        opened = load_model(self._exported(self._paths[name]), self._device, self._threads)
        return ServedModel(name, opened.version, Predictor.from_models(opened))


def parse_model_names(models: Iterable[str]) -> dict[str, Path]:
    """Paths by name, from NAME=PATH or from paths alone, which are called after their run. Raises
    LimnerError where names are taken twice or odd.
    """
    found: dict[str, Path] = {}
    for text in models:
        name, equals, rest = text.partition("=")
        path = Path(rest if equals else text)
        if not equals:
            name = (
                re.sub(
                    r"[^A-Za-z0-9._-]+",
                    "-",
                    path.resolve().parent.name if path.stem.startswith("model") else path.stem,
                ).strip("-.")
                or "model"
            )
        if not NAME.fullmatch(name):
            raise LimnerError(
                f"{name!r} is no name of a model. Letters, digits, dots and hyphens make one, "
                "such as lesions=runs/lesions/model.onnx."
            )
        if name in found:
            raise LimnerError(
                f"two models are called {name}. Give them names: {name}-1={found[name]} "
                f"{name}-2={path}"
            )
        found[name] = path
    return found
