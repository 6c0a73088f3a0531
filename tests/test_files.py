"""Several writers of one file: it is complete, and nobody overwrites another's."""

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from limner.files import (
    atomic_file,
    atomic_folder,
    exclusive_lock,
    read_stable,
    sha256_of_file,
    write_atomic,
)


def test_one_of_many_concurrent_writes_is_there_complete(tmp_path: Path) -> None:
    contents = [bytes([number]) * (1 + 40_000 * (number % 3)) for number in range(48)]
    with ThreadPoolExecutor(8) as pool:
        for content in [
            *pool.map(
                lambda one: (write_atomic(tmp_path / "x", one), (tmp_path / "x").read_bytes())[1],
                contents,
            )
        ]:
            assert content in contents
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_read_change_and_write_in_a_block_are_one_step(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")

    def count(_: int) -> None:
        with atomic_file(tmp_path / "count") as part:
            part.write_text(str(int((tmp_path / "count").read_text()) + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(200)))
    assert (tmp_path / "count").read_text() == "200"


def test_a_new_file_replaces_no_other(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), atomic_file(tmp_path / "x", new=True) as part:
        part.write_text("ours")
        (tmp_path / "x").write_text("theirs")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "theirs")]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "x") as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "before")]


def test_a_part_that_a_kill_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x.part").write_text("longer than what comes")
    write_atomic(tmp_path / "x", "short")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "short")]


def test_a_new_folder_replaces_no_other(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="x"), atomic_folder(tmp_path / "x") as part:
        (part / "ours").write_text("")
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "theirs").write_text("")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "x",
        "x/theirs",
    ]


def test_a_folder_lock_is_held_once_and_leaves_no_file(tmp_path: Path) -> None:
    with exclusive_lock(tmp_path) as first, exclusive_lock(tmp_path) as second:
        assert (first, second) == (True, False)
    with exclusive_lock(tmp_path) as third:
        assert third
    assert not list(tmp_path.iterdir()), "a lock file is left"


def test_a_file_replaced_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("first")
    seen = []

    def read() -> str:
        seen.append((tmp_path / "x").read_text())
        (tmp_path / "x").write_text("second")
        return seen[-1]

    assert read_stable([tmp_path / "x"], read) == (
        "second",
        [sha256_of_file(tmp_path / "x")],
    ) and seen == ["first", "second"]


def test_a_forked_process_holds_no_lock(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "x") as part, exclusive_lock(tmp_path) as alone:
        assert alone
        part.write_text("ours")
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
    try:
        write_atomic(tmp_path / "x", "theirs")
        with exclusive_lock(tmp_path) as alone:
            assert alone
    finally:
        child.kill()
        child.join()
