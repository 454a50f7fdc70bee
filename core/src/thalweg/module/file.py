"""The module file (``.twm``): write and read it. See ``docs/reference/module-format.md`` for the format."""

from thalweg.module.manifest import FORMAT_VERSION
from thalweg.module.reader import read_module
from thalweg.module.writer import module_bytes, write_module

__all__ = ["FORMAT_VERSION", "module_bytes", "read_module", "write_module"]
