"""What a plugin imports: hooks, specs, errors and the contracts of each kind of plugin.

A plugin imports this module, and ``thalweg.hal``, ``thalweg.ir`` and ``thalweg.codegen`` for what its kind
works on. Importing this one is cheap: no NumPy, no xDSL.

The smallest plugin is a module with one hook::

    from thalweg.api import HalDriverSpec, hookimpl

    @hookimpl
    def thalweg_hal_driver(name):
        return HalDriverSpec(name="mine", summary="My device", api_version=(1, 0), create=create_driver)

and an entry point in its ``pyproject.toml``::

    [project.entry-points."thalweg.hal_drivers"]
    mine = "my_package"
"""

from thalweg.errors import (
    Aborted,
    CompileError,
    DeadlineExceeded,
    InvalidArgument,
    ModuleFormatError,
    NotSupported,
    OutOfRange,
    PermissionDenied,
    PluginError,
    ResourceExhausted,
    ThalwegError,
    Unavailable,
    UnknownName,
)
from thalweg.plugin.device_uri import DeviceUri
from thalweg.plugin.hookspecs import GROUPS, hookimpl
from thalweg.plugin.registry import Registry
from thalweg.plugin.specs import (
    API_VERSION,
    AVAILABLE,
    Availability,
    ConformanceProfileSpec,
    ExecutableLoaderSpec,
    HalDriverSpec,
    InputSpec,
    NoOptions,
    PluginSpec,
    TargetBackendSpec,
    always_available,
)

__all__ = [
    "API_VERSION",
    "AVAILABLE",
    "GROUPS",
    "Aborted",
    "Availability",
    "CompileError",
    "ConformanceProfileSpec",
    "DeadlineExceeded",
    "DeviceUri",
    "ExecutableLoaderSpec",
    "HalDriverSpec",
    "InputSpec",
    "InvalidArgument",
    "ModuleFormatError",
    "NoOptions",
    "NotSupported",
    "OutOfRange",
    "PermissionDenied",
    "PluginError",
    "PluginSpec",
    "Registry",
    "ResourceExhausted",
    "TargetBackendSpec",
    "ThalwegError",
    "Unavailable",
    "UnknownName",
    "always_available",
    "hookimpl",
]
