"""Parameter files: constants that stand outside a module, found by scope and name.

Reads safetensors, gguf and irpa, writes safetensors and irpa. Imports ``errors``, ``dtypes``, ``module`` and
NumPy: no compiler, no HAL, no library of a format. See ``docs/reference/parameters.md``.
"""

from thalweg.parameters.binding import bind_parameters
from thalweg.parameters.file import ParameterFile, StoredTensor
from thalweg.parameters.index import ParameterIndex, ParameterSource
from thalweg.parameters.opening import open_parameter_file, open_parameters, parse_parameter_option
from thalweg.parameters.outside import move_outside
from thalweg.parameters.writing import write_parameters, writer_for

__all__ = [
    "ParameterFile",
    "ParameterIndex",
    "ParameterSource",
    "StoredTensor",
    "bind_parameters",
    "move_outside",
    "open_parameter_file",
    "open_parameters",
    "parse_parameter_option",
    "write_parameters",
    "writer_for",
]
