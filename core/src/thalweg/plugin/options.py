"""Options of a plugin: a dataclass's fields as command-line options, and values checked against them.

A field's metadata may hold ``help``, ``flag`` (``--target-cpu``; by default the field's name with dashes),
``choices``, ``metavar`` and ``variants`` (of a target backend: several values make one variant each). Its
type is ``str``, ``int``, ``float``, ``bool``, ``Path``, an ``Enum``, a ``Literal``, a tuple of one of them
(``tuple[str, ...]``: repeatable, and each a comma list), or one of these ``| None``.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.errors import InvalidArgument


@dataclass(frozen=True)
class OptionField:
    """One option: its field's name, its flag, and what a value may be."""

    name: str
    flag: str
    help: str
    annotation: Any
    default: Any
    choices: tuple[Any, ...] = ()
    metavar: str = ""
    makes_variants: bool = False
    """Whether several values may be given, each for a variant of its own."""

    @property
    def keyword(self) -> str:
        """The flag as a Python keyword: ``--target-cpu`` → ``target_cpu``."""
        return self.flag.lstrip("-").replace("-", "_")

    @property
    def is_switch(self) -> bool:
        """Whether the flag may stand alone, meaning true."""
        return self.annotation is bool

    @property
    def is_list(self) -> bool:
        """Whether the option may be given several times."""
        return typing.get_origin(self.annotation) is tuple


def option_fields(options: type) -> tuple[OptionField, ...]:
    """Return the options that the dataclass ``options`` declares, in order."""
    hints = typing.get_type_hints(options)
    found: list[OptionField] = []
    for item in dataclasses.fields(options):
        if not item.init:
            continue
        annotation = _without_none(hints[item.name])
        if item.default is not dataclasses.MISSING:
            default = item.default
        else:
            default = item.default_factory() if item.default_factory is not dataclasses.MISSING else None
        found.append(
            OptionField(
                name=item.name,
                flag=item.metadata.get("flag") or "--" + item.name.replace("_", "-"),
                help=item.metadata.get("help", ""),
                annotation=annotation,
                default=default,
                choices=tuple(item.metadata.get("choices", ())) or _choices(annotation),
                metavar=item.metadata.get("metavar", ""),
                makes_variants=bool(item.metadata.get("variants", False)),
            )
        )
    return tuple(found)


def make_options(options: type, values: Mapping[str, Any], owner: str) -> Any:
    """Make an instance of ``options`` from values by field name, or by the flag's keyword (``target_cpu``).

    Text is converted to the field's type; anything else must have it already.

    :param owner: whose options they are, for messages: ``target backend 'x'``.
    :raises InvalidArgument: an unknown option (naming the nearest), or a value that does not fit.
    """
    fields = option_fields(options)
    by_key = {field.keyword: field for field in fields} | {field.name: field for field in fields}
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        field = by_key.get(key)
        if field is None:
            raise InvalidArgument(_unknown_option(key, by_key, owner))
        arguments[field.name] = convert_option(field, value, owner)
    try:
        return options(**arguments)
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidArgument):
            raise
        raise InvalidArgument(f"options of {owner}: {error}") from error


def _unknown_option(key: str, known: Mapping[str, OptionField], owner: str) -> str:
    names = list(dict.fromkeys(field.keyword for field in known.values()))
    nearest = difflib.get_close_matches(key, names, n=1)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    return f"{owner} has no option {key!r}; it has: {', '.join(names) or 'none'}{hint}"


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return members[0]
    return annotation


def _choices(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return tuple(member.value for member in annotation)
    return ()


def convert_option(field: OptionField, value: Any, owner: str) -> Any:
    """Return ``value`` as the field's type: text is converted, anything else must have it already.

    :raises InvalidArgument: it does not fit, or is none of the field's choices.
    """
    annotation = field.annotation
    if value is None:
        return None
    if field.makes_variants:
        return _variant_values(field, value, owner)
    if field.is_list:
        element = typing.get_args(annotation)[0]
        items = [value] if isinstance(value, str) else list(value)
        texts = [part.strip() for item in items if isinstance(item, str) for part in item.split(",")]
        rest = [_checked(field, element, item, owner) for item in items if not isinstance(item, str)]
        return tuple(_from_text(field, element, text, owner) for text in texts if text) + tuple(rest)
    if isinstance(value, str):
        return _from_text(field, annotation, value, owner)
    return _checked(field, annotation, value, owner)


def _variant_values(field: OptionField, value: Any, owner: str) -> Any:
    """Return the one value, or a tuple of several, each once."""
    given: list[Any] = [*value] if isinstance(value, list | tuple) else [value]
    values: list[Any] = []
    for item in given:
        if isinstance(item, str):
            texts = [text.strip() for text in item.split(",")]
            values += [_from_text(field, field.annotation, text, owner) for text in texts if text]
        else:
            values.append(_checked(field, field.annotation, item, owner))
    distinct = tuple(dict.fromkeys(values))
    return distinct if len(distinct) > 1 else distinct[0] if distinct else field.default


def _checked(field: OptionField, annotation: Any, value: Any, owner: str) -> Any:
    if annotation is float and isinstance(value, int):
        value = float(value)
    if isinstance(annotation, type) and not isinstance(value, annotation):
        wanted = f"of type {annotation.__name__}"
        raise InvalidArgument(f"option {field.flag} of {owner} is {wanted}; got {value!r}")
    return _among_choices(field, value, owner)


def _among_choices(field: OptionField, value: Any, owner: str) -> Any:
    plain = value.value if isinstance(value, enum.Enum) else value
    if field.choices and plain not in field.choices:
        choices = ", ".join(map(str, field.choices))
        raise InvalidArgument(f"option {field.flag} of {owner} is one of {choices}; got {plain!r}")
    return value


_TRUTHS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def _from_text(field: OptionField, annotation: Any, text: str, owner: str) -> Any:
    value: Any = text
    try:
        if annotation is bool:
            value = _TRUTHS[text.lower()]
        elif annotation in (int, float, Path):
            value = annotation(text)
        elif field.choices:
            by_text = {str(choice): choice for choice in field.choices}
            value = by_text[text]
            if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
                value = annotation(value)
    except (ValueError, KeyError):
        choices = f"one of {', '.join(map(str, field.choices))}"
        wanted = choices if field.choices else f"of type {getattr(annotation, '__name__', annotation)}"
        raise InvalidArgument(f"option {field.flag} of {owner} is {wanted}; got {text!r}") from None
    return _among_choices(field, value, owner)
