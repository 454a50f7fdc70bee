"""The kernel C ABI's numbers, as ``include/thalweg_kernel.h`` has them: field offsets in bytes and status
values.
"""

from __future__ import annotations

from importlib.resources import files

KERNEL_ABI_VERSION = 1

DISPATCH_BINDINGS = 0
DISPATCH_CONSTANTS = 8
DISPATCH_WORKGROUP_COUNT = 16
DISPATCH_SIZE = 40

WORKGROUP_ID = 0
WORKGROUP_LOCAL_MEMORY = 16
WORKGROUP_SIZE = 32

STATUS_OK = 0
STATUS_INDEX_OUT_OF_RANGE = 1
STATUS_DATA_ERROR = 2

STATUS_MESSAGES = {
    STATUS_INDEX_OUT_OF_RANGE: "an index is out of range",
    STATUS_DATA_ERROR: "a value is not allowed",
}


def header_directory() -> str:
    """Return the folder of ``thalweg_kernel.h``."""
    return str(files("thalweg.hal").joinpath("include"))
