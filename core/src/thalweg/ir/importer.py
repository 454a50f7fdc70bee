"""What an input plugin implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.ir import Program


class Importer(ABC):
    """Turns models of one format into the IR of phase ``input``."""

    @abstractmethod
    def accepts(self, source: Any) -> bool:
        """Return whether ``source`` (a path or an object in memory, such as ``onnx.ModelProto``) is of this
        format.

        Looks at the type, suffix and first bytes only.
        """

    @abstractmethod
    def import_model(self, source: Path | Any) -> Program:
        """Import a model.

        :returns: a program whose functions work on tensors, constants held as resources.
        :raises InvalidArgument: not a valid model; says what is wrong with the file.
        :raises CompileError: ops that are not supported: all of them, each with node name, op, domain, opset
            and what
            would help.
        """

    def dependencies(self, source: Path) -> tuple[Path, ...] | None:
        """Return the files that the model in ``source`` is made of beside it: weights kept apart.

        :returns: ``None``, the default: not known. The compile cache keeps nothing of such a model, for it
            could not tell when one of the files changes.
        """
        return None

    def content(self, source: Any) -> Sequence[bytes | memoryview] | None:
        """Return the bytes that determine a model in memory: equal bytes, equal programs.

        :returns: ``None``, the default: nothing does. The compile cache keeps nothing of such a model.
        """
        return None
