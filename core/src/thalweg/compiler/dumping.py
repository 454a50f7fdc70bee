"""Where ``--dump-dir`` puts what the compiler makes on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from thalweg.errors import InvalidArgument


class Dumper:
    """Writes phases and executables below a folder; does nothing for ``None``.

    ``DIR/03-global-optimization.mlir`` and so on; ``DIR/executables/KERNEL.mlir``, ``.ll``, ``.s``, ``.o``;
    ``DIR/graph.svg``, or ``DIR/VARIANT.graph.svg``.
    """

    def __init__(self, directory: str | Path | None):
        self._directory = Path(directory) if directory is not None else None
        if self._directory is not None:
            try:
                (self._directory / "executables").mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InvalidArgument(f"cannot make the dump folder {directory}: {error.strerror}") from None

    @property
    def enabled(self) -> bool:
        """Whether anything is written."""
        return self._directory is not None

    def phase(self, number: int, name: str, text: str) -> None:
        """Write a phase's MLIR."""
        if self._directory is not None:
            (self._directory / f"{number:02d}-{name}.mlir").write_text(text)

    def picture(self, name: str, text: str) -> None:
        """Write a picture of a variant: ``DIR/graph.svg``."""
        if self._directory is not None:
            (self._directory / name).write_text(text, "utf-8")

    def executable(self, name: str, files: Mapping[str, bytes]) -> None:
        """Write an executable's files, by suffix."""
        if self._directory is not None:
            for suffix, data in files.items():
                (self._directory / "executables" / f"{name}{suffix}").write_bytes(data)
