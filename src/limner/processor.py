"""What the processor calls itself, and what it can do."""

import platform
from pathlib import Path

FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16")
"""Processor instructions that make bfloat16 faster than float32."""
WIDE_INT8_SUMS = ("avx512_vnni", "avx_vnni", "amx_int8")
"""Processor instructions that add products of 8 bits in 32; others of x86 do in 16."""
ARITHMETIC_FLAGS = (
    *FAST_BFLOAT16,
    *WIDE_INT8_SUMS,
    "avx2",
    "avx512f",
    "avx512_fp16",
    "fma",
    "neon",
    "sve",
)
"""Processor instructions by which libraries choose their arithmetic."""


def processor_flags() -> set[str]:
    """The processor's instruction sets, as Linux names them; empty on other systems."""
    return set(_cpuinfo("flags").split() or _cpuinfo("Features").split())


def arithmetic_flags() -> str:
    """The processor's instruction sets by which libraries choose their arithmetic.

    Processors of one name may differ in them.
    """
    return " ".join(sorted(processor_flags() & set(ARITHMETIC_FLAGS)))


def has_fast_bfloat16() -> bool:
    """Whether the processor computes in bfloat16, and does not emulate it."""
    return not processor_flags().isdisjoint(FAST_BFLOAT16)


def has_wide_int8_sums() -> bool:
    """Whether the sums of int8 products do not overflow, as far as that is known."""
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return not x86 or not processor_flags().isdisjoint(WIDE_INT8_SUMS)


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
