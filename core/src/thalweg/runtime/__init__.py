"""Loads compiled modules onto devices and calls their functions.

Imports ``thalweg.hal``, ``module`` and ``plugin``; never ``ir``, ``compiler`` or ``codegen``: running a
module needs no compiler. Only the command line and the Python API may import this package.
"""

from thalweg.runtime.device_array import DeviceArray
from thalweg.runtime.function import NamedOutputs, ProgramFunction
from thalweg.runtime.loading import load
from thalweg.runtime.program import Program

__all__ = ["DeviceArray", "NamedOutputs", "Program", "ProgramFunction", "load"]
