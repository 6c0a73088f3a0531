"""The README's Python example with the types that a type checker must see in it.

`mypy` checks this module with the package; test_api.py compares it with the README.
"""

from typing import assert_type

from limner import Predictor, evaluate, train
from limner.inference.prediction import Prediction
from limner.inference.predictor import Predictor as ModelPredictor
from limner.inference.scores import Scores
from limner.training.run import Run

run = train("lesions", minutes=5)  # as `limner train lesions --minutes 5`
predictor = Predictor.load(run.model)
prediction = predictor.predict("photo.jpg")  # or an array of any depth
prediction.save("mask.png")
scores = evaluate(predictor, "lesions")  # the images kept for the test
print(prediction.predicted_dice, scores.summary()["dice"])  # mean, interval, pooled

# The classes come from their own modules: a public name that became Any would equal itself
assert_type(run, Run)
assert_type(predictor, ModelPredictor)
assert_type(prediction, Prediction)
assert_type(scores, Scores)
assert_type(scores.summary()["dice"].mean, float)
