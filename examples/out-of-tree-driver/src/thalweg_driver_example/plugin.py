"""The hooks. Cheap: listing drivers imports neither NumPy nor the vendor's library; ``create`` does."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from thalweg.api import ConformanceProfileSpec, HalDriverSpec, hookimpl

if TYPE_CHECKING:
    from thalweg.hal.driver import Driver

NAME = "example"
SUMMARY = "a pretend card with memory of its own"

API_VERSION = (1, 0)
"""The plugin API that this package is written for: a number, not ``thalweg.api.API_VERSION``."""

CAPABILITIES = frozenset({"wait-idle"})
"""The optional features that the device has. The suite holds the driver to them, and to refusing others."""


def _create() -> Driver:
    from thalweg_driver_example.driver import ExampleDriver  # brings in NumPy and the vendor's library

    return ExampleDriver()


@hookimpl
def thalweg_hal_driver(name: str) -> HalDriverSpec | None:
    """Describe the driver."""
    if name != NAME:
        return None
    return HalDriverSpec(
        name=name, summary=SUMMARY, api_version=API_VERSION, capabilities=CAPABILITIES, create=_create
    )


@hookimpl
def thalweg_conformance_profile(name: str) -> ConformanceProfileSpec | None:
    """Tell the conformance suite which devices to test, and what does not apply to them."""
    if name != NAME:
        return None
    opt_outs = resources.files("thalweg_driver_example").joinpath("conformance.toml").read_text("utf-8")
    return ConformanceProfileSpec(
        name=name,
        summary=SUMMARY,
        api_version=API_VERSION,
        capabilities=CAPABILITIES,
        driver=NAME,
        device_uris=(f"{NAME}://0",),
        opt_outs=opt_outs,
    )
