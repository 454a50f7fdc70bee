"""ONNX models as an input format: a plugin of the group ``thalweg.inputs``.

Importing this package imports neither onnx nor xDSL; ``thalweg_input_onnx.importer`` does.
"""
