"""The weights of timm's hub, on a machine that cannot reach it."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from limner.errors import LimnerError
from limner.model import pretrained
from limner.model.pretrained import fetch_weights
from limner.recipe import Recipe
from limner.training.pipeline import start_run


@pytest.fixture(autouse=True)
def silent_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        monkeypatch.setattr(huggingface_hub, "hf_hub_url", lambda *_: address)
        monkeypatch.setattr(pretrained, "HUB_TIMEOUT_S", 0.3)
        yield


def test_a_hub_that_does_not_answer_is_not_waited_for() -> None:
    began = time.monotonic()
    with pytest.raises(LimnerError, match=r"the weights of resnet34 could not be fetched .*FILE"):
        fetch_weights("resnet34")
    assert time.monotonic() - began < 20, "the hub's own client takes minutes"


def test_weights_that_are_here_are_not_asked_for() -> None:
    fetch_weights("tf_efficientnet_lite0")


def test_missing_weights_are_said_before_the_data_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LimnerError, match="the weights of resnet34"):
        start_run(Path("nothing"), Recipe().replace({"model.encoder": "resnet34"}))
    assert not list(tmp_path.iterdir())
