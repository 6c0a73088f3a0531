import json

import numpy as np
from canvases import varied_images

from limner.inference.calibration import Calibration
from limner.inference.confidence import ConfidenceModel
from limner.inference.out_of_distribution import describe_appearance, fit_out_of_distribution
from limner.inference.quality import fit_quality


def test_a_confidence_model_comes_back_from_its_record() -> None:
    rng = np.random.default_rng(0)
    images = varied_images(30, 0)
    model = ConfidenceModel(
        Calibration(1.5, 0.2),
        fit_quality(rng.random((40, 4)), rng.random(40)),
        fit_out_of_distribution(images, [describe_appearance(image) for image in images]),
    )
    assert ConfidenceModel.from_dict(json.loads(json.dumps(model.to_dict()))) == model
    assert ConfidenceModel.from_dict({}) is None
