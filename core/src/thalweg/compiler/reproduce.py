"""Translate the kernel of a reproducer file again, in this process: ``python -m thalweg.compiler.reproduce
FILE``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from thalweg.codegen.target import TranslatedKernel
from thalweg.compiler.translation_worker import create_backend, decode_config, decode_source
from thalweg.errors import InvalidArgument, ThalwegError


def reproduce(path: str) -> TranslatedKernel:
    """Translate the kernel of a reproducer file.

    :raises InvalidArgument: there is no such file, or it holds something else.
    """
    try:
        message = json.loads(Path(path).read_text("utf-8"))
        source, config = decode_source(message["kernel"]), decode_config(message["config"])
        name, options = message["backend"], message["options"]
    except FileNotFoundError:
        raise InvalidArgument(f"no such file: {path}") from None
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise InvalidArgument(f"{path} is not a reproducer of `thalweg compile`") from None
    return create_backend(name, options).translate(source, config)


def main() -> None:
    """Read the file, translate, and print the entry point and the size of the code."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        translated = reproduce(sys.argv[1])
    except ThalwegError as error:
        sys.exit(f"thalweg: error: {error}")
    print(f"{translated.entry.name}: {len(translated.payload)} bytes")


if __name__ == "__main__":
    main()
