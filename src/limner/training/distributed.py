"""Data-parallel training as torchrun starts it: each process takes its part of every batch.

A step does what one process would do with the whole batch. The loss is taken of the logits of all,
batch normalisation sees the images of all, and DistributedDataParallel averages the gradients.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from limner.errors import LimnerError

TIMEOUT = timedelta(hours=24)
"""How long a process waits for another, which may be preparing a large dataset.

Where one ends, torchrun ends them all.
"""
STOP_PATIENCE_S = 25.0
"""How long a process may take to stop; torchrun kills it after 30 s, and says nothing."""
CONNECTION_ERRORS = ("Connection closed by peer", "Connection reset by peer", "NCCL", "gloo")
"""One of these stands in the error of a process that has lost another."""


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """Which of how many processes this is; the one of rank 0 writes."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    """Rank among the processes of this machine."""

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def all_reduce_sum(self, counts: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
        """Sum over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(counts)
        return counts

    def agree(self, progress: float, stop: bool) -> tuple[float, bool]:
        """All-reduce the progress of rank 0, and whether any rank was asked to stop.

        All processes get the same answer.
        """
        if self.world_size == 1:
            return progress, stop
        own = progress if self.is_main else -1.0
        agreed = torch.tensor([own, float(stop)], dtype=torch.float64)
        dist.all_reduce(agreed, op=dist.ReduceOp.MAX)
        return float(agreed[0]), bool(agreed[1])

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world_size > 1:
            dist.barrier()

    def gather(self, part: Shaped[Tensor, "_ ..."]) -> Shaped[Tensor, "_ ..."]:
        """Concatenate the parts of all processes by rank; gradients flow back to each."""
        if self.world_size == 1:
            return part
        return torch.cat(_Gather.apply(part.contiguous()))

    def broadcast_path(self, path: Path | None) -> Path:
        """Give every process the path of the first one, for which the others wait."""
        if self.world_size == 1:
            assert path is not None
            return path
        text = str(path or "").encode()
        length = torch.tensor([len(text)])
        dist.broadcast(length, 0)
        content = (
            torch.tensor(list(text), dtype=torch.uint8)
            if self.is_main
            else torch.zeros(int(length), dtype=torch.uint8)
        )
        dist.broadcast(content, 0)
        return Path(bytes(content.tolist()).decode())


SINGLE_PROCESS = DistributedContext()
"""One process."""


def context_from_environment() -> DistributedContext:
    """Read what torchrun sets in the environment; without it there is one process."""
    return DistributedContext(
        rank=int(os.environ.get("RANK", "0")),
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
    )


@contextmanager
def process_group(
    context: DistributedContext, stop_patience_s: float = STOP_PATIENCE_S
) -> Iterator[None]:
    """Join the process group, where there are several processes, and leave it at the end.

    Ends the process where it has not stopped `stop_patience_s` seconds after SIGTERM. Raises
    LimnerError where another process is lost.
    """
    if context.world_size == 1 or dist.is_initialized():
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(context.local_rank % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=TIMEOUT)
    try:
        with _end_when_stuck(stop_patience_s):
            yield
            # A process that leaves while another still receives would cut its connection
            dist.barrier()
    except RuntimeError as error:
        if any(text in str(error) for text in CONNECTION_ERRORS):
            raise LimnerError(
                "another process of this training ended; the first message above says why."
            ) from error
        raise
    finally:
        dist.destroy_process_group()


@contextmanager
def _end_when_stuck(patience_s: float) -> Iterator[None]:
    """End this process, with a message, where it does not stop after SIGTERM.

    The main thread may wait within the backend for a process that is lost. No handler of Python's
    runs there, so another thread hears of the signal.
    """
    hears, tells = socket.socketpair()
    tells.setblocking(False)
    stopped = threading.Event()

    def watch() -> None:
        while number := hears.recv(1):
            if number[0] == signal.SIGTERM and not stopped.wait(patience_s):
                message = (
                    f"error: after SIGTERM the step did not end within {patience_s:g} s; another "
                    "process of this training ended, or the step is too long. Go on from the last "
                    "save with limner train --resume and the run's folder."
                )
                print(message, file=sys.stderr, flush=True)
                os._exit(1)

    thread = threading.Thread(target=watch, daemon=True, name="stop watch")
    thread.start()
    before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        stopped.set()
        signal.set_wakeup_fd(before)
        tells.close()
        thread.join()
        hears.close()


def wrap_ddp(network: nn.Module, context: DistributedContext, device: str) -> nn.Module:
    """Wrap a network so that its gradients are averaged over the processes."""
    if context.world_size == 1:
        return network
    device_ids = [torch.cuda.current_device()] if device == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=device_ids)


def convert_sync_batchnorm(network: nn.Module, context: DistributedContext) -> None:
    """Let batch normalisation see the images of all processes, in place."""
    if context.world_size == 1:
        return
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, SyncedBatchNorm(child))


class SyncedBatchNorm(nn.BatchNorm2d):
    """Normalise over the batches of all processes (arXiv:1502.03167), on any device.

    torch's own needs a GPU. timm puts an activation into its normalisations; it comes after this
    one as before.
    """

    def __init__(self, local: nn.BatchNorm2d) -> None:
        super().__init__(
            local.num_features, local.eps, local.momentum, local.affine, local.track_running_stats
        )
        self.load_state_dict(local.state_dict())
        self.after = nn.Sequential(
            *(getattr(local, name) for name in ("drop", "act") if hasattr(local, name))
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        normalised = self._over_all(x) if self.training else super().forward(x)
        activated: Tensor = self.after(normalised)
        return activated

    def _over_all(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        x_float32 = x.float()
        count = x.numel() / x.shape[1] * dist.get_world_size()
        sums: Tensor = _AllReduceSum.apply(
            torch.stack([x_float32.sum((0, 2, 3)), x_float32.square().sum((0, 2, 3))])
        )
        mean, mean_square = sums[0] / count, sums[1] / count
        variance = (mean_square - mean**2).clamp(min=0)
        self._track(mean, variance * count / max(count - 1, 1))
        scale = torch.rsqrt(variance + self.eps)
        normalised = (x_float32 - mean[:, None, None]) * scale[:, None, None]
        return (normalised * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Float[Tensor, " c"], variance: Float[Tensor, " c"]) -> None:
        """Update the running statistics, as nn.BatchNorm2d does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum or 0.1)
        self.running_var.lerp_(variance, self.momentum or 0.1)


class _Gather(torch.autograd.Function):
    """Gather the tensors of all processes; each gets back its gradient, summed over all of them.

    Every process takes the same loss of all that was gathered, so each has the whole gradient
    already. DistributedDataParallel takes the mean over processes. The sum makes that mean the
    gradient of one process.
    """

    @staticmethod
    def forward(_context: object, part: Tensor) -> tuple[Tensor, ...]:
        parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, part)
        return tuple(parts)

    @staticmethod
    def backward(_context: object, *gradients: Tensor) -> Tensor:
        return gradients[dist.get_rank()] * dist.get_world_size()


class _AllReduceSum(torch.autograd.Function):
    """Sum over all processes, and sum the gradients likewise."""

    @staticmethod
    def forward(_context: object, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
