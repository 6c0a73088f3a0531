"""Folders on this machine and elsewhere behave alike."""

import os
import uuid
from pathlib import Path

import pytest

from limner.data.storage import Storage, relative_prefix
from limner.files import FOLDER_LOCK


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(tmp_path / "a" if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def test_what_is_written_is_read_and_listed(storage: Storage) -> None:
    assert storage.is_empty() and storage.read_bytes("x/y.png") is None
    storage.write_bytes("x/y.png", b"1")
    storage.write_bytes("z.txt", b"2")
    assert storage.read_bytes("x/y.png") == b"1" and not storage.is_empty()
    assert storage.list_files() == ["x/y.png", "z.txt"]
    assert storage.list_files("x") == ["x/y.png"] and storage.image_listing().images == ["x/y.png"]
    storage.remove_folder("x")
    assert storage.list_files() == ["z.txt"]


def test_the_fingerprint_tells_another_content_of_the_same_size(storage: Storage) -> None:
    assert storage.fingerprint("x") == ""
    storage.write_bytes("x", b"1")
    before = storage.fingerprint("x")
    storage.write_bytes("x", b"2")
    if (local := storage.local) is not None:
        # A clock of the disk that is coarse would show the same time
        os.utime(local / "x", ns=(1, 1))
    assert before != storage.fingerprint("x")


def test_permissions_are_no_change_of_a_file(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write_bytes("x", b"1")
    before = storage.fingerprint("x")
    (tmp_path / "x").chmod(0o600)
    assert storage.fingerprint("x") == before


def test_a_lock_does_not_fill_a_folder(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "out")
    with storage.exclusive() as held:
        assert held and (tmp_path / "out" / FOLDER_LOCK).exists() and storage.is_empty()


def test_a_folder_in_another_is_known_by_its_prefix(tmp_path: Path) -> None:
    outer = Storage(tmp_path)
    assert relative_prefix(Storage(tmp_path / "masks"), outer) == "masks/"
    assert relative_prefix(outer, Storage(tmp_path / "masks")) is None
