"""Options dataclasses as command-line options, and values checked against them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from thalweg.errors import InvalidArgument
from thalweg.plugin.option_routing import OptionOwner, route_options
from thalweg.plugin.options import make_options, option_fields


class Mode(enum.Enum):
    FAST = "fast"
    SMALL = "small"


@dataclass(frozen=True)
class Options:
    cpu: str = field(default="host", metadata={"help": "the processor", "flag": "--target-cpu"})
    level: int = 2
    scale: float = 1.0
    checked: bool = False
    mode: Mode = Mode.FAST
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = ()
    folder: Path | None = None
    width: int = field(default=8, metadata={"choices": (4, 8)})


def test_fields_give_flags_help_defaults_and_choices():
    fields = {item.name: item for item in option_fields(Options)}
    assert (fields["cpu"].flag, fields["cpu"].keyword, fields["cpu"].help) == (
        "--target-cpu",
        "target_cpu",
        "the processor",
    )
    assert (fields["level"].flag, fields["level"].default) == ("--level", 2)
    assert fields["mode"].choices == ("fast", "small")
    assert fields["kind"].choices == ("a", "b")
    assert fields["checked"].is_switch
    assert fields["sizes"].is_list


def test_text_is_converted_to_the_fields_type():
    values = {
        "target_cpu": "generic",
        "level": "3",
        "scale": "0.5",
        "checked": "true",
        "mode": "small",
        "kind": "b",
        "sizes": ["1,2", "3"],
        "folder": "/tmp/x",
        "width": "4",
    }
    assert make_options(Options, values, "plugin 'p'") == Options(
        "generic", 3, 0.5, True, Mode.SMALL, "b", (1, 2, 3), Path("/tmp/x"), 4
    )


def test_values_of_the_right_type_pass():
    made = make_options(Options, {"cpu": "x", "level": 1, "scale": 2, "mode": Mode.SMALL, "sizes": [4]}, "p")
    assert made == Options("x", 1, 2.0, mode=Mode.SMALL, sizes=(4,))


@pytest.mark.parametrize(
    "values, message",
    [
        ({"levl": 1}, "plugin 'p' has no option 'levl'; it has: target_cpu, level,"),
        ({"levl": 1}, "(did you mean 'level'?)"),
        ({"level": "high"}, "option --level of plugin 'p' is of type int; got 'high'"),
        ({"level": 1.5}, "option --level of plugin 'p' is of type int; got 1.5"),
        ({"checked": "maybe"}, "option --checked of plugin 'p' is of type bool; got 'maybe'"),
        ({"mode": "slow"}, "option --mode of plugin 'p' is one of fast, small; got 'slow'"),
        ({"kind": "c"}, "option --kind of plugin 'p' is one of a, b; got 'c'"),
        ({"sizes": "1,x"}, "option --sizes of plugin 'p' is of type int; got 'x'"),
        ({"width": "5"}, "option --width of plugin 'p' is one of 4, 8; got 5"),
        ({"width": 5}, "option --width of plugin 'p' is one of 4, 8; got 5"),
    ],
)
def test_values_that_do_not_fit(values, message):
    with pytest.raises(InvalidArgument) as error:
        make_options(Options, values, "plugin 'p'")
    assert message in str(error.value)


@dataclass(frozen=True)
class OtherOptions:
    cpu: str = field(default="", metadata={"flag": "--target-cpu"})
    depth: int = 0


OWNERS = (
    OptionOwner("one", "target backend", option_fields(Options)),
    OptionOwner("two", "target backend", option_fields(OtherOptions)),
)


def test_a_keyword_goes_to_every_plugin_that_declares_it():
    assert route_options(OWNERS, {"target_cpu": "zen4", "depth": "3"}) == {
        "one": {"cpu": "zen4"},
        "two": {"cpu": "zen4", "depth": 3},
    }


def test_a_keyword_that_nobody_declares():
    with pytest.raises(
        InvalidArgument, match=r"^no option 'dept' .* by one, two; .* \(did you mean 'depth'\?\)$"
    ):
        route_options(OWNERS, {"dept": 1})


@dataclass(frozen=True)
class VariantOptions:
    cpu: str = field(default="host", metadata={"variants": True})
    width: int = field(default=8, metadata={"variants": True, "choices": (4, 8)})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"cpu": "a"}, {"cpu": "a"}),
        ({"cpu": "a, b,,a"}, {"cpu": ("a", "b")}),
        ({"cpu": ["a,b", "c"]}, {"cpu": ("a", "b", "c")}),
        ({"cpu": ["a"]}, {"cpu": "a"}),
        ({"cpu": ""}, {"cpu": "host"}),
        ({"width": "4,8"}, {"width": (4, 8)}),
        ({"width": [8, "4"]}, {"width": (8, 4)}),
    ],
)
def test_an_option_that_makes_variants_takes_several_values(given, expected):
    owner = OptionOwner("p", "target backend", option_fields(VariantOptions))
    assert route_options([owner], given) == {"p": expected}


def test_each_value_of_an_option_that_makes_variants_is_checked():
    owner = OptionOwner("p", "target backend", option_fields(VariantOptions))
    with pytest.raises(InvalidArgument, match=r"option --width of target backend 'p' is one of 4, 8; got"):
        route_options([owner], {"width": "4,5"})
