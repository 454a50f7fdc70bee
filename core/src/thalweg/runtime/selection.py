"""Which variant of a module a device takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from thalweg.errors import NotSupported, PermissionDenied
from thalweg.hal.driver import Device
from thalweg.module.module import Module, Variant
from thalweg.runtime.loaders import Loaders

Query = Callable[[str, str], bool]
"""(category, key) → whether the device has it, as ``Device.query``."""

KIND, FORMAT, FEATURE = "hal.device.kind", "hal.executable.format", "hal.device.feature"


def select_variant(
    module: Module, device: Device | None, loaders: Loaders, allow_native: bool = True
) -> Variant:
    """Return the first variant whose predicate is met: by ``device``; for an inline variant, by its loader.

    :param allow_native: ``False`` passes over variants that hold machine code.
    :raises NotSupported: none is; the message says what the module holds, what the device offers and which
        predicate failed.
    :raises PermissionDenied: only variants of machine code would fit, and it is refused.
    """
    failures: list[str] = []
    refused: str | None = None
    for variant in module.variants:
        failure = _failure(variant, _query(variant, device, loaders))
        if failure is None and not allow_native:
            failure = _native(variant, loaders)
            if failure is not None and refused is None:
                refused = f"variant {variant.name!r}: {failure}"
        if failure is None:
            return variant
        failures.append(f"variant {variant.name!r} ({variant.backend}) {failure}")
    if refused is not None:
        raise PermissionDenied(f"module {module.name!r}, {refused}; compile it for a portable target")
    name = device.identifier if device is not None else "the host"
    raise NotSupported(
        "variant",
        f"module {module.name!r} has no variant for {name}: {'; '.join(failures)}; {name} offers"
        f" {_offers(module, device, loaders)}; compile the model for it",
    )


def _native(variant: Variant, loaders: Loaders) -> str | None:
    """Return which executable of the variant is machine code, if one is."""
    for executable in variant.executables:
        if loaders.is_native(executable.format):
            return (
                f"executable {executable.name!r} is machine code ({executable.format}) and allow_native=False"
            )
    return None


def _query(variant: Variant, device: Device | None, loaders: Loaders) -> Query:
    if variant.inline:
        return lambda category, key: _inline_has(variant, loaders, category, key)
    if device is None:
        return lambda category, key: False
    return lambda category, key: bool(device.query(category, key))


def _inline_has(variant: Variant, loaders: Loaders, category: str, key: str) -> bool:
    """An inline variant runs in the host, whatever the device: only its loader matters."""
    if category == KIND:
        return key == "local"
    if category == FORMAT:
        return loaders.spec(key) is not None
    formats = {record.format for record in variant.executables}
    return all(key in loaders.loader(name).machine_features() for name in formats)


def _failure(variant: Variant, has: Query) -> str | None:
    for name, wanted in variant.predicate.items():
        category = _CATEGORIES.get(name)
        if category is None:
            return f"has a predicate {name!r} that this Thalweg does not know"
        missing = [str(key) for key in _keys(wanted) if not has(category, str(key))]
        if missing:
            return f"needs {_WORDS[name]} {', '.join(missing)}"
    return None


_CATEGORIES = {"device_kind": KIND, "executable_format": FORMAT, "features": FEATURE}
_WORDS = {"device_kind": "device kind", "executable_format": "executable format", "features": "features"}


def _keys(wanted: Any) -> Iterable[Any]:
    return wanted if isinstance(wanted, (list, tuple)) else (wanted,)


def _offers(module: Module, device: Device | None, loaders: Loaders) -> str:
    """Say what the device answers yes to, of all that the module asks and the loaders serve."""
    if device is None:
        return f"formats {_listed(loaders.formats())}"
    asked: dict[str, set[str]] = {name: set() for name in _CATEGORIES}
    for variant in module.variants:
        for name, wanted in variant.predicate.items():
            asked.setdefault(name, set()).update(map(str, _keys(wanted)))
    asked["device_kind"].add("local")
    asked["executable_format"].update(loaders.formats())
    has = {
        name: [key for key in sorted(asked[name]) if device.query(_CATEGORIES[name], key)]
        for name in _CATEGORIES
    }
    return (
        f"kind {_listed(has['device_kind'])}, formats {_listed(has['executable_format'])},"
        f" of these features {_listed(has['features'])}"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
