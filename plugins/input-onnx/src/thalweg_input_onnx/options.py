"""The options of the ONNX importer."""

from __future__ import annotations

from dataclasses import dataclass, field

from thalweg.api import InvalidArgument


@dataclass(frozen=True)
class OnnxOptions:
    """``dims``: sizes for dynamic dimensions, each ``NAME=VALUE``, or ``INPUT:AXIS=VALUE`` for one without a
    name.
    """

    dims: tuple[str, ...] = field(
        default=(),
        metadata={
            "flag": "--onnx-dim",
            "help": "size of a dynamic dimension, by its name, or as INPUT:AXIS=VALUE where it has none",
            "metavar": "NAME=VALUE",
            "repeated": True,
        },
    )

    def sizes(self) -> dict[str, int]:
        """Return name → size.

        :raises InvalidArgument: for an entry that is not ``NAME=VALUE`` with a positive integer.
        """
        entries = (self.dims,) if isinstance(self.dims, str) else self.dims
        sizes: dict[str, int] = {}
        for entry in (part.strip() for text in entries for part in text.split(",")):
            name, separator, value = entry.rpartition("=")
            if not (separator and name and value.isdecimal() and int(value) > 0):
                raise InvalidArgument(
                    f"--onnx-dim got {entry!r}; it takes NAME=VALUE with a positive integer, such as batch=1"
                )
            sizes[name] = int(value)
        return sizes
