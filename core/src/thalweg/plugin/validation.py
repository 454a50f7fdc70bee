"""Check what a plugin's hook returned before anybody relies on it."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any, TypeGuard, cast

from thalweg.plugin.specs import (
    API_VERSION,
    ConformanceProfileSpec,
    ExecutableLoaderSpec,
    HalDriverSpec,
    InputSpec,
    PluginSpec,
    TargetBackendSpec,
)

SPEC_TYPES: dict[str, type[PluginSpec]] = {
    "thalweg.inputs": InputSpec,
    "thalweg.target_backends": TargetBackendSpec,
    "thalweg.hal_drivers": HalDriverSpec,
    "thalweg.executable_loaders": ExecutableLoaderSpec,
    "thalweg.conformance_profiles": ConformanceProfileSpec,
}
"""Entry-point group → the spec that its hook returns."""


class VersionMismatch(ValueError):
    """The spec asks for a plugin API that this core does not have."""


class InvalidSpec(ValueError):
    """The spec is not what its group asks for; the message says which field."""


def validate_spec(group: str, name: str, spec: Any) -> None:
    """Check that ``spec`` is a usable answer of ``group``'s hook for ``name``.

    :raises VersionMismatch: another major version, or a newer minor one, than this core's.
    :raises InvalidSpec: any other fault.
    """
    expected = SPEC_TYPES[group]
    if not isinstance(spec, expected):
        raise InvalidSpec(f"its hook returned {_describe(spec)}, not a {expected.__name__}")
    _validate_version(spec.api_version)
    if spec.name != name:
        raise InvalidSpec(f"its spec is named {spec.name!r}, not as its entry point")
    _validate_summary(spec.summary)
    if not _holds_texts(spec.capabilities, frozenset):
        raise InvalidSpec(f"capabilities must be a frozenset of slugs; found {spec.capabilities!r}")
    for field_name in ("probe", "create", "identity"):
        value = getattr(spec, field_name, None)
        if value is not None and not callable(value):
            raise InvalidSpec(f"{field_name} must be callable; found {_describe(value)}")
        if value is None and field_name in {f.name for f in dataclasses.fields(expected)}:
            raise InvalidSpec(f"{field_name} must be callable; found None")
    _validate_options(spec.options)
    if isinstance(spec, InputSpec):
        _validate_texts("suffixes", spec.suffixes, "a tuple of suffixes such as '.onnx'", prefix=".")
    if isinstance(spec, HalDriverSpec):
        kind: Any = spec.device_kind
        if not isinstance(kind, str):
            raise InvalidSpec(f"device_kind must be a slug; found {_describe(kind)}")
        if not _holds_texts(spec.executable_formats, tuple):
            raise InvalidSpec(
                f"executable_formats must be a tuple of slugs; found {spec.executable_formats!r}"
            )
    if isinstance(spec, ExecutableLoaderSpec):
        _validate_texts("formats", spec.formats, "a tuple of executable formats")


def _validate_summary(summary: Any) -> None:
    if not isinstance(summary, str) or not summary.strip() or "\n" in summary:
        raise InvalidSpec(f"summary must be one line of text; found {summary!r}")


def _validate_version(version: Any) -> None:
    if not _is_version(version):
        raise InvalidSpec(f"api_version must be (major, minor); found {version!r}")
    major, minor = version
    if major != API_VERSION[0] or minor > API_VERSION[1]:
        raise VersionMismatch(
            f"it was written for plugin API {major}.{minor};"
            f" this thalweg has {API_VERSION[0]}.{API_VERSION[1]}"
        )


def _validate_options(options: Any) -> None:
    if not isinstance(options, type) or not dataclasses.is_dataclass(options):
        raise InvalidSpec(f"options must be a dataclass; found {_describe(options)}")
    for option in dataclasses.fields(options):
        no_default = option.default is dataclasses.MISSING and option.default_factory is dataclasses.MISSING
        if option.init and no_default:
            raise InvalidSpec(f"option {option.name!r} of {options.__name__} has no default")
    try:
        typing.get_type_hints(options)
    except NameError as error:
        raise InvalidSpec(f"the annotations of {options.__name__} cannot be resolved: {error}") from error


def _validate_texts(field_name: str, value: Any, what: str, prefix: str = "") -> None:
    well_formed = _holds_texts(value, tuple) and all(item and item.startswith(prefix) for item in value)
    if not well_formed or not value:
        raise InvalidSpec(f"{field_name} must be {what}; found {value!r}")


def _holds_texts(value: Any, container: type) -> bool:
    if not isinstance(value, container):
        return False
    items: Iterable[Any] = value
    return all(isinstance(item, str) for item in items)


def _is_version(value: Any) -> TypeGuard[tuple[int, int]]:
    if not isinstance(value, tuple):
        return False
    parts = cast("tuple[Any, ...]", value)
    return len(parts) == 2 and all(isinstance(part, int) for part in parts)


def _describe(value: Any) -> str:
    return "None" if value is None else f"{value!r} of type {type(value).__name__}"
