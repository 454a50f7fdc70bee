"""Load one plugin: import it, call its hook through pluggy, check the answer. Each failure names it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import pluggy

from thalweg.errors import PluginError, ThalwegError
from thalweg.plugin import hookspecs
from thalweg.plugin.entry_points import PluginEntry
from thalweg.plugin.hookspecs import GROUPS
from thalweg.plugin.specs import PluginSpec
from thalweg.plugin.validation import InvalidSpec, VersionMismatch, validate_spec


def load_spec(entry: PluginEntry) -> PluginSpec:
    """Return the checked spec that the plugin's hook gives for ``entry``.

    :raises PluginError: it fails to import, to validate, or to match the API version; the message names its
        distribution, version and entry point.
    """
    try:
        holder = entry.load()
    except Exception as error:
        raise PluginError(f"{entry.describe()} cannot be imported: {_reason(error)}") from error
    hook_name = GROUPS[entry.group]
    try:
        hook = _hook(holder, hook_name)
        spec: Any = hook(name=entry.name)
        validate_spec(entry.group, entry.name, spec)
    except VersionMismatch as error:
        raise PluginError(f"{entry.describe()} does not fit: {error}") from error
    except (InvalidSpec, pluggy.PluginValidationError) as error:
        raise PluginError(f"{entry.describe()} is not valid: {_one_line(error)}") from error
    except Exception as error:
        raise PluginError(f"{entry.describe()} failed in its hook {hook_name}: {_reason(error)}") from error
    return cast(PluginSpec, spec)


@contextmanager
def blaming(entry: PluginEntry, action: str) -> Generator[None, None, None]:
    """Turn an exception of a plugin's code that is not a ``ThalwegError`` into a ``PluginError`` naming it.

    :param action: what the plugin failed to do, as ``failed to start``.
    """
    try:
        yield
    except ThalwegError:
        raise
    except Exception as error:
        raise PluginError(f"{entry.describe()} {action}: {_reason(error)}") from error


def _hook(holder: object, hook_name: str) -> pluggy.HookCaller:
    # One manager for each plugin, so that no other plugin can answer, or break, this one's hook.
    hooks = pluggy.PluginManager("thalweg")
    hooks.add_hookspecs(hookspecs)
    hooks.register(holder)
    hooks.check_pending()
    hook: pluggy.HookCaller = getattr(hooks.hook, hook_name)
    if not hook.get_hookimpls():
        raise InvalidSpec(f"it implements no hook {hook_name}(name)")
    return hook


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
