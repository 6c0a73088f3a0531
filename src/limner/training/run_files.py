"""The names of the files in a run folder."""

RECIPE, RECEIPT = "recipe.toml", "receipt.json"
LABELS, SPLIT = "labels.json", "split.json"
CONTENTS = "contents.json"
"""What the images of the run are, whatever their names."""
FINGERPRINTS = "fingerprints.json"
"""By what the images of the run are known when they were saved anew."""
EVENTS, CURVE, VALIDATION_IMAGES = "events.jsonl", "curve.svg", "validation.jpg"
MODEL = "model.safetensors"
"""The best model so far."""
ORIGIN = "origin.safetensors"
"""The model that the run goes on from."""
WORSE = "worse.safetensors"
"""A new model that was worse than the one that the run goes on from."""
CHECKPOINTS, STATE, LOCK = "last", "state.json", "lock"
"""The folder of the checkpoints, what a run that has ended leaves, and the lock of a process that
trains it.
"""
