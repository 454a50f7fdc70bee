"""The executable loaders that are installed, by the formats they serve."""

from __future__ import annotations

from thalweg.errors import NotSupported, PluginError
from thalweg.hal.executable import ExecutableLoader
from thalweg.plugin.registry import Registry
from thalweg.plugin.specs import ExecutableLoaderSpec

GROUP = "thalweg.executable_loaders"

HOST_KERNELS = "host-kernels"
"""Capability of a loader whose kernels are Python callables: it brings in no machine code."""


class Loaders:
    """Finds loaders in a registry; plugins that cannot be imported are remembered in ``problems``."""

    def __init__(self, registry: Registry):
        self._registry = registry
        self._created: dict[str, ExecutableLoader] = {}
        self.problems: list[str] = []

    def spec(self, executable_format: str) -> ExecutableLoaderSpec | None:
        """Return the first loader, by name, that serves a format."""
        for name in self._registry.names(GROUP):
            try:
                spec = self._registry.executable_loader(name)
            except PluginError as error:
                self.problems.append(str(error))
                continue
            if executable_format in spec.formats:
                return spec
        return None

    def formats(self) -> list[str]:
        """Return every format that an installed loader serves."""
        formats: set[str] = set()
        for name in self._registry.names(GROUP):
            try:
                formats.update(self._registry.executable_loader(name).formats)
            except PluginError as error:
                self.problems.append(str(error))
        return sorted(formats)

    def loader(self, executable_format: str) -> ExecutableLoader:
        """Return the loader of a format.

        :raises NotSupported: none is installed; the message lists the formats that are served.
        """
        spec = self.spec(executable_format)
        if spec is None:
            reasons = "".join(f"; {problem}" for problem in dict.fromkeys(self.problems))
            raise NotSupported(
                "executable-format",
                f"no installed loader serves executables of format {executable_format!r}; served:"
                f" {', '.join(self.formats()) or 'none'}{reasons}",
            )
        if spec.name not in self._created:
            self._created[spec.name] = spec.create()
        return self._created[spec.name]

    def is_native(self, executable_format: str) -> bool:
        """Return whether a format is machine code: every format is that no host-kernel loader serves."""
        spec = self.spec(executable_format)
        return spec is None or HOST_KERNELS not in spec.capabilities
