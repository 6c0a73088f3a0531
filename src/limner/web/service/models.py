"""The served models by name; a new version replaces the old one between two requests."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from limner.errors import LimnerError
from limner.inference.engines import LoadedModel, load_model
from limner.inference.predictor import Predictor
from limner.web.errors import ProblemError

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One version of a model, ready to predict."""

    name: str
    version: str
    predictor: Predictor


def load_single_threaded(path: Path) -> LoadedModel:
    """Load a model on the processor, with one thread for each call."""
    return load_model(path, threads=1)


class ModelRepository:
    """Models by name. A request keeps the version that it got, whatever is loaded meanwhile.

    Args:
        paths: the files by name.
        load: opens a file, by default on the processor, with one thread for each call.

    Raises LimnerError where a file cannot be used.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        load: Callable[[Path], LoadedModel] = load_single_threaded,
    ) -> None:
        self._paths, self._open = dict(paths), load
        self._lock = Lock()
        self._served = {name: self._load(name) for name in self._paths}

    @property
    def names(self) -> list[str]:
        return list(self._served)

    @property
    def default(self) -> str:
        """The name of the first model, which is used where none is given."""
        return next(iter(self._served))

    def all(self) -> list[ServedModel]:
        """The served versions of all models."""
        return list(self._served.values())

    def get(self, name: str) -> ServedModel | None:
        """The served version of a model, None where there is no model of that name."""
        return self._served.get(name)

    def require(self, name: str | None) -> ServedModel:
        """A model by its name, or the default. Raises ProblemError for an unknown name."""
        model = self.get(name or self.default)
        if model is None:
            raise ProblemError(
                404, f"there is no model of that name. There are: {', '.join(self.names)}."
            )
        return model

    def reload(self, name: str) -> ServedModel:
        """Load a model's file again, and serve what it holds now.

        Raises LimnerError where it cannot be used; the old version is then kept.
        """
        # Of two calls at once, the later one loads the later file
        with self._lock:
            model = self._load(name)
            self._served[name] = model
        return model

    def _load(self, name: str) -> ServedModel:
        model = self._open(self._paths[name])
        return ServedModel(name, model.version, Predictor.from_models(model))


def parse_model_names(arguments: Iterable[str]) -> dict[str, Path]:
    """Paths by name, from arguments NAME=PATH or PATH. Without a name it is that of the run.

    Raises LimnerError for an invalid name, and for one that is used twice.
    """
    paths: dict[str, Path] = {}
    for argument in arguments:
        name, equals, rest = argument.partition("=")
        path = Path(rest if equals else argument)
        if not equals:
            name = _default_name(path)
        if not MODEL_NAME.fullmatch(name):
            raise LimnerError(
                f"{name!r} is not a model's name. Letters, digits, dots and hyphens make one, "
                "such as lesions=runs/lesions/model.onnx."
            )
        if name in paths:
            raise LimnerError(
                f"two models are called {name}. Give them names: {name}-1={paths[name]} "
                f"{name}-2={path}"
            )
        paths[name] = path
    return paths


def _default_name(path: Path) -> str:
    """The name of the run's folder, or that of the file if it is not called model."""
    name = path.resolve().parent.name if path.stem.startswith("model") else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"
