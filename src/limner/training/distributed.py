"""Several processes that train one network, as torchrun starts them: each takes its part of every
batch.

What a step does is what one process would do with the whole batch: the loss is taken of the logits
of all, batch normalisation sees the images of all, and gradients are averaged by
DistributedDataParallel.
"""

import os
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

PATIENCE = timedelta(hours=24)
"""How long a process waits for another, which may be preparing a large dataset; where one ends,
torchrun ends them all.
"""


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """Which of how many processes this is; the one of rank 0 writes. `local` counts on its
    machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def all_reduce_sum(self, counts: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
        """The sum over all processes."""
        if self.world_size > 1:
            dist.all_reduce(counts)
        return counts

    def agree(self, progress: float, stop: bool) -> tuple[float, bool]:
        """The first process's progress, and whether any was asked to stop: what all must see
        alike.
        """
        if self.world_size == 1:
            return progress, stop
        said = torch.tensor([progress if self.is_main else -1.0, float(stop)], dtype=torch.float64)
        dist.all_reduce(said, op=dist.ReduceOp.MAX)
        return float(said[0]), bool(said[1])

    def gather(self, part: Shaped[Tensor, "_ ..."]) -> Shaped[Tensor, "_ ..."]:
        """The parts of all processes in their order; gradients flow back to each."""
        if self.world_size == 1:
            return part
        return torch.cat(_Gather.apply(part.contiguous()))

    def broadcast_path(self, path: Path | None) -> Path:
        """The path that the first process gives; the others wait for it."""
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
    """What torchrun says, or one process alone."""
    environment = (
        os.environ.get(name, default)
        for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
    )
    return DistributedContext(*map(int, environment))


@contextmanager
def process_group(mine: DistributedContext) -> Iterator[None]:
    """Meet the other processes, where there are any, and part from them. Raises LimnerError where
    one of them is lost.
    """
    if mine.world_size == 1 or dist.is_initialized():
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(mine.local_rank % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield
        # Who leaves while another still receives would take its connection from it
        dist.barrier()
    except RuntimeError as error:
        if any(
            word in str(error)
            for word in ("Connection closed by peer", "Connection reset by peer", "NCCL", "gloo")
        ):
            raise LimnerError(
                "another process of this training ended; the first message above says why."
            ) from error
        raise
    finally:
        dist.destroy_process_group()


def wrap_ddp(network: nn.Module, mine: DistributedContext, device: str) -> nn.Module:
    """A network whose gradients are averaged over the processes."""
    if mine.world_size == 1:
        return network
    where = [torch.cuda.current_device()] if device == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=where)


def convert_sync_batchnorm(network: nn.Module, mine: DistributedContext) -> None:
    """Let batch normalisation see the images of all processes."""
    if mine.world_size == 1:
        return
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, SyncedBatchNorm(child))


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation (arXiv:1502.03167) over the batches of all processes, on any device;
    torch's own needs a GPU.

    What timm puts into its normalisations, an activation, comes after it as before.
    """

    def __init__(self, alone: nn.BatchNorm2d) -> None:
        super().__init__(
            alone.num_features, alone.eps, alone.momentum, alone.affine, alone.track_running_stats
        )
        self.load_state_dict(alone.state_dict())
        self.after = nn.Sequential(
            *(getattr(alone, name) for name in ("drop", "act") if hasattr(alone, name))
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        normed: Tensor = self.after(self._over_all(x) if self.training else super().forward(x))
        return normed

    def _over_all(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        wide = x.float()
        count = x.numel() / x.shape[1] * dist.get_world_size()
        sums: Tensor = _AllReduceSum.apply(
            torch.stack([wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3))])
        )
        mean, square = sums[0] / count, sums[1] / count
        variance = (square - mean**2).clamp(min=0)
        with torch.no_grad():
            assert (
                self.running_mean is not None
                and self.running_var is not None
                and self.num_batches_tracked is not None
            )
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum or 0.1)
            self.running_var.lerp_(variance * count / max(count - 1, 1), self.momentum or 0.1)
        normed = (wide - mean[:, None, None]) * torch.rsqrt(variance + self.eps)[:, None, None]
        return (normed * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class _Gather(torch.autograd.Function):
    """The tensors of all processes; backward gives each the gradient that all of them have for its
    own, summed.

    Every process takes the same loss of all that was gathered, so each has the whole gradient
    already, and DistributedDataParallel takes the mean over processes: the sum makes that mean the
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
    """The sum over all processes, and of its gradients."""

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
