"""What is known of the processor."""

import pytest

from limner import processor


@pytest.mark.parametrize(
    ("machine", "flags", "wide"),
    [
        ("x86_64", {"avx2", "avx512f", "avx512_bf16"}, False),
        ("x86_64", {"avx2", "avx_vnni"}, True),
        ("AMD64", set(), False),
        ("arm64", set(), True),
    ],
)
def test_sums_of_int8_overflow_on_x86_without_vnni(
    machine: str, flags: set[str], wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows and macOS name no instructions, so that none are relied on there."""
    monkeypatch.setattr(processor, "processor_flags", lambda: flags)
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    assert processor.has_wide_int8_sums() is wide


def test_instructions_are_named_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "processor_flags", lambda: {"fma", "sse", "avx512f", "avx2"})
    assert processor.arithmetic_flags() == "avx2 avx512f fma"
