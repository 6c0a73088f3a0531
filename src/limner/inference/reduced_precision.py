"""Whether a lower precision may take the place of float32: what it changes on known masks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from limner.data.cache import cache_folder
from limner.data.sample import Sample
from limner.data.scan import scan
from limner.data.split_record import read_contents
from limner.errors import LimnerError
from limner.files import json_sha256, write_atomic
from limner.inference.engines import LoadedModel, read_exported
from limner.inference.graph_description import describe_graph
from limner.inference.onnx_files import finish_onnx, to_int8
from limner.inference.parity import MAX_CANVASES, PrecisionChange, first_canvas, measure_change
from limner.model.metadata import ModelMetadata, parse_metadata
from limner.plurals import count_noun
from limner.processor import has_wide_int8_sums

MIN_SCORED, MAX_SCORED = 5, 100
"""Images on which a lower precision is measured. On fewer none is taken."""


@dataclass(frozen=True, slots=True)
class PrecisionLimits:
    """How much a lower precision may change Dice to be taken."""

    data: Path
    """The folder of images and masks that the model was trained on."""
    mean: float = 0.002
    """The most that mean Dice may change, up or down."""
    worst: float = 0.05
    """The most that an image's Dice may fall."""

    def hold(self, change: PrecisionChange) -> bool:
        """Whether a change is within them."""
        return abs(change.difference) <= self.mean and change.worst >= -self.worst


class ReducedPrecision:
    """The lower precisions of one exported graph.

    Args:
        graph: an .onnx file in float32.
        limits: what they may change.

    Raises:
        LimnerError: The graph is in a lower precision itself.
    """

    def __init__(self, graph: Path, limits: PrecisionLimits) -> None:
        self._limits = limits
        self._content, _, self._file = read_exported(graph)
        self._metadata: ModelMetadata = parse_metadata(self._file["model"], graph)
        self._data = limits.data.resolve()
        if self._file["precision"] != "float32":
            raise LimnerError(
                f"{graph} is in {self._file['precision']} already. Leave --precision fast, or give "
                "the model in float32."
            )

    def int8_file(self) -> Path:
        """The graph in int8 in the cache, which is made from training images where it is missing.

        It is for this processor: weights have 8 bits where their sums do not overflow.

        Raises LimnerError where there is no data.
        """
        bits = 8 if has_wide_int8_sums() else 7
        digest = json_sha256([self._file["source_sha256"], str(self._data)])
        path = cache_folder() / "engines" / f"{digest}-int8-weights{bits}.onnx"
        if not path.is_file():
            samples = (self._splits["train"] or self._scored)[:MAX_CANVASES]
            canvases = [first_canvas(self._metadata.preprocessing, sample) for sample in samples]
            stride = self._file["receptive_field"][0]
            content = finish_onnx(
                to_int8(self._content, canvases, any_processor=bits == 7),
                {**self._file, "precision": "int8"},
                describe_graph(self._metadata, stride, "network"),
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)
        return path

    def is_close(
        self, name: str, exact: LoadedModel, reduced: LoadedModel, say: Callable[[str], None]
    ) -> bool:
        """Whether an engine changes the masks of validation images within the limits.

        Says by how much. Raises LimnerError where there is no image of known mask.
        """
        if len(self._scored) < MIN_SCORED:
            say(
                f"precision: {name} is not taken, since {count_noun(len(self._scored), 'image')} "
                f"of known mask cannot show what it changes. {MIN_SCORED} are needed."
            )
            return False
        canvases = [
            first_canvas(self._metadata.preprocessing, sample) for sample in self._scored[:1]
        ]
        change = measure_change(exact, reduced, self._scored, canvases)
        holds, limits = self._limits.hold(change), self._limits
        say(
            f"precision: {name} changes the mean Dice of "
            f"{count_noun(change.images, 'validation image')} by {change.difference:+.4f} (at most "
            f"{limits.mean:g}) and the worst one's by {change.worst:+.3f} (at most "
            f"{limits.worst:g}): {'taken' if holds else 'not taken'}."
        )
        return holds

    @cached_property
    def _splits(self) -> Mapping[str, Sequence[Sample]]:
        if not self._data.is_dir():
            raise LimnerError(
                f"--precision fast needs images of known masks, and {self._data} is not there. "
                "Give their folder with --data."
            )
        dataset = scan(self._data)
        return self._metadata.split_record.assign(dataset.samples, read_contents(dataset.samples))

    @cached_property
    def _scored(self) -> Sequence[Sample]:
        scored = (self._splits["val"] or self._splits["test"])[:MAX_SCORED]
        if not scored:
            raise LimnerError(
                f"{self._data} has no validation image of this model. Give the folder of images "
                "and masks that it was trained on with --data."
            )
        return scored
