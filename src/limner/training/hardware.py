"""What this machine is and can do, as far as a run depends on it."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16")
TOLD_APART = (
    *FAST_BFLOAT16,
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_fp16",
    "avx_vnni",
    "amx_int8",
    "fma",
    "neon",
    "sve",
)
"""Instructions that libraries choose their arithmetic by."""


def best_device() -> tuple[str, str]:
    """Where to run a network, and why."""
    if torch.cuda.is_available():
        return "cuda", torch.cuda.get_device_name()
    if torch.backends.mps.is_available():
        return "mps", "an Apple GPU is there"
    return "cpu", f"no GPU; {torch.get_num_threads()} threads"


NO_COMPILER = "a compiler of C++ is not installed"


def can_compile(device: str) -> bool:
    """Whether torch.compile has what it needs for a device."""
    return device != "cpu" or any(
        map(shutil.which, ("c++", "g++", "clang++", os.environ.get("CXX", "c++")))
    )


def best_precision(device: str) -> tuple[str, str]:
    """The fastest arithmetic that trains well on a device, and why."""
    if device == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        return (
            ("bfloat16", "the GPU computes it natively")
            if supported
            else ("float32", "this GPU has no bfloat16")
        )
    if device == "mps":
        return "float32", "bfloat16 is not used on Apple GPUs"
    fast = [name for name in FAST_BFLOAT16 if name in processor_flags()]
    if fast:
        return "bfloat16", f"the processor has {fast[0]}"
    return (
        "float32",
        "the processor has neither avx512_bf16 nor amx_bf16; emulated bfloat16 is slower",
    )


def machine_identity(device: str) -> dict[str, str | int]:
    """All of a machine that the bits of a result depend on: on another one, the same run gives
    other last digits.
    """
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "limner": _version("limner"),
        "machine": platform.machine(),
        "instructions": " ".join(sorted(processor_flags() & set(TOLD_APART)))
        or torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
    }


def processor_flags() -> set[str]:
    """What the processor can do, as Linux names it; empty where it does not say."""
    return set(_cpuinfo("flags").split() or _cpuinfo("Features").split())


def processor_name() -> str:
    """The processor as it calls itself."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == key), ""
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
