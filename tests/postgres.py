"""A real PostgreSQL in a folder, on loopback, for as long as tests need it."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from waiting import free_port


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The URL of a new server's database. It does not run as root: then its files are given to the
    user `postgres`.
    """
    data = folder / "data"
    programs = (
        max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
        or Path(shutil.which("initdb") or "initdb").parent
    )
    user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
    folder.mkdir()
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)

    def run(*command: object) -> None:
        told = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        subprocess.run(
            [str(part) for part in command],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            **told,
        )  # type: ignore[call-overload]

    run(
        programs / "initdb",
        "--username=limner",
        "--auth=trust",
        "--no-sync",
        "--locale=C",
        "--encoding=UTF8",
        data,
    )
    port = free_port()
    options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories= -p {port}"
    run(programs / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log.txt", "-w", "start")
    try:
        yield f"postgresql://limner@127.0.0.1:{port}/postgres"
    finally:
        run(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")
