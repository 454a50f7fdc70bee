"""The ONNX importer: from a model to the IR of phase ``input``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from thalweg.api import InvalidArgument
from thalweg.ir import Program
from thalweg.ir.importer import Importer

from thalweg_input_onnx.external_files import external_files
from thalweg_input_onnx.graph import import_graph
from thalweg_input_onnx.model_file import check_text, read_model
from thalweg_input_onnx.options import OnnxOptions


class OnnxImporter(Importer):
    """Imports ONNX models; dimensions without a size stay dynamic."""

    def __init__(self, options: OnnxOptions | None = None):
        self.options = options or OnnxOptions()

    def accepts(self, source: Any) -> bool:
        """Return whether ``source`` is an ``onnx.ModelProto``, bytes of one, or a path named ``*.onnx``."""
        if isinstance(source, onnx.ModelProto):
            return True
        if isinstance(source, bytes | bytearray | memoryview):
            return bytes(source[:1]) == b"\x08"  # field 1 (the IR version), a varint
        return isinstance(source, str | os.PathLike) and Path(source).suffix.lower() == ".onnx"

    def import_model(self, source: Path | Any) -> Program:
        """Import a model: a path, the bytes of a file, or an ``onnx.ModelProto``.

        :raises InvalidArgument: not a valid model.
        :raises CompileError: ops or forms that are not supported, all of them.
        """
        model = read_model(source)
        try:
            check_text(model.proto.graph)
            return import_graph(model, self.options.sizes())
        except UnicodeDecodeError:  # protobuf and onnx find that out wherever they first read the name
            raise InvalidArgument(
                f"{model.label} is not a valid ONNX model, or is damaged: a name in it is not UTF-8 text"
            ) from None

    def dependencies(self, source: Path) -> tuple[Path, ...]:
        """Return the files of external data that a model's file names."""
        return external_files(read_model(source))

    def content(self, source: Any) -> Sequence[bytes | memoryview]:
        """Return the bytes of an ``onnx.ModelProto``, or of a file in memory."""
        if isinstance(source, onnx.ModelProto):
            return [source.SerializeToString(deterministic=True)]
        return [memoryview(source)]
