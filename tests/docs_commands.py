"""The commands of the documentation, as a reader would run them, on small images."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from command_line import TINY_TRAINING, limner
from service import begin_forked

SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
SERVERS = frozenset({"serve", "review", "studio"})
SMALL = ("--count", "24", "--size", "32")
SETTINGS = tuple(part for setting in TINY_TRAINING for part in ("--set", setting))
OUTPUTS = {"predict": "predictions", "measure": "measures"}
"""The folders of commands without --out."""


def commands_of(text: str) -> Iterator[list[str]]:
    """The commands of a page's shell blocks, each in words."""
    for block in SHELL.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def run(words: list[str], folder: Path) -> None:
    """Run a command in a folder, as quickly as it can be run. It must succeed."""
    command, *rest = words[1:]
    clear(command, rest, folder)
    arguments = quick(command, rest)
    if command in SERVERS:
        (folder / "logs").mkdir(exist_ok=True)
        page = [] if command == "serve" or "--no-open" in arguments else ["--no-open"]
        served = begin_forked(folder / "logs", command, *arguments, *page, cwd=folder)
        assert served.stop() == 0
        return
    done = limner(command, *arguments, cwd=folder)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"


def quick(command: str, arguments: list[str]) -> list[str]:
    """The arguments, and what makes a command quick: small images, tiny networks, two epochs."""
    if command == "sample":
        pairs = zip(SMALL[::2], SMALL[1::2], strict=True)
        missing = [pair for pair in pairs if pair[0] not in arguments]
        return [*arguments, *(word for pair in missing for word in pair)]
    if command in {"train", "audit"} and "--resume" not in arguments:
        at = arguments.index("--minutes") if "--minutes" in arguments else len(arguments)
        return [*arguments[:at], *arguments[at + 2 :], *SETTINGS]
    return arguments


def clear(command: str, arguments: list[str], folder: Path) -> None:
    """Remove what an earlier page, or the start of the same, has left in a command's place."""
    for name in ("-o", "--out"):
        if name in arguments:
            remove(folder / arguments[arguments.index(name) + 1])
    if command == "sample":
        remove(folder / arguments[0])
    elif command == "train" and "--resume" not in arguments:
        name = arguments[arguments.index("--name") + 1] if "--name" in arguments else arguments[0]
        remove(folder / "runs" / name)
    elif command == "audit":
        remove(folder / "audits" / arguments[0])


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
