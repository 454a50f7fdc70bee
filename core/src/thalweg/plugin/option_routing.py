"""Send options given by keyword to the plugins of a compilation that declare them."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thalweg.errors import InvalidArgument, PluginError
from thalweg.plugin.options import OptionField, convert_option, option_fields
from thalweg.plugin.registry import Registry

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OptionOwner:
    """A plugin of a compilation and the options it declares."""

    name: str
    kind: str
    fields: tuple[OptionField, ...]


def option_owners(registry: Registry, target_backends: Iterable[str]) -> tuple[OptionOwner, ...]:
    """Return the target backends of a compilation, then every installed input format, with their options.

    An input format that cannot be loaded has none here, and is logged: the model may be of another format.
    :raises PluginError: a target backend cannot be loaded. :raises UnknownName: there is none of that name.
    """
    owners = [
        OptionOwner(name, "target backend", option_fields(registry.target_backend(name).options))
        for name in dict.fromkeys(target_backends)
    ]
    for name in registry.names("thalweg.inputs"):
        try:
            owners.append(OptionOwner(name, "input format", option_fields(registry.input(name).options)))
        except PluginError as error:
            _log.warning("%s", error)
    return tuple(owners)


def route_options(owners: Sequence[OptionOwner], values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return plugin name → field → value; a keyword that several plugins declare goes to each of them.

    :param values: by the flag's keyword (``target_cpu``) or the field's name; text is converted.
    :raises InvalidArgument: no plugin of this compilation has that option (names the nearest one), or the
        value does not fit.
    """
    routed: dict[str, dict[str, Any]] = {}
    for keyword, value in values.items():
        takers = [
            (owner, field)
            for owner in owners
            for field in owner.fields
            if keyword in (field.keyword, field.name)
        ]
        if not takers:
            raise InvalidArgument(_unknown(keyword, owners))
        for owner, field in takers:
            described = f"{owner.kind} {owner.name!r}"
            routed.setdefault(owner.name, {})[field.name] = convert_option(field, value, described)
    return routed


def _unknown(keyword: str, owners: Sequence[OptionOwner]) -> str:
    known = list(dict.fromkeys(field.keyword for owner in owners for field in owner.fields))
    nearest = difflib.get_close_matches(keyword, known, n=1)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    who = ", ".join(owner.name for owner in owners) or "no plugin"
    return (
        f"no option {keyword!r} for this compilation by {who}; there are: {', '.join(known) or 'none'}{hint}"
    )
