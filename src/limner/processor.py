"""What the processor calls itself, and what it can do."""

import platform
from pathlib import Path

FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16")
"""Processor instructions that make bfloat16 faster than float32."""


def processor_flags() -> set[str]:
    """The processor's instruction sets, as Linux names them; empty on other systems."""
    return set(_cpuinfo("flags").split() or _cpuinfo("Features").split())


def has_fast_bfloat16() -> bool:
    """Whether the processor computes in bfloat16, and does not emulate it."""
    return not processor_flags().isdisjoint(FAST_BFLOAT16)


def processor_name() -> str:
    """The processor's name for itself."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == key), ""
    )
