"""Throughput and latency of `limner serve` at 1, 8 and 64 clients, beside the raw engine and the
services that people write around the same file.

python benchmarks/serve.py MODEL.onnx IMAGE [--clients 1 8 64] [--rounds 12] [--seconds 3]
    [--peers PYTHON] [--data FOLDER]

With --data, the folder of the training, `limner serve --precision fast` takes part too.

wrk sends the image and waits for its mask. The raw engine is ONNX Runtime alone. As many threads as
cores call it with the image's network inputs, those of test-time augmentation too.

A shared machine's speed changes by the second. So all servers run side by side and are measured in
turn for a few seconds, the raw engine before and after each. A share is the median over the rounds.

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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

PORT = 8711
RAW = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from limner.data.images import read_image
from limner.inference.engines import load_model
from limner.inference.model_runner import ModelRunner
from limner.inference.predictor import Predictor
model, arrays = load_model(sys.argv[1], threads=1), []
def record(array):
    arrays.append(array)
    return model.engine(array)
runner = ModelRunner.from_model(model)._replace(engine=record)
predictor = Predictor([runner], model.metadata.labels, model.metadata.inference)
predictor.predict(read_image(Path(sys.argv[2])))
cores, seconds = int(sys.argv[3]), float(sys.argv[4])
def run(until):
    count = 0
    while time.monotonic() < until:
        for array in arrays:
            model.engine(array)
        count += 1
    return count
with ThreadPoolExecutor(cores) as pool:
    for _ in sys.stdin:
        start_s = time.monotonic()
        count = sum(pool.map(run, [start_s + seconds] * cores))
        print(count / (time.monotonic() - start_s), flush=True)
"""

SCRIPT = """
local file = io.open("{path}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "{kind}"
done = function(summary, latency)
  local errors = summary.errors
  print(string.format("RESULT %d %d %f %f %f", summary.requests,
    errors.status + errors.timeout + errors.connect + errors.read, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--peers")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    cores, here = os.cpu_count() or 1, Path(__file__).with_name("serve_peers.py")
    servers = {
        "limner": Server(
            [sys.executable, "-m", "limner", "serve", f"m={options.model}", "--port", PORT],
            PORT,
            "/v1/segment",
            "/readyz",
        )
    }
    if options.data:
        fast = ["--precision", "fast", "--data", options.data]
        served = [sys.executable, "-m", "limner", "serve", f"m={options.model}", "--port", PORT + 3]
        servers["limner fast"] = Server(
            [*served, *fast],
            PORT + 3,
            "/v1/segment",
            "/readyz",
        )
    if options.peers:
        servers["LitServe"] = Server(
            [options.peers, here, "litserve", options.model, PORT + 1],
            PORT + 1,
            "/predict",
            "/health",
        )
        servers["BentoML"] = Server(
            [options.peers, here, "bentoml", options.model, PORT + 2],
            PORT + 2,
            "/v1/predict",
            "/readyz",
        )
    with ExitStack() as stack:
        raw = stack.enter_context(_raw(options.model, options.image, cores, options.seconds))
        for server in servers.values():
            stack.enter_context(_running(server))
        bodies = {name: (options.image.read_bytes(), "image/jpeg") for name in servers}
        if "LitServe" in servers:
            bodies["LitServe"] = (
                json.dumps(
                    {"image": base64.b64encode(options.image.read_bytes()).decode()}
                ).encode(),
                "application/json",
            )
        for name, server in servers.items():
            # Warm
            load(*bodies[name], server, 2, 2)
        print(
            f"{options.model}, {options.image.name}, {cores} cores, {options.rounds} rounds "
            f"of {options.seconds} s"
        )
        columns = (
            f"{'':11} {'clients':>8} {'images/s':>9} {'raw':>6} {'of raw':>7} "
            f"{'quarter to quarter':>19} {'p50 ms':>8} {'p99 ms':>8}"
        )
        print(f"{columns}  answers that are not masks")
        for clients in options.clients:
            rounds: dict[str, list[tuple[float, ...]]] = {name: [] for name in servers}
            before = raw()
            for _ in range(options.rounds):
                for name, server in servers.items():
                    loaded = load(*bodies[name], server, clients, options.seconds)
                    # wrk ends in the middle of its last requests, which the server finishes
                    time.sleep(0.5 + clients / loaded[0])
                    after = raw()
                    rounds[name].append((*loaded, (before + after) / 2))
                    before = after
            for name, rows in rounds.items():
                rate, p50_ms, p99_ms, errors, engine = (
                    median(column) for column in zip(*rows, strict=True)
                )
                low, share, high = quantiles([row[0] / row[4] for row in rows], n=4)
                spread = f"{low:.0%} to {high:.0%}"
                print(
                    (
                        f"{name:11} {clients:8} {rate:9.1f} {engine:6.1f} {share:7.0%} "
                        f"{spread:>19} {p50_ms:8.0f} {p99_ms:8.0f}  {errors:g}"
                    ),
                    flush=True,
                )


@dataclass(frozen=True)
class Server:
    command: list[object]
    port: int
    path: str
    ready: str


def load(
    body: bytes, kind: str, server: Server, clients: int, seconds: int
) -> tuple[float, float, float, int]:
    """Masks a second, p50 and p99 of the latency in ms, and how many answers were not masks."""
    with tempfile.TemporaryDirectory() as folder:
        sent, script = Path(folder) / "body", Path(folder) / "script.lua"
        sent.write_bytes(body)
        script.write_text(SCRIPT.format(path=sent, kind=kind))
        command = [
            "wrk",
            "-t1",
            f"-c{clients}",
            f"-d{seconds}s",
            "--timeout",
            "60s",
            "-s",
            script,
            f"http://127.0.0.1:{server.port}{server.path}",
        ]
        output = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=True
        ).stdout
    match = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+) (\S+)", output)
    assert match, output
    requests, errors, seconds_taken, p50_ms, p99_ms = map(float, match.groups())
    return (requests - errors) / seconds_taken, p50_ms, p99_ms, int(errors)


@contextmanager
def _raw(model: Path, image: Path, cores: int, seconds: int) -> Iterator[Callable[[], float]]:
    """Measures the engine alone when it is called."""
    command = [sys.executable, "-c", RAW, str(model), str(image), str(cores), str(seconds)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        asking, answering = process.stdin, process.stdout

        def ask() -> float:
            asking.write("go\n")
            asking.flush()
            return float(answering.readline())

        # Warm
        ask()
        yield ask
        asking.close()


@contextmanager
def _running(server: Server) -> Iterator[None]:
    with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
        raise SystemExit(f"something listens on port {server.port} already; end it first")
    process = subprocess.Popen(
        [str(part) for part in server.command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            time.sleep(0.2)
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{server.port}{server.ready}") as answer,
            ):
                if answer.status == 200:
                    break
        else:
            raise SystemExit(f"{server.command} did not start")
        yield
    finally:
        # The peers leave processes behind
        children = _descendants(process.pid)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _descendants(process: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    children = map(
        int,
        subprocess.run(
            ["pgrep", "-P", str(process)], capture_output=True, text=True
        ).stdout.split(),
    )
    return [pid for child in children for pid in (child, *_descendants(child))]


if __name__ == "__main__":
    main()
