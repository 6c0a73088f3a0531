"""limner without what Windows and macOS lack."""

import ast
import subprocess
import sys
from pathlib import Path

import limner
from command_line import TINY_TRAINING
from limner import operating_system

PACKAGE = Path(limner.__file__).parent
MODULES = frozenset({"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios"})
CALLS = frozenset(
    [
        "fork",
        "forkpty",
        "getloadavg",
        "getpgid",
        "geteuid",
        "getuid",
        "killpg",
        "mkfifo",
        "nice",
        "posix_fadvise",
        "register_at_fork",
        "sched_getaffinity",
        "setsid",
        "statvfs",
    ]
)
"""Of os, on POSIX systems alone."""
SIGNALS = frozenset(
    [
        "SIGALRM",
        "SIGHUP",
        "SIGKILL",
        "SIGQUIT",
        "SIGUSR1",
        "SIGUSR2",
        "alarm",
        "pthread_sigmask",
        "setitimer",
        "sigwait",
    ]
)
WITHOUT_POSIX = f"""
import os, runpy, shlex, signal, sys
import torch  # It asks sys.platform, and has what it needs from then on
for name in {sorted(MODULES - {"posix"})}:
    sys.modules[name] = None
for name in {sorted(CALLS)}:
    if hasattr(os, name): delattr(os, name)
for name in {sorted(SIGNALS)}:
    if hasattr(signal, name): delattr(signal, name)
for line in sys.argv[1:]:
    sys.argv = ["limner", *shlex.split(line)]
    try:
        runpy.run_module("limner", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            sys.exit(f"{{line}} ended with {{end.code}}")
"""


def posix_only(path: Path) -> set[str]:
    """What a module names that only POSIX systems have."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= MODULES & {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES | {"os", "signal"}:
            found |= {alias.name for alias in node.names} & (CALLS | SIGNALS) or MODULES & {
                node.module
            }
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            known = {"os": CALLS, "signal": SIGNALS}.get(node.value.id, frozenset())
            found |= known & {node.attr}
    return found


def test_one_module_alone_calls_what_only_posix_has() -> None:
    with_posix = {path for path in PACKAGE.rglob("*.py") if posix_only(path)}
    assert with_posix == {Path(operating_system.__file__)}


def test_a_model_is_trained_and_used_where_there_is_no_posix(tmp_path: Path) -> None:
    settings = " ".join(f"--set {setting}" for setting in TINY_TRAINING)
    lines = (
        "sample lesions --count 24 --size 32",
        "check lesions",
        f"train lesions {settings}",
        "test runs/lesions lesions",
        "predict runs/lesions lesions/ISIC2018_Task1-2_Test_Input -o masks",
        "measure masks -o measures",
        "runs",
    )
    command = [sys.executable, "-c", WITHOUT_POSIX, *lines]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "masks" / "predictions.json").is_file()
