"""Keys and values of recipes that earlier versions wrote, and their names today.

Recipe files, `--set` overrides and model files in the old names are read through this table.
"""

from collections.abc import Mapping
from typing import Any

from limner.errors import LimnerError

OLD_KEYS = {
    "data.geometry": "data.resize_mode",
    "model.up": "model.upsampling",
    "augment.flip": "augment.horizontal_flip",
    "augment.upside_down": "augment.vertical_flip",
    "train.average": "train.ema_decay",
    "train.clip": "train.max_grad_norm",
    "train.decay": "train.lr_schedule",
    "train.encoder_rate": "train.encoder_lr_factor",
    "train.frozen": "train.freeze_encoder",
    "train.warm_up": "train.warmup",
}
"""Each old key and the key of today."""
OLD_VALUES = {("model.block", "plain"): "conv"}
"""Each key of today with an old value of it, and the value of today."""
LATER_KEYS = (
    "data.skip_broken",
    "data.folds",
    "data.fold",
    "data.image_folder",
    "data.mask_folder",
    "train.teacher",
    "train.target_dice",
)
"""Keys that recipes with the old keys did not have."""


def in_current_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the old keys and values of a table of sections.

    Whatever is not known here stays as it is. Raises LimnerError where the table has a key in both
    spellings.
    """
    sections = {
        name: dict(values) if isinstance(values, Mapping) else values
        for name, values in table.items()
    }
    for old_key, key in OLD_KEYS.items():
        (section, old_name), (_, name) = old_key.split("."), key.split(".")
        values = sections.get(section)
        if not isinstance(values, dict) or old_name not in values:
            continue
        if name in values:
            raise LimnerError(
                f"the recipe gives {old_key} and {key}, which are the old and the new name of one "
                f"key. Keep {key}."
            )
        values[name] = values.pop(old_name)
    for (key, old_value), value in OLD_VALUES.items():
        section, name = key.split(".")
        values = sections.get(section)
        if isinstance(values, dict) and values.get(name) == old_value:
            values[name] = value
    return sections


def in_old_keys(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give a complete recipe's table the old keys and values.

    Old runs hashed their recipe in these keys, so this lets the hash in their receipt be compared.
    """
    sections = {name: dict(values) for name, values in table.items()}
    for key in LATER_KEYS:
        section, name = key.split(".")
        sections[section].pop(name, None)
    for old_key, key in OLD_KEYS.items():
        (section, old_name), (_, name) = old_key.split("."), key.split(".")
        sections[section][old_name] = sections[section].pop(name)
    for (key, old_value), value in OLD_VALUES.items():
        section, name = key.split(".")
        if sections[section][name] == value:
            sections[section][name] = old_value
    return sections
