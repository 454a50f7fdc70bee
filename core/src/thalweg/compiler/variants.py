"""Which whole-program variants a compilation makes: one for each target backend and value of its options that
make variants, best first.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np

from thalweg.compiler.pipeline import BackendJob
from thalweg.errors import InvalidArgument
from thalweg.module.module import Variant
from thalweg.plugin.options import convert_option, option_fields
from thalweg.plugin.registry import Registry

_log = logging.getLogger(__name__)


def variant_jobs(
    names: Iterable[str], options: Mapping[str, Mapping[str, Any]], registry: Registry
) -> list[BackendJob]:
    """Return the variants to make, in the order in which a loader asks whether a device meets them.

    Backends keep the order in which they are named. Of one backend, a variant that asks for more features of
    the device comes first: one that asks for fewer would be taken everywhere in its place.

    :raises UnknownName: no such backend. :raises InvalidArgument: an option or its value is not known.
    """
    jobs: list[BackendJob] = []
    for name in dict.fromkeys(names):
        jobs += sorted(_backend_jobs(name, options.get(name, {}), registry), key=_by_demand)
    return _reachable(jobs)


def _backend_jobs(name: str, given: Mapping[str, Any], registry: Registry) -> list[BackendJob]:
    spec = registry.target_backend(name)
    jobs: list[BackendJob] = []
    for label, values in _combinations(name, spec.options, given):
        backend = spec.create(spec.options(**values))
        variant = f"{name}-{label}" if label else name
        jobs.append(BackendJob(name, backend, backend.configuration(), values, spec.isolated, variant))
    return jobs


def _combinations(name: str, kind: type, given: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return (what tells it from the others, options) for each variant."""
    known = {field.name: field for field in option_fields(kind)}
    choices: dict[str, tuple[Any, ...]] = {}
    for key, value in given.items():
        if key not in known:
            raise InvalidArgument(f"{name} has no option {key!r}; it has: {', '.join(known) or 'none'}")
        if known[key].makes_variants:
            value = convert_option(known[key], value, f"target backend {name!r}")
            choices[key] = value if isinstance(value, tuple) else (value,)
    several = [key for key, values in choices.items() if len(values) > 1]
    combinations: list[tuple[str, dict[str, Any]]] = []
    for values in itertools.product(*choices.values()):
        chosen = dict(zip(choices, values))
        label = "-".join(str(chosen[key]) for key in several)
        combinations.append((label, {**given, **chosen}))
    return combinations


def _requirements(job: BackendJob) -> frozenset[tuple[str, str]]:
    return frozenset(
        (name, str(key))
        for name, wanted in job.config.predicate.items()
        for key in (wanted if isinstance(wanted, list | tuple) else (wanted,))
    )


def _by_demand(job: BackendJob) -> int:
    return -len(_requirements(job))


def _reachable(jobs: Sequence[BackendJob]) -> list[BackendJob]:
    """Leave out, with a warning, what no device would take because one before it fits there too."""
    kept: list[BackendJob] = []
    for job in jobs:
        earlier = next(
            (
                other
                for other in kept
                if other.config.inline == job.config.inline and _requirements(other) <= _requirements(job)
            ),
            None,
        )
        if earlier is None:
            kept.append(job)
        else:
            _log.warning(
                "variant %r is left out: every device that it fits takes variant %r, which stands before it",
                job.variant,
                earlier.variant,
            )
    return kept


class ConstantTable:
    """The constants of a module, each content once, whichever variants use it."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._keys: dict[Any, str] = {}

    def add(self, variant: Variant, resources: Mapping[str, np.ndarray]) -> Variant:
        """Take the variant's constants in, and return it with their keys here.

        Equal arrays (dtype, shape and bytes) share the key of the first.
        """
        return replace(
            variant,
            constants=tuple(self._key(variant.name, name, resources[name]) for name in variant.constants),
        )

    def _key(self, variant: str, name: str, array: np.ndarray) -> str:
        content = np.ascontiguousarray(array)
        identity = (str(array.dtype), array.shape, sha256(content.reshape(-1).view(np.uint8).data).digest())
        key = self._keys.setdefault(identity, f"{variant}/{name}")
        self.arrays.setdefault(key, array)
        return key
