"""``thalweg cache``: what the compile cache holds, and how to empty it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence

from thalweg.compiler.cache_folder import cache_directory, cache_size_limit
from thalweg.compiler.cache_store import CacheStore


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Add the options of ``thalweg cache``."""
    parser.add_argument("--clear", action="store_true", help="delete everything that it holds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print what there is, after emptying the cache if asked."""
    store = CacheStore(cache_directory(), cache_size_limit())
    if options.clear:
        store.clear()
    usage = store.usage()
    if options.json:
        print(json.dumps({"folder": str(store.folder), "limit": store.limit, **dataclasses.asdict(usage)}))
    else:
        print(
            f"{store.folder}: {usage.modules} modules of {usage.entries} compilations,"
            f" {usage.bytes:,} bytes of {store.limit:,}"
        )
    return 0
