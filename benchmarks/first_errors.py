"""What limner, Ultralytics and Cellpose say to ten mistakes of the first hour.

The three run in the same folder, on the sample set in each one's own form. Of what they print the
last lines are kept. `--peers` is the Python of an environment with ultralytics and cellpose.

python benchmarks/first_errors.py --peers /tmp/others/bin/python --work /tmp/errors --out errors.md
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from limner.data.synthetic import draw_lesion, write_images, write_synthetic

SHOWN, WIDTH, PATIENCE_S = 4, 200, 240
TINY = "--set data.size_px=[16,16] --set model.widths=[2,4] --set train.epochs=1"
YOLO = "segment train model=yolo11n-seg.yaml epochs=1 imgsz=32 device=cpu plots=False"
CASES: Mapping[str, tuple[str, str, str]] = {
    "a typo": ("limner trian lesions", "yolo trian data=lesions", "cellpose --trian --dir lesions"),
    "paths in the wrong order": (
        "limner predict photos run",
        "yolo segment predict model=photos source=yolo.yaml",
        "cellpose --dir run --pretrained_model photos --no_npy",
    ),
    "a folder that is not there": (
        "limner train lesoins",
        f"yolo {YOLO} data=lesoins/data.yaml",
        "cellpose --train --dir lesoins",
    ),
    "a space without quotes": (
        "limner check my photos",
        f"yolo {YOLO} data=my photos/data.yaml",
        "cellpose --train --dir my photos",
    ),
    "a pattern": (
        "limner predict run photos/*.jpg -o glob",
        "yolo segment predict model=yolo11n-seg.yaml source=photos/*.jpg",
        "cellpose --dir photos/*.jpg",
    ),
    "a package that is missing": (
        "without:skimage limner measure masks",
        "without:onnx yolo export model=yolo11n-seg.yaml format=onnx",
        "without:PyQt6 cellpose",
    ),
    "no masks": (
        "limner train photos",
        f"yolo {YOLO} data=unlabelled/data.yaml",
        "cellpose --train --dir photos --n_epochs 1",
    ),
    "five images": (
        f"limner train five {TINY}",
        f"yolo {YOLO} data=five-yolo/data.yaml",
        "cellpose --train --dir five-cellpose --n_epochs 1",
    ),
    "no network": (
        "limner train lesions --encoder resnet34",
        f"yolo {YOLO.replace('yolo11n-seg.yaml', 'yolo11n-seg.pt')} data=five-yolo/data.yaml",
        "cellpose --dir photos --no_npy",
    ),
    "a full disk": (
        f"limner train lesions {TINY} -o full/run",
        f"yolo {YOLO} data=five-yolo/data.yaml project=full",
        "cellpose --train --dir full/images --n_epochs 1",
    ),
}


def main() -> None:
    """Make the folders, run all, and write a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--full", type=Path, help="a folder on a disk of a megabyte or two")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    prepare(options.work, options.full)
    lines = []
    for title, commands in CASES.items():
        lines.append(f"## {title.capitalize()}\n")
        for command in commands:
            lines += answer(command, options.work, options.peers)
        options.out.write_text("\n".join(lines) + "\n")


def prepare(work: Path, full: Path | None) -> None:
    """The sample set as each program wants it, and a model of limner's."""
    write_synthetic(work / "lesions", count=24, size_px=32, seed=1)
    write_images(work / "photos", count=6, size_px=32, seed=5)
    shutil.copytree(work / "photos", work / "my photos")
    for name, with_labels in (("five-yolo", True), ("unlabelled", False)):
        for part in ("images", "labels"):
            (work / name / part).mkdir(parents=True)
        (work / name / "data.yaml").write_text(
            f"path: {work / name}\ntrain: images\nval: images\nnames: {{0: lesion}}\n"
        )
        for index in range(5):
            Image.fromarray(draw_lesion(1, index, 32)[0]).save(
                work / name / "images" / f"{index}.jpg"
            )
            if with_labels:
                square = "0 0.2 0.2 0.8 0.2 0.8 0.8 0.2 0.8\n"
                (work / name / "labels" / f"{index}.txt").write_text(square)
    for folder, image, mask in (
        ("five", "images/{}.jpg", "masks/{}.png"),
        ("five-cellpose", "{}.png", "{}_masks.png"),
    ):
        for index in range(5):
            drawn = draw_lesion(1, index, 32)
            for pixels, name in zip(drawn, (image, mask), strict=True):
                path = work / folder / name.format(index)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    if full:
        (work / "full").symlink_to(full)
        shutil.copytree(work / "five-cellpose", full / "images", dirs_exist_ok=True)
    command = f"train lesions {TINY} -o run"
    subprocess.run([sys.executable, "-m", "limner", *command.split()], cwd=work, check=True)
    command = "predict run photos -o masks"
    subprocess.run([sys.executable, "-m", "limner", *command.split()], cwd=work, check=True)


def answer(command: str, work: Path, peers: Path) -> list[str]:
    """A command, its exit status, its seconds, and the last lines that it printed."""
    missing = re.match(r"without:(\S+) ", command)
    typed = command[missing.end() :] if missing else command
    program = typed.split()[0]
    code = {
        "limner": "import runpy; runpy.run_module('limner', run_name='__main__', alter_sys=True)",
        "yolo": "from ultralytics.cfg import entrypoint; entrypoint()",
        "cellpose": "from cellpose.__main__ import main; main()",
    }[program]
    blocked = f"import sys; sys.modules[{missing[1]!r}] = None; " if missing else ""
    python = sys.executable if program == "limner" else peers
    expanded = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {typed.partition(' ')[2]}"],
        cwd=work,
        capture_output=True,
        text=True,
    ).stdout.split("\0")[:-1]
    words = [word for word in expanded if word]
    began = time.monotonic()
    # Nothing answers at this address, as without a network
    nowhere = "http://127.0.0.1:9"
    environment = {
        **os.environ,
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), nowhere),
        "HF_ENDPOINT": nowhere,
        "HOME": str(work),
        "YOLO_OFFLINE": "true",
        "COLUMNS": str(WIDTH),
    }
    try:
        done = subprocess.run(
            [str(python), "-c", blocked + code, *words],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL,
        )
        status, printed = str(done.returncode), done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        status = f"none after {PATIENCE_S} s"
        printed = b"".join(filter(None, (error.stdout, error.stderr))).decode()
    seconds = time.monotonic() - began
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", printed).replace(str(work), ".")
    shown = [line.rstrip()[:WIDTH] for line in plain.splitlines() if line.strip()]
    count = len(shown)
    return [
        f"`{typed}`: exit status {status}, {seconds:.0f} s, {count} lines"
        + (", a traceback" if "Traceback" in printed else ""),
        "",
        "```text",
        *shown[-SHOWN:],
        "```",
        "",
    ]


if __name__ == "__main__":
    main()
