"""Throughput and latency of `limner serve` at 1, 8 and 64 clients, beside the raw engine and the services that people write around the same file.

python benchmarks/serve.py MODEL.onnx IMAGE [--clients 1 8 64] [--seconds 6] [--rounds 3] [--peers PYTHON]

wrk sends the image and waits for its mask. The raw engine is ONNX Runtime alone, called by as many threads as cores on what the image becomes (with
augmentation at test time, all of it). It is measured before and after every number, since a shared machine's speed changes by the minute; a share is the
median over the rounds.
PYTHON is that of an environment with the packages of serve_peers.py. apt-get install wrk
"""

import argparse
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

PORT = 8711
RAW = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from limner.data.images import read_image
from limner.inference.engines import open_model
from limner.inference.predictor import Network, Predictor
model, arrays = open_model(sys.argv[1], threads=1), []
def kept(array):
    arrays.append(array)
    return model.engine(array)
Predictor([Network.of(model)._replace(engine=kept)], model.description.labels, model.description.choices).predict(read_image(Path(sys.argv[2])))
until = time.monotonic() + float(sys.argv[3])
def run(_):
    count = 0
    while time.monotonic() < until:
        for array in arrays:
            model.engine(array)
        count += 1
    return count
with ThreadPoolExecutor(int(sys.argv[4])) as pool:
    print(sum(pool.map(run, range(int(sys.argv[4])))) / float(sys.argv[3]))
"""

SCRIPT = """
local file = io.open("{path}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "{kind}"
done = function(summary, latency)
  local wrong = summary.errors
  print(string.format("FOUND %d %d %f %f %f", summary.requests, wrong.status + wrong.timeout + wrong.connect + wrong.read, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers")
    options = parser.parse_args()
    cores = os.cpu_count() or 1

    def raw() -> float:
        return float(_python([sys.executable, "-c", RAW, options.model, options.image, options.seconds, cores]))

    print(f"{options.model}, {options.image.name}, {cores} cores, {options.rounds} rounds of {options.seconds:g} s for each number")
    print(f"{'':10} {'clients':>8} {'images/s':>9} {'raw':>6} {'of raw':>7} {'least':>6} {'most':>6} {'p50 ms':>8} {'p99 ms':>8}  answers that are no masks")
    servers = {"limner": ([sys.executable, "-m", "limner", "serve", f"m={options.model}", "--port", PORT], "/v1/segment", "/readyz")}
    if options.peers:
        here = Path(__file__).with_name("serve_peers.py")
        servers["LitServe"] = ([options.peers, here, "litserve", options.model, PORT], "/predict", "/health")
        servers["BentoML"] = ([options.peers, here, "bentoml", options.model, PORT], "/v1/predict", "/readyz")
    for name, (command, path, ready) in servers.items():
        with _running(command, ready):
            body, kind = options.image.read_bytes(), "image/jpeg"
            if name == "LitServe":
                body, kind = json.dumps({"image": base64.b64encode(body).decode()}).encode(), "application/json"
            load(body, kind, path, 2, 2)  # warm
            for clients in options.clients:
                found, before = [], raw()
                for _ in range(options.rounds):
                    loaded = load(body, kind, path, clients, options.seconds)
                    time.sleep(2)  # wrk goes away in the middle of its last requests
                    after = raw()
                    found.append((*loaded, (before + after) / 2))
                    before = after
                rate, middle, slow, wrong, engine = (median(column) for column in zip(*found, strict=True))
                shares = [one[0] / one[4] for one in found]
                row = f"{name:10} {clients:8} {rate:9.1f} {engine:6.1f} {median(shares):7.0%} {min(shares):6.0%} {max(shares):6.0%} {middle:8.0f} {slow:8.0f}"
                print(f"{row}  {wrong:g}", flush=True)


def load(body: bytes, kind: str, path: str, clients: int, seconds: float) -> tuple[float, float, float, int]:
    """Masks a second, median and 99th percentile of the latency in ms, and how many answers were none."""
    with tempfile.TemporaryDirectory() as folder:
        sent, script = Path(folder) / "body", Path(folder) / "script.lua"
        sent.write_bytes(body)
        script.write_text(SCRIPT.format(path=sent, kind=kind))
        command = ["wrk", "-t1", f"-c{clients}", f"-d{int(seconds)}s", "--timeout", "60s", "-s", script, f"http://127.0.0.1:{PORT}{path}"]
        said = _python(command)
    found = re.search(r"FOUND (\S+) (\S+) (\S+) (\S+) (\S+)", said)
    assert found, said
    requests, wrong, lasted, middle, slow = map(float, found.groups())
    return (requests - wrong) / lasted, middle, slow, int(wrong)


@contextmanager
def _running(command: list[object], ready: str) -> Iterator[None]:
    with suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 1):
        raise SystemExit(f"something listens on port {PORT} already; end it first")
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(300):
            time.sleep(0.2)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{ready}") as answer:
                    if answer.status == 200:
                        break
            except OSError:
                continue
        else:
            raise SystemExit(f"{command} did not start")
        yield
    finally:
        left = _below(process.pid)  # the peers leave processes behind
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        for one in left:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        time.sleep(1)


def _below(process: int) -> list[int]:
    """The processes that one began, and those that they began."""
    children = map(int, subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True).stdout.split())
    return [one for child in children for one in (child, *_below(child))]


def _python(command: list[object]) -> str:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
