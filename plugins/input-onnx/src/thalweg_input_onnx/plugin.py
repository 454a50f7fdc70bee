"""The entry point ``onnx`` of the group ``thalweg.inputs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.api import InputSpec, hookimpl

from thalweg_input_onnx.options import OnnxOptions

if TYPE_CHECKING:
    from thalweg_input_onnx.importer import OnnxImporter


def _create(options: OnnxOptions) -> OnnxImporter:
    from thalweg_input_onnx.importer import OnnxImporter  # brings in onnx and xDSL, which a listing must not

    return OnnxImporter(options)


@hookimpl
def thalweg_input(name: str) -> InputSpec | None:
    """Describe the ONNX importer."""
    if name != "onnx":
        return None
    return InputSpec(
        name="onnx",
        summary="ONNX models of static shapes, from a file or an onnx.ModelProto",
        options=OnnxOptions,
        suffixes=(".onnx",),
        create=_create,
    )
