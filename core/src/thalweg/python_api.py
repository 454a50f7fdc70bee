"""What ``import thalweg`` offers: list plugins, compile a model, load a module, create a device.

Each function takes ``registry=``; without one it looks at what is installed now.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, overload

from thalweg.errors import NotSupported, Unavailable
from thalweg.plugin.option_routing import option_owners, route_options
from thalweg.plugin.registry import Registry

if TYPE_CHECKING:
    from thalweg.compiler.api import CompileResult
    from thalweg.hal.driver import Device, Driver
    from thalweg.module.module import Module
    from thalweg.parameters import ParameterSource

ProgressCallback = Callable[[str, float, str], None]
"""Called with the phase's name, the fraction done (0…1) and a detail for people."""


class InstalledDriver:
    """A HAL driver as scripts use it: devices are plain dicts. ``driver`` is the plugin's own object."""

    def __init__(self, name: str, driver: Driver):
        self.name = name
        self.driver = driver

    def query_available_devices(self) -> list[dict[str, object]]:
        """Return the devices there are now: ``[{'device_id': 0, 'path': '', 'name': 'default'}]``."""
        return [info.as_dict() for info in self.driver.query_available_devices()]

    def create_device(self, path: str = "", params: Mapping[str, str] | None = None) -> Device:
        """Create the device at ``path`` (empty: the driver's choice); see ``thalweg.hal.driver.Driver``."""
        return self.driver.create_device(path, params)

    def dump_device_info(self, path: str = "") -> dict[str, object]:
        """Return what there is to know of a device, as key → value, for people."""
        return self.driver.dump_device_info(path)

    def __repr__(self) -> str:
        return f"<HAL driver {self.name!r}>"


def query_available_targets(*, registry: Registry | None = None) -> list[str]:
    """Return the names of the installed target backends, sorted; imports none of them."""
    return _registry(registry).names("thalweg.target_backends")


def query_available_drivers(*, registry: Registry | None = None) -> list[str]:
    """Return the names of the installed HAL drivers, sorted; imports none of them."""
    return _registry(registry).names("thalweg.hal_drivers")


def get_driver(name: str, *, registry: Registry | None = None) -> InstalledDriver:
    """Return the HAL driver ``name``.

    :raises UnknownName: it is not installed; the message lists what is.
    :raises Unavailable: it cannot work on this machine.
    :raises PluginError: it is installed but broken.
    """
    return InstalledDriver(name, _registry(registry).driver(name))


def create_device(uri: str, *, registry: Registry | None = None) -> Device:
    """Create the device that ``uri`` names, as ``local-task``, ``local-task://?threads=4``,
    ``vulkan://GPU-1``.

    :raises InvalidArgument: the URI or a parameter is malformed. :raises UnknownName: no such driver or path.
    :raises Unavailable: it cannot be used on this machine.
    """
    return _registry(registry).create_device(uri)


@overload
def compile(
    model: str | os.PathLike[str] | Any,
    target_backends: Sequence[str] = (),
    *,
    opt_level: str = "O2",
    compile_to: Literal["end"] = "end",
    dump_dir: str | os.PathLike[str] | None = None,
    cache: bool | None = None,
    parameters: ParameterSource = None,
    parameters_out: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
    registry: Registry | None = None,
    **options: Any,
) -> Module: ...
@overload
def compile(
    model: str | os.PathLike[str] | Any,
    target_backends: Sequence[str] = (),
    *,
    opt_level: str = "O2",
    compile_to: str,
    dump_dir: str | os.PathLike[str] | None = None,
    cache: bool | None = None,
    parameters: ParameterSource = None,
    parameters_out: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
    registry: Registry | None = None,
    **options: Any,
) -> Module | str: ...
def compile(
    model: str | os.PathLike[str] | Any,
    target_backends: Sequence[str] = (),
    *,
    opt_level: str = "O2",
    compile_to: str = "end",
    dump_dir: str | os.PathLike[str] | None = None,
    cache: bool | None = None,
    parameters: ParameterSource = None,
    parameters_out: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
    registry: Registry | None = None,
    **options: Any,
) -> Module | str:
    """Compile a model into a module, or into MLIR text with ``compile_to``.

    :param model: a path, or a model in memory (``onnx.ModelProto``).
    :param target_backends: one whole-program variant each, the preferred first; by default the installed one
        that the data file ``known_plugins.toml`` prefers, or the only one.
    :param cache: whether the module is taken from the compile cache, and kept there. By default a model's
        file is, a model in memory is not. What stops before ``end`` or is dumped is always compiled.
    :param parameters: parameter files, as for ``load``: constants that they hold are left outside the module.
    :param parameters_out: ``[SCOPE=]FILE`` (``.safetensors``, ``.irpa``): the other constants are written
        there and left outside the module. See ``docs/reference/parameters.md``.
    :param options: options of the plugins, by keyword: ``target_cpu="host"``. An option that makes variants
        takes several values: ``target_cpu=["x86-64-v3", "x86-64-v4"]``.
    :returns: the module; the MLIR text if ``compile_to`` is a phase before ``end``.
    :raises InvalidArgument: the model or an option is not valid. :raises CompileError: it cannot be compiled.
    """
    registry = _registry(registry)
    if isinstance(target_backends, str):
        target_backends = [name.strip() for name in target_backends.split(",") if name.strip()]
    backends = list(target_backends) or [registry.preferred("thalweg.target_backends")]
    routed = route_options(option_owners(registry, backends), options) if options else {}
    source = Path(model) if isinstance(model, str | os.PathLike) else model
    settings = {"target_backends": backends, "options": routed, "opt_level": opt_level}
    outside = None
    if parameters is not None or parameters_out is not None:
        from thalweg.parameters.outside import OutsideParameters  # imports NumPy

        outside = OutsideParameters(parameters, parameters_out, compile_to)
    wanted = isinstance(source, Path) if cache is None else cache
    if wanted and compile_to == "end" and dump_dir is None:
        module = _compile_cached(source, settings, progress, registry)
        return outside.move(module) if outside else module
    result = import_compiler().compile_model(
        source,
        compile_to=compile_to,
        dump_dir=Path(dump_dir) if dump_dir is not None else None,
        progress=progress,
        registry=registry,
        **settings,
    )
    if compile_to != "end":
        return result.text
    return outside.move(result.module) if outside else result.module


def _compile_cached(
    source: Any, settings: Mapping[str, Any], progress: ProgressCallback | None, registry: Registry
) -> Module:
    """Return the module from the compile cache, or compile it and keep it there."""
    from thalweg.compiler.cache import CachedCompilation, content_source, file_source, open_store
    from thalweg.module.file import read_module, write_module  # imports NumPy

    store, compilation = open_store(), None
    if isinstance(source, Path):
        compilation = CachedCompilation.of(store, registry, file_source(source), settings)
    elif (found := import_compiler().model_content(source, settings["options"], registry)) is not None:
        compilation = CachedCompilation.of(store, registry, content_source(*found), settings)
    if compilation is not None and (stored := compilation.find()) is not None:
        return read_module(stored.content)
    compiler = import_compiler()
    start = time.perf_counter()
    result = compiler.compile_model(source, progress=progress, registry=registry, **settings)
    if compilation is not None:
        seconds = time.perf_counter() - start
        dependencies: Sequence[Path] | None = ()
        if isinstance(source, Path):
            dependencies = compiler.model_dependencies(source, settings["options"], registry)
        report = compile_report(str(source) if isinstance(source, Path) else "", settings, result, seconds)
        compilation.keep(lambda path: write_module(result.module, path), report, dependencies)
    return result.module


def compile_report(
    model: str, settings: Mapping[str, Any], result: CompileResult, seconds: float
) -> dict[str, Any]:
    """Return what is kept of how a module was compiled, as JSON values; ``thalweg inspect`` shows it.

    :param model: the model's path; empty for one in memory.
    :param seconds: how long the compilation took.
    """
    assert result.module is not None, "the compilation stopped before its end"
    return {
        "model": model,
        "target_backends": list(settings["target_backends"]),
        "opt_level": settings["opt_level"],
        "producer": result.module.producer,
        "phase_seconds": result.phase_seconds,
        "total_seconds": seconds,
    }


def import_compiler() -> ModuleType:
    """Return the module ``thalweg.compiler.api``, which a program that only runs modules does not need.

    :raises Unavailable: its dependency is not installed.
    """
    if importlib.util.find_spec("xdsl") is None:
        raise Unavailable(
            "compiling needs the package xdsl, which is not installed; pip install 'thalweg[compiler]'"
        )
    return importlib.import_module("thalweg.compiler.api")


def load(
    module: Module | str | os.PathLike[str],
    device: str | Device | None = None,
    *,
    parameters: ParameterSource = None,
    registry: Registry | None = None,
    **settings: Any,
) -> Any:
    """Load a compiled module onto a device; the program returned has its functions as methods (``main``).

    :param module: what ``compile`` returned, or the path of a module file.
    :param device: a URI or a device; by default the installed driver that ``known_plugins.toml`` prefers;
        without any, variants that run inline in the host.
    :param parameters: where constants are that the module keeps outside: ``[SCOPE=]FILE``, a path, several,
        a mapping from scopes to paths, or what ``thalweg.parameters.open_parameters`` returned.
    :param settings: ``verify`` and ``allow_native``; see ``thalweg.runtime.load``.
    :raises ModuleFormatError: the file is damaged, truncated or too new.
    :raises ParameterError: a parameter is missing or not what the module asks for.
    """
    from thalweg.runtime import load as load_program  # imports NumPy

    registry = _registry(registry)
    if device is None and registry.names("thalweg.hal_drivers"):
        device = registry.preferred("thalweg.hal_drivers")
    try:
        return load_program(module, device=device, parameters=parameters, registry=registry, **settings)
    except NotSupported:
        if device is None:  # without a driver only inline variants run; say what to install for the others
            registry.preferred("thalweg.hal_drivers")
        raise


def _registry(registry: Registry | None) -> Registry:
    return Registry.from_environment() if registry is None else registry
