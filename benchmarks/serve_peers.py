"""The service that people write around an ONNX file with LitServe or BentoML, for serve.py.

python benchmarks/serve_peers.py litserve|bentoml MODEL.onnx PORT

It decodes, resizes to the model's canvas, standardises, runs ONNX Runtime on one thread for each of
two workers, thresholds, resizes, and answers a PNG. There is no predicted Dice, and there are no
checks. pip install litserve bentoml onnxruntime pillow
"""

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


class Model:
    """An exported binary model without limner."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options)
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.input = json.loads(metadata["input"])
        self.threshold = json.loads(metadata["output"])["threshold"]

    def __call__(self, body: bytes) -> bytes:
        image = Image.open(io.BytesIO(body)).convert("RGB")
        height, width = self.input["canvas"]
        pixels = (
            np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255
        )
        array = (
            (pixels - np.array(self.input["mean"], np.float32))
            / np.array(self.input["std"], np.float32)
        ).transpose(2, 0, 1)[None]
        logits = self.session.run(None, {"images": np.ascontiguousarray(array)})[0][0, 0]
        probability = Image.fromarray(1 / (1 + np.exp(-logits))).resize(
            image.size, Image.Resampling.BILINEAR
        )
        content = io.BytesIO()
        Image.fromarray((np.asarray(probability) >= self.threshold).astype(np.uint8) * 255).save(
            content, "PNG"
        )
        return content.getvalue()


def bento(path: str, port: int) -> None:
    """BentoML finds its services in a module of its own."""
    environment = {**os.environ, "PEER_MODEL": path, "BENTOML_DO_NOT_TRACK": "1"}
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "serve_peers:Bento",
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
        "--working-dir",
        str(Path(__file__).resolve().parent),
    ]
    sys.exit(subprocess.run(command, env=environment).returncode)


if sys.argv[1:2] == ["litserve"]:
    import litserve as ls
    from fastapi import Request, Response

    class Api(ls.LitAPI):
        """Two worker processes of the same function."""

        def setup(self, _device: str) -> None:
            self.model = Model(sys.argv[2])

        def decode_request(self, request: Request) -> bytes:
            """It reads JSON or a form, and no image as it is."""
            return base64.b64decode(request["image"])

        def predict(self, body: bytes) -> bytes:
            return self.model(body)

        def encode_response(self, content: bytes) -> Response:
            return Response(content, media_type="image/png")


def lit(_path: str, port: int) -> None:
    ls.LitServer(Api(), accelerator="cpu", workers_per_device=2).run(
        host="127.0.0.1", port=port, generate_client_file=False, log_level="error"
    )


if "PEER_MODEL" in os.environ:
    import bentoml
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    model = Model(os.environ["PEER_MODEL"])

    async def answer(request: Request) -> Response:
        return Response(
            await run_in_threadpool(model, await request.body()), media_type="image/png"
        )

    application = Starlette(routes=[Route("/predict", answer, methods=["POST"])])

    @bentoml.service(workers=2, traffic={"timeout": 600})
    @bentoml.asgi_app(application, path="/v1")
    class Bento:
        """Two processes of the same function."""


if __name__ == "__main__":
    {"litserve": lit, "bentoml": bento}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
