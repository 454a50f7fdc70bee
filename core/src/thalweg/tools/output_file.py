"""Write a file whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thalweg.errors import InvalidArgument


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a file beside ``path`` that takes its place when the block ends, and vanishes if it raises.

    The file exists when the block starts, so that an unwritable place is known before any work. A device or
    pipe (``/dev/null``) is yielded itself.

    :raises InvalidArgument: the file cannot be written there; says why.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        if target.is_dir():
            raise InvalidArgument(f"cannot write {str(path)!r}: it is a folder")
        yield target
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        _create(temporary, target)
    except OSError as error:
        raise InvalidArgument(f"cannot write {str(path)!r}: {error.strerror}") from error
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _create(temporary: Path, target: Path) -> None:
    if target.exists():
        # A read-only file is not overwritten by way of its writable folder.
        os.close(os.open(target, os.O_WRONLY))
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666))
    if target.exists():
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))
