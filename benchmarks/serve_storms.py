"""What `limner serve` must survive: `flood` (64 clients for minutes, then SIGTERM), and `fuzz` (thousands of mutated uploads).

python benchmarks/serve_storms.py flood MODEL.onnx IMAGE [--minutes 10] | fuzz MODEL.onnx [--count 10000]

Exit status 1 where the service grew, refused slowly, lost what it had accepted, crashed, or answered with a 500.
"""

import argparse
import http.client
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import mutate

PORT, CLIENTS = 8712, 64


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("storm", choices=["flood", "fuzz"])
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryFile("w") as log:
        command = [sys.executable, "-m", "limner", "serve", f"m={options.model}", "--port", str(PORT), "--queue", "16"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None and process.stdout.readline()
        try:
            return flood(process, options.image.read_bytes(), options.minutes) if options.storm == "flood" else fuzz(process, options.count)
        finally:
            process.kill()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> tuple[int, float, str | None]:
    """Status, seconds, and Retry-After."""
    began = time.monotonic()
    connection.request(method, path, body, {"Content-Type": "application/octet-stream"})
    answer = connection.getresponse()
    answer.read()
    return answer.status, time.monotonic() - began, answer.getheader("Retry-After")


def memory_mb(process: "subprocess.Popen[str]") -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return float(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def flood(process: "subprocess.Popen[str]", image: bytes, minutes: float) -> bool:
    """Clients that send as fast as they are answered, and again at once where they are refused after a while."""
    found: list[tuple[int, float, str | None]] = []
    stopping, lost = threading.Event(), list[str]()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
        while not stopping.is_set():
            try:
                found.append(ask(connection, "POST", "/v1/segment", image))
            except (ConnectionError, http.client.HTTPException) as error:
                connection.close()
                if not stopping.is_set():
                    lost.append(repr(error))
            time.sleep(0.2 if found and found[-1][0] == 503 else 0)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    began, health, sizes = time.monotonic(), list[float](), list[float]()
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
    while time.monotonic() - began < minutes * 60:
        health.append(ask(connection, "GET", "/healthz")[1])
        sizes.append(memory_mb(process))
        time.sleep(0.1)
    statuses = Counter(one[0] for one in found)
    refused = sorted(one[1] for one in found if one[0] == 503)
    taken = sorted(one[1] for one in found if one[0] == 200)
    settled = sizes[len(sizes) // 10 :]
    growth = max(settled[-len(settled) // 10 :]) / max(settled[: len(settled) // 10]) - 1
    inside = ask(connection, "GET", "/metrics")[0]
    stopping.set()
    process.send_signal(signal.SIGTERM)
    ended = time.monotonic()
    status = process.wait(120)
    for thread in threads:
        thread.join()
    after = Counter(one[0] for one in found)

    def at(values: list[float], share: float) -> str:
        return f"{values[min(len(values) - 1, int(share * len(values)))] * 1000:.0f} ms" if values else "none"

    print(f"{minutes:g} minutes, {CLIENTS} clients: {dict(statuses)}, {statuses[200] / minutes / 60:.1f} masks/s, metrics {inside}")
    print(f"accepted: p50 {at(taken, 0.5)}, p99 {at(taken, 0.99)}; refused: p50 {at(refused, 0.5)}, p99 {at(refused, 0.99)}, longest {at(refused, 1)}")
    print(f"/healthz: p50 {at(sorted(health), 0.5)}, p99 {at(sorted(health), 0.99)}")
    print(f"memory: {settled[0]:.0f} MB, at the end {settled[-1]:.0f} MB, growth {growth:+.1%}")
    late, seconds = sum(after.values()) - sum(statuses.values()), time.monotonic() - ended
    print(f"SIGTERM: {late} answered after it, exit status {status} in {seconds:.1f} s; lost: {lost[:3] or 'none'}")
    bad = [one for one in found if one[0] == 503 and not one[2]]
    return bool(bad or lost or status or growth > 0.1 or set(after) - {200, 503})


def fuzz(process: "subprocess.Popen[str]", count: int) -> bool:
    """Mutated files of every format; every tenth pretends to be something else."""
    files, chance, statuses = list(mutate.originals().values()), random.Random(0), Counter[int]()
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
    before = memory_mb(process)
    for number in range(count):
        content, _ = mutate.mutate(files[number % len(files)], chance)
        statuses[ask(connection, "POST", "/v1/segment", content)[0]] += 1
    alive = process.poll() is None and ask(connection, "GET", "/healthz")[0] == 200
    print(f"{count} uploads: {dict(statuses)}; {'alive' if alive else 'DEAD'}; memory {before:.0f} MB, then {memory_mb(process):.0f} MB")
    return not alive or bool(set(statuses) - {200, 413, 422})


if __name__ == "__main__":
    sys.exit(main())
