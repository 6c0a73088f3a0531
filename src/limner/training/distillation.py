"""Distillation: a network learns from a trained model's predictions beside the masks.

So one network takes on what an ensemble knows (arXiv:1503.02531). The teacher sees the very images
that the student sees, augmented as they are (arXiv:2106.05237).
"""

from collections.abc import Set
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from limner.data.preprocess import Preprocessing
from limner.errors import LimnerError
from limner.labels import VOID, Labels, require_same_classes
from limner.model.bundle import Bundle
from limner.plurals import count_noun
from limner.recipe import Recipe
from limner.training.run_files import model_path
from limner.training.warm_start import section_values

OWN_KEYS = frozenset({"data.folds", "data.fold"})
"""Keys that a student does not take from its teacher."""
TEACHER_WEIGHT = 0.5
"""The teacher's share of the loss; the masks have the rest."""


class Teacher(nn.Module):
    """A trained network that takes images as a student gets them.

    Args:
        bundle: The trained model.
        preprocessing: How the student's images are standardised; as the teacher's by default.
    """

    scale: Float[Tensor, "1 c 1 1"]
    shift: Float[Tensor, "1 c 1 1"]

    def __init__(self, bundle: Bundle, preprocessing: Preprocessing | None = None) -> None:
        super().__init__()
        own, student = bundle.preprocessing, preprocessing or bundle.preprocessing
        mean, std, own_mean, own_std = (
            torch.tensor(values).view(1, -1, 1, 1)
            for values in (student.mean, student.std, own.mean, own.std)
        )
        self.network = bundle.network()
        self.register_buffer("scale", std / own_std)
        self.register_buffer("shift", (mean - own_mean) / own_std)
        self.requires_grad_(False).eval()

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        logits: Tensor = self.network(images * self.scale + self.shift)
        return logits


def load_teacher(recipe: Recipe, preprocessing: Preprocessing | None = None) -> Teacher | None:
    """Load the teacher that a recipe names onto the recipe's device; None where it names none.

    Raises LimnerError where its file is gone.
    """
    if not recipe.train.teacher:
        return None
    teacher = Teacher(Bundle.load(recipe.train.teacher), preprocessing)
    return teacher.to(recipe.train.device).to(memory_format=torch.channels_last)


def distillation_loss(
    logits: Float[Tensor, "b k h w"],
    teacher_logits: Float[Tensor, "b k h w"],
    masks: UInt8[Tensor, "b h w"],
) -> Float[Tensor, ""]:
    """The mean cross-entropy of a student to its teacher's probabilities, in nats.

    Void pixels are left out.

    Args:
        logits: The student's, one for a binary set.
        teacher_logits: Those of the same images.
        masks: Class indices, or `VOID`.
    """
    logits, teacher_logits = logits.float(), teacher_logits.float()
    if logits.shape[1] == 1:
        losses = F.binary_cross_entropy_with_logits(
            logits[:, 0], teacher_logits[:, 0].sigmoid(), reduction="none"
        )
    else:
        losses = F.cross_entropy(logits, teacher_logits.softmax(1), reduction="none")
    valid = (masks != VOID).float()
    return (losses * valid).sum() / valid.sum().clamp(min=1)


def with_absolute_teacher(recipe: Recipe) -> Recipe:
    """The recipe with the file of its teacher, which may be given as a run's folder."""
    if not recipe.train.teacher:
        return recipe
    path = model_path(Path(recipe.train.teacher)).absolute()
    return recipe.replace({"train.teacher": str(path)})


def student_values(recipe: Recipe, teacher: Bundle) -> dict[str, Any]:
    """The values by key that a student takes from its teacher.

    It sees images as the teacher does, and has the network of the teacher, or of its members. Keys
    that the user set are left out.
    """
    own = OWN_KEYS | recipe.explicit_keys()
    values = section_values(teacher.recipe)
    return {key: value for key, value in values.items() if key not in own}


def require_teacher(teacher: Bundle, recipe: Recipe, labels: Labels, held_out: Set[str]) -> None:
    """Raise LimnerError where a model cannot teach a student on a dataset.

    Args:
        teacher: The model.
        recipe: That of the student.
        labels: The classes of the dataset.
        held_out: The contents of the images that the student is to be tested on.
    """
    require_same_classes(teacher.labels, "the teacher", labels, "the data")
    if len(teacher.preprocessing.mean) != recipe.data.channels:
        raise LimnerError(
            f"the teacher takes images of {len(teacher.preprocessing.mean)} channels, and "
            f"data.channels is {recipe.data.channels}. Leave the key out."
        )
    if seen := teacher.split_record.seen_contents() & held_out:
        raise LimnerError(
            f"the teacher was trained on {count_noun(len(seen), 'image')} of the "
            f"{len(held_out)} that are held out for the test here, so that the test would flatter "
            "its student. Give the data, and the keys of its split, that the teacher had."
        )
