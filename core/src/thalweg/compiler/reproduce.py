"""Translate the kernel of a reproducer file again, in this process: ``python -m thalweg.compiler.reproduce
FILE``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from thalweg.compiler.translation_worker import create_backend, decode_config, decode_source


def main() -> None:
    """Read the file, translate, and print the entry point and the size of the code."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    message = json.loads(Path(sys.argv[1]).read_text())
    backend = create_backend(message["backend"], message["options"])
    translated = backend.translate(decode_source(message["kernel"]), decode_config(message["config"]))
    print(f"{translated.entry.name}: {len(translated.payload)} bytes")


if __name__ == "__main__":
    main()
