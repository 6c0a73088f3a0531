"""Run a command as though this processor had no bfloat16, or no AVX-512 at all.

    python benchmarks/older_processor.py avx512_vnni python benchmarks/precisions.py …

`avx512_vnni` hides what computes in bfloat16 (as Cascade Lake and Ice Lake are), and `avx2` all of
AVX-512 and VNNI too (as Zen 3 and most desktops are). ONNX Runtime and OpenVINO choose their code
by the instruction CPUID. Copies of them are made in which it raises a signal, and a handler
answers without the flags (`older_processor.c`). /proc/cpuinfo has none of them either. So the code
that runs is that of the older processor; how fast its instructions are stays this processor's.
torch is not changed. It needs Linux on x86-64, gcc, objdump and unshare.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ("onnxruntime", "openvino")
LIBRARIES = (
    "onnxruntime/capi/onnxruntime_pybind11_state*.so",
    "openvino/libs/libopenvino.so*",
    "openvino/libs/libopenvino_intel_cpu_plugin.so",
    "openvino/libs/libhwloc.so*",
    "openvino/libs/libtbb.so*",
)
"""Of the two packages, those that ask what the processor can do."""
CPUID, UNDEFINED = b"\x0f\xa2", b"\x0f\x0b"
HIDDEN = {
    "avx512_vnni": r"avx512_bf16|avx512_fp16|amx_\w+",
    "avx2": r"avx512\w*|avx_vnni\w*|amx_\w+",
}
"""Flags of /proc/cpuinfo that are left out; `older_processor.c` hides the same."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("like", choices=HIDDEN)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copies = Path(folder)
        for package in PACKAGES:
            shutil.copytree(package_folder(package), copies / package)
        for pattern in LIBRARIES:
            for library in copies.glob(pattern):
                count = replace_cpuid(library)
                print(f"{library.name}: {count} CPUID instructions", file=sys.stderr)
        handler = copies / "older_processor.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", source, "-o", handler], check=True)
        processor = copies / "cpuinfo"
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        processor.write_text(re.sub(rf" ({HIDDEN[options.like]})\b", "", text), encoding="utf-8")
        environment = {
            **os.environ,
            "LD_PRELOAD": str(handler),
            "LIKE": options.like,
            "PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]).strip(":"),
        }
        hide = f'mount --bind {processor} /proc/cpuinfo && exec "$@"'
        command = ["unshare", "--map-root-user", "--mount", "sh", "-c", hide, "sh"]
        sys.exit(subprocess.run([*command, *options.command], env=environment).returncode)


def package_folder(name: str) -> Path:
    """Where a package is installed."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        sys.exit(f"{name} is not installed")
    return Path(found.origin).parent


def replace_cpuid(library: Path) -> int:
    """Replace the CPUID instructions of a library by undefined ones, and count them."""
    headers = subprocess.run(
        ["objdump", "--section-headers", library], capture_output=True, text=True, check=True
    ).stdout
    # Index, name, size, address, load address, offset, alignment
    sections = [line.split() for line in headers.splitlines() if re.match(r" +\d+ \.", line)]
    code = [(int(s[3], 16), int(s[2], 16), int(s[5], 16)) for s in sections]
    content = bytearray(library.read_bytes())
    listing = subprocess.Popen(
        ["objdump", "--disassemble", "--no-show-raw-insn", library],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert listing.stdout is not None
    count = 0
    for line in listing.stdout:
        if not line.rstrip().endswith("\tcpuid"):
            continue
        address = int(line.split(":")[0], 16)
        start, _, offset = next(part for part in code if part[0] <= address < part[0] + part[1])
        place = address - start + offset
        assert content[place : place + 2] == CPUID
        content[place : place + 2] = UNDEFINED
        count += 1
    library.write_bytes(content)
    return count


if __name__ == "__main__":
    main()
