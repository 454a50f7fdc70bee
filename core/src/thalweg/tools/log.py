"""Python logging as ``THALWEG_LOG`` asks for it."""

from __future__ import annotations

import logging

from thalweg.errors import InvalidArgument

LEVELS = ("debug", "info", "warning", "error", "critical")


def configure_logging(text: str) -> None:
    """Send log records to standard error.

    :param text: a level for all loggers (``debug``), or a comma list with levels of single ones
        (``warning,thalweg.runtime=debug``); empty for warnings, as plain lines.
    :raises InvalidArgument: no such level.
    """
    detailed = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(format=detailed if text else "thalweg: %(message)s")
    for item in filter(None, (part.strip() for part in text.split(","))):
        logger, _, level = item.rpartition("=")
        if level.lower() not in LEVELS:
            raise InvalidArgument(f"THALWEG_LOG has no level {level!r}; levels: {', '.join(LEVELS)}")
        logging.getLogger(logger or None).setLevel(level.upper())
