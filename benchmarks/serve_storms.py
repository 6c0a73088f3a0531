"""What `limner serve` must survive: a `flood` of 64 clients, then SIGTERM, and a `fuzz` of uploads.

python benchmarks/serve_storms.py flood MODEL.onnx IMAGE [--minutes 10]
python benchmarks/serve_storms.py fuzz MODEL.onnx [--count 10000]

The exit status is 1 where the service used more and more memory, refused slowly, lost a request
that it had accepted, crashed, or answered with a 500.
"""

import argparse
import asyncio
import gc
import http.client
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import mutate

PORT, CLIENTS = 8712, 64
PROMPT_S = 0.05
"""How long a refusal may take."""


def main() -> bool:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("storm", choices=["flood", "fuzz"])
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryFile("w") as log:
        command = [
            sys.executable,
            "-m",
            "limner",
            "serve",
            f"m={options.model}",
            "--port",
            str(PORT),
            "--queue",
            "16",
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None and process.stdout.readline()
        try:
            return (
                flood(process, options.image.read_bytes(), options.minutes)
                if options.storm == "flood"
                else fuzz(process, options.count)
            )
        finally:
            process.kill()


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
) -> int:
    connection.request(method, path, body, {"Content-Type": "application/octet-stream"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def memory_mb(process: "subprocess.Popen[str]") -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return (
        float(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
        / 1024
    )


class Flood:
    """Clients in one thread that send as fast as they are answered.

    Those that are refused send again after a fifth of a second.
    """

    def __init__(self, image: bytes) -> None:
        self._segment = (
            b"POST /v1/segment HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
            b"application/octet-stream\r\nContent-Length: %d\r\n\r\n"
        ) % len(image) + image
        self.answers = list[tuple[int, float, bool]]()
        """Status, seconds, and whether there was a Retry-After."""
        self.lost, self.health_s, self.memory_mb = list[str](), list[float](), list[float]()
        self.stopping, self.signalled_s = False, float("inf")

    async def run(self, process: "subprocess.Popen[str]", minutes: float) -> tuple[int, int, float]:
        """How many answers came before SIGTERM, the exit status, and how long stopping took."""
        clients = [asyncio.create_task(self._client()) for _ in range(CLIENTS)]
        until = time.monotonic() + minutes * 60
        watcher = asyncio.create_task(self._watch(until))
        while time.monotonic() < until:
            self.memory_mb.append(memory_mb(process))
            await asyncio.sleep(0.1)
        await watcher
        before, self.stopping, self.signalled_s = len(self.answers), True, time.monotonic()
        process.send_signal(signal.SIGTERM)
        ended = time.monotonic()
        status = await asyncio.to_thread(process.wait, 120)
        seconds = time.monotonic() - ended
        await asyncio.gather(*clients)
        return before, status, seconds

    async def _client(self) -> None:
        streams = None
        while not self.stopping:
            sent_s = time.monotonic()
            try:
                streams = streams or await asyncio.open_connection("127.0.0.1", PORT)
                self.answers.append(await _send(streams, self._segment))
            except (OSError, asyncio.IncompleteReadError) as error:
                streams = None
                # Accepted, since a refusal would have come by then
                if sent_s < self.signalled_s - 4 * PROMPT_S:
                    self.lost.append(repr(error))
            if self.answers and self.answers[-1][0] == 503:
                await asyncio.sleep(0.2)

    async def _watch(self, until: float) -> None:
        streams = await asyncio.open_connection("127.0.0.1", PORT)
        while time.monotonic() < until:
            self.health_s.append(
                (await _send(streams, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))[1]
            )
            await asyncio.sleep(0.1)


async def _send(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes
) -> tuple[int, float, bool]:
    """Status, seconds, and whether there is a Retry-After."""
    start_s = time.monotonic()
    streams[1].write(request)
    head = await streams[0].readuntil(b"\r\n\r\n")
    seconds = time.monotonic() - start_s
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
    assert length, head
    await streams[0].readexactly(int(length[1]))
    return int(head[9:12]), seconds, b"\r\nretry-after: " in head.lower()


def flood(process: "subprocess.Popen[str]", image: bytes, minutes: float) -> bool:
    # Pauses of this process would count as the service's
    gc.disable()
    storm = Flood(image)
    before, status, seconds = asyncio.run(storm.run(process, minutes))
    counts, after = (
        Counter(status for status, _, _ in storm.answers[:before]),
        Counter(status for status, _, _ in storm.answers),
    )
    settled = storm.memory_mb[len(storm.memory_mb) // 10 :]
    growth = max(settled[-len(settled) // 10 :]) / max(settled[: len(settled) // 10]) - 1
    accepted, refused = (
        sorted(seconds for status, seconds, _ in storm.answers[:before] if status == code)
        for code in (200, 503)
    )

    def at(values: list[float], share: float) -> str:
        return (
            f"{values[min(len(values) - 1, int(share * len(values)))] * 1000:.0f} ms"
            if values
            else "none"
        )

    print(
        f"{minutes:g} minutes, {CLIENTS} clients: {dict(counts)}, "
        f"{counts[200] / minutes / 60:.1f} masks/s"
    )
    slow = sum(seconds > PROMPT_S for seconds in refused)
    print(f"accepted: p50 {at(accepted, 0.5)}, p99 {at(accepted, 0.99)}")
    print(
        f"refused: p50 {at(refused, 0.5)}, p99 {at(refused, 0.99)}, longest {at(refused, 1)}, "
        f"{slow} later than {PROMPT_S * 1000:.0f} ms"
    )
    health = sorted(storm.health_s)
    print(f"/healthz: p50 {at(health, 0.5)}, p99 {at(health, 0.99)}")
    print(f"memory: {settled[0]:.0f} MB, at the end {settled[-1]:.0f} MB, growth {growth:+.1%}")
    print(
        f"SIGTERM: {len(storm.answers) - before} answered after it, exit status {status} in "
        f"{seconds:.1f} s; lost: {storm.lost[:3] or 'none'}"
    )
    without_retry = [
        status for status, _, has_retry in storm.answers if status == 503 and not has_retry
    ]
    return bool(
        without_retry
        or storm.lost
        or status
        or slow
        or health[int(0.99 * len(health))] > 0.1
        or growth > 0.1
        or set(after) - {200, 503}
    )


def fuzz(process: "subprocess.Popen[str]", count: int) -> bool:
    """Mutated files of every format; every tenth pretends to be something else."""
    files, chance, statuses = (
        list(mutate.original_files().values()),
        random.Random(0),
        Counter[int](),
    )
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
    before = memory_mb(process)
    for number in range(count):
        content, _ = mutate.mutate(files[number % len(files)], chance)
        statuses[ask(connection, "POST", "/v1/segment", content)] += 1
    alive = process.poll() is None and ask(connection, "GET", "/healthz") == 200
    print(
        f"{count} uploads: {dict(statuses)}; {'alive' if alive else 'DEAD'}; memory "
        f"{before:.0f} MB, then {memory_mb(process):.0f} MB"
    )
    return not alive or bool(set(statuses) - {200, 413, 422})


if __name__ == "__main__":
    sys.exit(main())
