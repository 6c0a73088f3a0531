"""A large image: limner beside MONAI's sliding windows, in time, memory and pixels.

    python benchmarks/large_monai.py MODEL.safetensors [--side 5000] [--window 512]

Both run the same network in float32 on the same image, each in a process of its own. MONAI's
`sliding_window_inference` has an overlap of 0.25, gaussian weights and batches of four. It gets the
network in torch with channels last, and the image in memory. Its pixels are counted that differ
from limner's mask, which is that of the whole image at once (benchmarks/tiles.py). Times are those
of the network and what is around it, without imports. pip install monai
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from large import draw_image, predict
from PIL import Image

MONAI = """
import sys, time
import numpy as np
import tifffile
import torch
from monai.inferers import sliding_window_inference
from limner.model.bundle import Bundle
model, image, window, out = sys.argv[1:]
bundle = Bundle.load(model)
network = bundle.network().to(memory_format=torch.channels_last)
pixels = tifffile.imread(image)
start = time.perf_counter()
with torch.inference_mode():
    canvas = torch.from_numpy(bundle.preprocessing.normalise(pixels))[None]
    logits = sliding_window_inference(
        canvas, (int(window),) * 2, 4, network, overlap=0.25, mode="gaussian"
    )
    mask = (torch.sigmoid(logits[0, 0]) >= bundle.inference.threshold).numpy()
print(time.perf_counter() - start)
np.save(out, mask)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--side", type=int, default=5000)
    parser.add_argument("--window", type=int, default=512)
    options = parser.parse_args()
    source = Path(__file__).resolve().parent.parent / "src"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny = draw_image(folder / "tiny.tif", (64, 64))
        image = draw_image(folder / "large.tif", (options.side, options.side))
        start = predict(options.model, tiny, source, folder / "tiny").seconds
        ours = predict(options.model, image, source, folder / "masks")
        print(json.dumps({"limner, s": round(ours.seconds - start, 1), "MB": round(ours.peak_mb)}))
        seconds, peak_mb = run_monai(options.model, image, options.window, folder / "monai.npy")
        print(json.dumps({"MONAI, s": round(seconds, 1), "MB": round(peak_mb)}))
        differs = np.load(folder / "monai.npy") != read_mask(folder / "masks")
        print(json.dumps({"pixels of MONAI's that differ": f"{differs.mean():.4%}"}))


def run_monai(model: Path, image: Path, window: int, out: Path) -> tuple[float, float]:
    """The seconds and the largest memory, in MB, of sliding windows; writes their mask."""
    command = [sys.executable, "-c", MONAI, str(model), str(image), str(window), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seconds = float(process.stdout.readline())
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    return seconds, usage.ru_maxrss / 1024


def read_mask(folder: Path) -> np.ndarray:
    """The only mask of a folder, as truth values."""
    (path,) = [path for path in folder.rglob("large.*") if "uncertainty" not in path.parts]
    Image.MAX_IMAGE_PIXELS = None
    mask: np.ndarray = np.asarray(Image.open(path)) > 0
    return mask


if __name__ == "__main__":
    main()
