"""Device, processor and compiler of this machine, as far as training depends on them."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

import torch

from limner.processor import FAST_BFLOAT16, arithmetic_flags, processor_flags

NO_COMPILER = "a compiler of C++ is not installed"


def best_device() -> tuple[str, str]:
    """Choose the device to train on, and give the reason."""
    if torch.cuda.is_available():
        return "cuda", torch.cuda.get_device_name()
    if torch.backends.mps.is_available():
        return "mps", "an Apple GPU is there"
    return "cpu", f"no GPU; {torch.get_num_threads()} threads"


def can_compile(device: str) -> bool:
    """Whether torch.compile has the compiler that it needs for a device."""
    compilers = ("c++", "g++", "clang++", os.environ.get("CXX", "c++"))
    return device != "cpu" or any(map(shutil.which, compilers))


def best_precision(device: str) -> tuple[str, str]:
    """Choose the fastest arithmetic that trains well on a device, and give the reason."""
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "the GPU computes it natively"
        return "float32", "this GPU has no bfloat16"
    if device == "mps":
        return "float32", "bfloat16 is not used on Apple GPUs"
    flags = [flag for flag in FAST_BFLOAT16 if flag in processor_flags()]
    if flags:
        return "bfloat16", f"the processor has {flags[0]}"
    return (
        "float32",
        "the processor has neither avx512_bf16 nor amx_bf16; emulated bfloat16 is slower",
    )


def machine_identity(device: str) -> dict[str, str | int]:
    """Describe all of a machine that the bits of a result depend on.

    On another machine the same run gives other last digits.
    """
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "limner": _version("limner"),
        "machine": platform.machine(),
        "instructions": arithmetic_flags() or torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
