"""The options of the ONNX importer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from thalweg.api import InvalidArgument


@dataclass(frozen=True)
class OnnxOptions:
    """``dims``: sizes for dynamic dimensions, each ``NAME=VALUE``, or ``INPUT:AXIS=VALUE`` for one without a
    name; the value may also be another dimension, whose size this one then has.
    """

    dims: tuple[str, ...] = field(
        default=(),
        metadata={
            "flag": "--onnx-dim",
            "help": "size of a dynamic dimension, by its name, or as INPUT:AXIS=VALUE where it has none; "
            "dimensions without a size stay dynamic; VALUE may name another dimension that is always equal",
            "metavar": "NAME=VALUE",
            "repeated": True,
        },
    )

    def sizes(self) -> dict[str, int | str]:
        """Return name → size, or the name of the dimension that gives it.

        :raises InvalidArgument: for an entry that is not ``NAME=VALUE``, or a number below 1.
        """
        entries = (self.dims,) if isinstance(self.dims, str) else self.dims
        sizes: dict[str, int | str] = {}
        for entry in (part.strip() for text in entries for part in text.split(",")):
            name, separator, value = entry.rpartition("=")
            number = re.fullmatch(r"[-+]?\d+", value)
            if not (separator and name and value) or (number and int(value) < 1):
                raise InvalidArgument(
                    f"--onnx-dim got {entry!r}; it takes NAME=VALUE with a positive integer, such as "
                    "batch=1, or another dimension's name"
                )
            sizes[name] = int(value) if number else value
        return sizes
