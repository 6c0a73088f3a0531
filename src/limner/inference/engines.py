"""What runs the network: array in, logits out; imported only when chosen."""

from collections.abc import Callable

from jaxtyping import Float32
from numpy import ndarray

from limner.model.bundle import Bundle

Engine = Callable[[Float32[ndarray, "b c h w"]], Float32[ndarray, "b k h w"]]


class TorchEngine:
    """The network itself, in float32, channels last."""

    def __init__(self, bundle: Bundle, device: str = "cpu") -> None:
        import torch

        self._device = torch.device(device)
        self._network = bundle.network().to(self._device).to(memory_format=torch.channels_last)

    def __call__(self, images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(images).to(device=self._device, memory_format=torch.channels_last)
            logits: ndarray = self._network(batch).float().cpu().numpy()
        return logits
