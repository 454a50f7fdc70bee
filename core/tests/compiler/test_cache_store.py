"""The compile cache on disk: what is found, damage, eviction, permissions, several processes at once."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from thalweg.compiler.cache_folder import cache_directory, cache_size_limit, private_folder
from thalweg.compiler.cache_store import ABANDONED_SECONDS, CacheStore
from thalweg.errors import InvalidArgument, Unavailable

KEY, OTHER = "a" * 64, "b" * 64
SEED = random.SystemRandom().randrange(1 << 32)


@pytest.fixture
def store(tmp_path: Path) -> CacheStore:
    return CacheStore(tmp_path / "cache", 1 << 20)


def keep(store: CacheStore, key: str, content: bytes, **entry: object) -> str | None:
    return store.keep(key, entry, lambda path: path.write_bytes(content))


def names(store: CacheStore, folder: str) -> list[str]:
    return sorted(path.name for path in (store.folder / folder).iterdir())


def test_what_is_kept_is_found(store):
    digest = keep(store, KEY, b"module", files={"w": "d"})
    found = store.find(KEY)
    assert found is not None
    assert (found.digest, bytes(found.content), found.entry["files"]) == (digest, b"module", {"w": "d"})
    assert store.find(OTHER) is None
    assert CacheStore(store.folder, 1).find(KEY) is not None


def test_equal_modules_are_stored_once(store):
    assert keep(store, KEY, b"module") == keep(store, OTHER, b"module")
    assert len(names(store, "modules")) == 1 and len(names(store, "entries")) == 2


def test_a_later_module_takes_the_place_of_an_earlier_one(store):
    keep(store, KEY, b"old")
    keep(store, KEY, b"new")
    assert bytes(store.find(KEY).content) == b"new"


@pytest.mark.parametrize("folder", ["modules", "entries"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_what_is_damaged_is_dropped_with_a_warning(store, caplog, folder, damage):
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    for _ in range(20):
        keep(store, KEY, chance.randbytes(5000))
        (name,) = names(store, folder)
        path = store.folder / folder / name
        data = bytearray(path.read_bytes())
        place = chance.randrange(len(data))
        if damage == "flip":
            data[place] ^= 1 << chance.randrange(8)
        path.write_bytes(data if damage == "flip" else data[:place] if damage == "cut" else b"")
        with caplog.at_level(logging.WARNING):
            assert store.find(KEY) is None, place
        (message,) = caplog.messages
        assert message.startswith("compile cache: ") and name in message
        assert message.endswith("; it is dropped, and the model compiled again")
        assert not path.exists()
        caplog.clear()
        store.clear()


def test_another_keys_entry_is_not_taken(store, caplog):
    keep(store, KEY, b"module")
    entries = store.folder / "entries"
    (entries / f"{KEY}.json").rename(entries / f"{OTHER}.json")
    assert store.find(OTHER) is None
    assert "it is another key's" in caplog.text


def test_an_evicted_module_is_a_miss_without_a_word(store, caplog):
    digest = keep(store, KEY, b"module")
    (store.folder / "modules" / f"{digest}.twm").unlink()
    assert store.find(KEY) is None
    assert not caplog.messages


def test_what_was_found_stays_readable_when_it_is_evicted(store):
    keep(store, KEY, b"module")
    found = store.find(KEY)
    store.clear()
    assert bytes(found.content) == b"module"


# Size


def age(store: CacheStore, digest: str, key: str, seconds: float) -> None:
    """Make what belongs to a module look as if it had not been used for so long."""
    then = time.time() - seconds
    for path in (store.folder / "modules" / f"{digest}.twm", store.folder / "entries" / f"{key}.json"):
        os.utime(path, (then, then))


def test_the_least_recently_used_go_first(tmp_path):
    store = CacheStore(tmp_path / "cache", 10_000)
    keys = [letter * 64 for letter in "abcd"]
    for number, key in enumerate(keys[:3]):
        digest = keep(store, key, bytes([number]) * 3000)
        assert digest is not None
        age(store, digest, key, 1000 - number)
    assert store.find(keys[0]) is not None  # used: now the second is the oldest
    keep(store, keys[3], b"d" * 3000)
    assert [key[0] for key in keys if store.find(key)] == ["a", "c", "d"]
    assert store.usage().bytes <= 10_000


def test_a_module_larger_than_the_cache_is_not_kept(tmp_path):
    store = CacheStore(tmp_path / "cache", 100)
    assert keep(store, KEY, bytes(101)) is None
    assert store.usage().bytes == 0 and store.find(KEY) is None


def test_reports_count_and_are_evicted_too(tmp_path):
    store = CacheStore(tmp_path / "cache", 2000)
    old = store.write_report("0" * 64, {"text": "x" * 1500})
    os.utime(old, (1, 1))
    keep(store, KEY, bytes(1000))
    assert not old.exists() and store.find(KEY) is not None


def test_unfinished_files_of_dead_writers_are_removed_and_others_left(store):
    fresh, abandoned = (store.folder / "modules" / f"{name}.partial" for name in ("fresh", "abandoned"))
    for path in (fresh, abandoned):
        path.write_bytes(b"half")
    then = time.time() - ABANDONED_SECONDS - 1
    os.utime(abandoned, (then, then))
    keep(store, KEY, b"module")
    assert fresh.exists() and not abandoned.exists()


def test_a_write_that_fails_leaves_nothing(store):
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store.keep(KEY, {}, fail)
    assert names(store, "modules") == names(store, "entries") == []


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", 8 << 30),
        ("0", 0),
        ("1000", 1000),
        ("500MB", 500_000_000),
        ("8GiB", 8 << 30),
        ("1.5 kib", 1536),
        ("2T", 2 * 10**12),
    ],
)
def test_sizes(text, size):
    assert cache_size_limit({"THALWEG_CACHE_SIZE": text}) == size


@pytest.mark.parametrize("text", ["much", "-1", "1XB", "GiB", "1ib", "1 2"])
def test_what_is_no_size(text):
    with pytest.raises(InvalidArgument) as caught:
        cache_size_limit({"THALWEG_CACHE_SIZE": text})
    assert str(caught.value) == (
        f"THALWEG_CACHE_SIZE={text!r} is not a size; write bytes, or as 500MB or 8GiB"
    )


# Place and permissions


def test_where_the_cache_is(monkeypatch):
    assert cache_directory({"THALWEG_CACHE_DIR": "/x/y"}) == Path("/x/y")
    assert cache_directory({"XDG_CACHE_HOME": "/x"}) == Path("/x/thalweg")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_directory({}) == Path("/home/somebody/.cache/thalweg")


def test_nobody_else_can_read_what_is_kept(store, tmp_path):
    before = os.umask(0)
    try:
        keep(store, KEY, b"module")
        store.write_report("0" * 64, {})
        for path in [store.folder, *store.folder.rglob("*")]:
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
        assert private_folder(tmp_path / "new" / "deep").stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
@pytest.mark.parametrize("part", ["", "modules", "entries"])
def test_a_folder_that_others_can_write_to_is_refused(store, mode, part):
    folder = store.folder / part
    folder.chmod(mode)
    with pytest.raises(Unavailable) as caught:
        CacheStore(store.folder, 100)
    assert str(caught.value) == (
        f"{folder} can be written to by others; chmod 700 it, or name another folder"
    )


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(Unavailable, match="belongs to another user; name another folder by THALWEG_CACHE"):
        CacheStore(tmp_path, 100)


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(Unavailable, match="cache: File exists"):
        CacheStore(tmp_path / "cache", 100)


# Several processes

WORKER = """
import random, sys
from pathlib import Path
from thalweg.compiler.cache_store import CacheStore

folder, number = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(number)
store = CacheStore(folder, 200_000)  # a few modules: somebody evicts all the time
found = 0
for _ in range(300):
    name = chance.randrange(12)
    content = bytes([name]) * (30_000 + name)
    stored = store.find(f"{name:064x}")
    if stored is None:
        store.keep(f"{name:064x}", {"name": name}, lambda path: path.write_bytes(content))
    else:
        found += 1
        assert bytes(stored.content) == content and stored.entry["name"] == name
print(found)
"""


def test_processes_that_keep_find_and_evict_at_once_get_whole_modules(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "cache"), str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for worker in workers:
        out, error = worker.communicate(timeout=100)
        assert worker.returncode == 0 and error == "", error
        assert int(out) > 0
    left = list((tmp_path / "cache").rglob("*.partial"))
    assert left == []
