"""Reading a model: a file, bytes or an ``onnx.ModelProto``; what is not a valid ONNX model is refused by
reason.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data
from thalweg.api import InvalidArgument


@dataclass(frozen=True)
class Model:
    """A parsed model, what to call it in messages, and where its external data lies."""

    proto: onnx.ModelProto
    label: str
    folder: Path | None = None

    def opset(self, domain: str) -> int | None:
        """Return the opset version that the model imports for ``domain``."""
        domain = "" if domain == "ai.onnx" else domain
        for entry in self.proto.opset_import:
            if ("" if entry.domain == "ai.onnx" else entry.domain) == domain:
                return entry.version
        return None

    def array(self, tensor: TensorProto) -> np.ndarray:
        """Return the elements of an initializer; external ones are mapped, not read.

        :raises InvalidArgument: external data that is missing, too short or outside the model's folder.
        """
        if not uses_external_data(tensor):
            return tensor_array(tensor, f"{self.label}: ")
        try:
            info = ExternalDataInfo(tensor)
        except ValueError as error:
            raise InvalidArgument(
                f"{self.label}: external data of initializer {tensor.name!r}: {error}"
            ) from None
        path = self._external_path(tensor, info.location)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        shape = tuple(tensor.dims)
        offset = info.offset or 0
        length = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        available = path.stat().st_size - offset
        if offset < 0 or available < length or (info.length is not None and info.length != length):
            raise InvalidArgument(
                f"{self.label}: initializer {tensor.name!r} needs {length} bytes of external data at offset "
                f"{offset} of {info.location!r}, which holds {max(available, 0)} there; "
                "the file is truncated or not this model's"
            )
        if length == 0:
            return np.zeros(shape, dtype)
        raw = np.memmap(path, np.uint8, "r", offset, (length,))
        return np.asarray(raw).view(dtype).reshape(shape)

    def _external_path(self, tensor: TensorProto, location: str) -> Path:
        if self.folder is None:
            raise InvalidArgument(
                f"{self.label}: initializer {tensor.name!r} is external data in {location!r}, and a model in "
                "memory has no folder; pass the path of the .onnx file, or call "
                "onnx.load_external_data_for_model first"
            )
        folder = self.folder.resolve()
        path = (folder / location).resolve()
        if not path.is_relative_to(folder):
            raise InvalidArgument(
                f"{self.label}: initializer {tensor.name!r} is external data in {location!r}, "
                "which is outside the model's folder"
            )
        if not path.is_file():
            raise InvalidArgument(
                f"{self.label}: initializer {tensor.name!r} is external data in {location!r}, "
                "which is not beside the model"
            )
        return path


def tensor_array(tensor: TensorProto, prefix: str = "") -> np.ndarray:
    """Return the elements of a tensor that holds its own data; ``prefix`` starts the message of an error.

    :raises InvalidArgument: the data do not fit the tensor's type and shape.
    """
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError):
        raise InvalidArgument(
            f"{prefix}the data of tensor {tensor.name!r} do not fit its type and shape {list(tensor.dims)}"
        ) from None


def read_model(source: Any) -> Model:
    """Read and parse a model; it is not checked yet.

    :param source: a path, the bytes of a file, or an ``onnx.ModelProto`` (which is not changed).
    :raises InvalidArgument: no such file, or not an ONNX model.
    """
    if isinstance(source, onnx.ModelProto):
        return Model(source, f"the model {source.graph.name!r}")
    if isinstance(source, bytes | bytearray | memoryview):
        return _parse(bytes(source), "the given bytes", None)
    if not isinstance(source, str | os.PathLike):
        raise InvalidArgument(
            f"cannot import a {type(source).__name__}; give a path, a file's bytes, or an onnx.ModelProto"
        )
    path = Path(source)
    if path.is_dir():
        raise InvalidArgument(f"{path} is a folder; give the path of an .onnx file")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InvalidArgument(f"no such file: {path}") from None
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {error.strerror}") from None
    return _parse(data, str(path), path.parent)


def _parse(data: bytes, label: str, folder: Path | None) -> Model:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        raise InvalidArgument(
            f"{label} is not an ONNX model, or is truncated: its {len(data)} bytes do not parse as one"
        ) from None
    if not proto.ir_version or not proto.HasField("graph") or not proto.opset_import:
        missing = [
            what
            for what, there in (
                ("IR version", proto.ir_version), ("graph", proto.HasField("graph")), ("opset",
                proto.opset_import) )
            if not there
        ]  # fmt: skip
        raise InvalidArgument(
            f"{label} is not an ONNX model, or is truncated: it has no {' and no '.join(missing)}"
        )
    return Model(proto, label, folder)


def check_text(graph: onnx.GraphProto) -> None:
    """Check that the names in a graph's nodes are text: protobuf gives bytes, or fails, where they are not.

    :raises UnicodeDecodeError: they are not UTF-8.
    """
    for node in graph.node:
        for text in (node.op_type, node.domain, node.name, *node.input, *node.output):
            if isinstance(text, bytes):
                text.decode()


def check_model(model: Model) -> None:
    """Check the model's form with onnx's checker and against what the installed onnx knows.

    :raises InvalidArgument: it is not valid; the message is the checker's first line.
    """
    if model.proto.ir_version > onnx.IR_VERSION:
        raise InvalidArgument(
            f"{model.label} uses IR version {model.proto.ir_version}; the installed onnx {onnx.__version__} "
            f"knows versions up to {onnx.IR_VERSION}: upgrade onnx"
        )
    known = onnx.defs.onnx_opset_version()
    opset = model.opset("")
    if opset is not None and opset > known:
        raise InvalidArgument(
            f"{model.label} uses opset {opset}; the installed onnx {onnx.__version__} knows opsets up to "
            f"{known}: upgrade onnx, or convert the model with onnx.version_converter"
        )
    # a model with external data is checked without it: the mapping of each initializer checks its extent
    light = without_large_initializers(model.proto)
    for output in light.graph.output:  # the checker wants their types; the importer infers them
        if output.type.WhichOneof("value") in (None, "tensor_type"):
            tensor = output.type.tensor_type
            tensor.elem_type = tensor.elem_type or TensorProto.FLOAT
            tensor.shape.SetInParent()
    try:
        onnx.checker.check_model(light)
    except UnicodeDecodeError:
        raise
    except (onnx.checker.ValidationError, ValueError) as error:  # ValueError: it cannot parse the model again
        reason = " ".join(str(error).split("\n\n")[0].split())
        raise InvalidArgument(f"{model.label} is not a valid ONNX model: {reason}") from None


LARGE = 1024
"""Initializers of more elements than this are kept out of onnx's own passes, which would copy them."""


def without_large_initializers(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which large and external initializers are graph inputs of the same type."""
    light = onnx.ModelProto()
    for field, value in proto.ListFields():
        if field.name == "graph":
            continue
        target = getattr(light, field.name)
        if field.is_repeated:
            target.extend(value)
        elif field.message_type is not None:
            target.CopyFrom(value)
        else:
            setattr(light, field.name, value)
    source, graph = proto.graph, light.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    graph.sparse_initializer.extend(source.sparse_initializer)
    inputs = {info.name for info in source.input}
    for tensor in source.initializer:
        if not uses_external_data(tensor) and int(np.prod(tensor.dims, dtype=np.int64)) <= LARGE:
            graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return light
