"""Firefox, driven by WebDriver BiDi (W3C), which it speaks itself: Playwright drives only its own
build of it.
"""

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

from websockets.sync.client import ClientConnection, connect

BUTTONS = {"left": 0, "middle": 1, "right": 2}
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "Control": "\ue009", "Backspace": "\ue003"}
"""As WebDriver spells them."""
LONG_S = 60


class FirefoxPage:
    """The one tab of a Firefox."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._number = connection, 0
        self.errors: list[str] = []
        self._ask("session.new", {"capabilities": {}})
        self._ask("session.subscribe", {"events": ["log.entryAdded"]})
        self._context = self._ask("browsingContext.getTree", {})["contexts"][0]["context"]

    def resize(self, width: int, height: int) -> None:
        viewport = {"width": width, "height": height}
        self._ask("browsingContext.setViewport", {"context": self._context, "viewport": viewport})

    def goto(self, url: str) -> None:
        navigation = {"context": self._context, "url": url, "wait": "complete"}
        self._ask("browsingContext.navigate", navigation)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, or of its promise, which JSON can hold."""
        answer = self._ask(
            "script.evaluate",
            {
                "expression": (
                    f"Promise.resolve({expression}).then((value) => JSON.stringify(value ?? null))"
                ),
                "target": {"context": self._context},
                "awaitPromise": True,
            },
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    def wait_for(self, expression: str) -> None:
        """Return once an expression is true."""
        until = time.monotonic() + LONG_S
        while not self.evaluate(f"!!({expression})"):
            assert time.monotonic() < until, f"{expression} did not become true"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Hold keys down one after the other, and let go of them."""
        values = [KEYS.get(key, key) for key in keys]
        steps = [{"type": "keyDown", "value": value} for value in values]
        steps += [{"type": "keyUp", "value": value} for value in reversed(values)]
        self._perform({"type": "key", "id": "keyboard", "actions": steps})

    def drag(self, points: Sequence[tuple[float, float]], button: str = "left") -> None:
        """Go to the first point, press, go to the others, and let go."""
        number = BUTTONS[button]
        moves = [
            {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 20} for x, y in points
        ]
        steps = [
            moves[0],
            {"type": "pointerDown", "button": number},
            *moves[1:],
            {"type": "pointerUp", "button": number},
        ]
        self._perform({"type": "pointer", "id": "mouse", "actions": steps})

    def wheel(self, x: float, y: float, distance: int) -> None:
        scroll = {"type": "scroll", "x": round(x), "y": round(y), "deltaX": 0, "deltaY": distance}
        self._perform({"type": "wheel", "id": "wheel", "actions": [scroll]})

    def _perform(self, source: dict[str, Any]) -> None:
        self._ask("input.performActions", {"context": self._context, "actions": [source]})

    def _ask(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        self._connection.send(json.dumps(command))
        while True:
            answer = json.loads(self._connection.recv(LONG_S))
            if answer.get("method") == "log.entryAdded" and answer["params"]["level"] == "error":
                self.errors.append(answer["params"]["text"])
            if answer.get("id") == self._number:
                assert answer["type"] == "success", answer
                result: dict[str, Any] = answer["result"]
                return result


@contextmanager
def firefox() -> Iterator[FirefoxPage]:
    """The system's Firefox without a window, with a profile of its own."""
    binary = which("firefox-esr") or which("firefox")
    assert binary, "Firefox is missing: apt-get install firefox-esr"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [binary, "--headless", "--profile", folder, "--remote-debugging-port", "0"],
                stderr=errors,
                stdout=errors,
                env={**os.environ, "HOME": folder},
            )
        try:
            until = time.monotonic() + LONG_S
            while not (found := re.search(r"listening on (ws://\S+)", log.read_text())):
                assert process.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.05)
            with connect(f"{found[1]}/session", max_size=None) as connection:
                yield FirefoxPage(connection)
        finally:
            process.terminate()
            process.wait(30)
