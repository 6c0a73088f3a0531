"""The model card: what a person should know of a model before using it."""

from collections.abc import Sequence

from limner.model.metadata import ModelMetadata

LIMITS = (
    "It was trained on images like those of its training set and tested on those named here. On "
    "images of another kind, device or site its scores are unknown; images that are flagged as "
    "unusual deserve a look. It is not a medical device."
)
LICENCE = "The weights are made from the training images, and may be used as their licence allows."
RECEIPT_KEYS = ("data_sha256", "split_sha256", "recipe_sha256", "seed", "torch", "limner")
"""What the card shows of the training's receipt, where it is there."""


def model_card(model: ModelMetadata) -> list[tuple[str, str]]:
    """Describe a model: each line has a title and a text."""
    recipe, settings, preprocessing = model.recipe, model.inference, model.preprocessing
    network = recipe.model
    height, width = preprocessing.size_px
    steps = ", ".join(settings.postprocessing.enabled) or "none"
    licence = LICENCE
    if network.encoder:
        licence += (
            f" The encoder's weights came from {network.encoder}, whose licence holds as well."
        )
    return [
        ("classes", ", ".join(model.labels.names)),
        (
            "network",
            f"{network.encoder or network.preset}, widths {', '.join(map(str, network.widths))}",
        ),
        (
            "input",
            f"{width}x{height} px, {recipe.data.channels} channels, {preprocessing.resize_mode}",
        ),
        (
            "standardised by",
            f"mean {_join(preprocessing.mean)}, standard deviation {_join(preprocessing.std)} in "
            "units of 0..1",
        ),
        ("loss", recipe.train.loss),
        ("images", ", ".join(f"{name} {len(ids)}" for name, ids in model.split.items())),
        (
            "chosen on validation",
            f"threshold {settings.threshold:.3g}, test-time augmentation {settings.tta}, "
            f"post-processing {steps}",
        ),
        *(
            (key.replace("_", " "), str(model.receipt[key]))
            for key in RECEIPT_KEYS
            if key in model.receipt
        ),
        ("limits", LIMITS),
        ("licence", licence),
    ]


def _join(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)
