"""The host program's encoding and the checks of its meaning."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from thalweg.errors import ModuleFormatError
from thalweg.module.checked_json import canonical_json, parse_canonical
from thalweg.module.encoding import decode_entry, decode_functions, encode_entry, encode_functions
from thalweg.module.program import (
    BarrierCommand,
    CopyCommand,
    DispatchCommand,
    EntryPoint,
    FillCommand,
    Slot,
    SlotKind,
    Span,
)
from thalweg.module.verification import verify_module


def test_functions_come_back_as_they_were(module):
    functions = module.variants[0].functions
    assert decode_functions(encode_functions(functions), "here") == functions


def test_entries_come_back_as_they_were():
    entry = EntryPoint("k", 2, 3, 4096, (8, 4, 1), ("r", "rw"))
    assert decode_entry(parse_canonical(canonical_json(encode_entry(entry)), "here")) == entry


def changed(module, change) -> bytes:
    document = json.loads(encode_functions(module.variants[0].functions))
    change(document["functions"][0])
    return canonical_json(document)


@pytest.mark.parametrize(
    ("change", "where", "expected"),
    [
        (lambda f: f.update(name=3), "name", "a string"),
        (lambda f: f.pop("slots"), "", "an object with the keys name, slots, commands"),
        (lambda f: f.update(extra=1), "", "an object with the keys name, slots, commands"),
        (
            lambda f: f["slots"].append(["heap", 0, 1]),
            "slots[4][0]",
            "one of constant, transient",
        ),
        (lambda f: f["slots"].append([[], 0, 1]), "slots[4][0]", "one of constant, transient"),
        (lambda f: f["slots"].append(["input", -1, 1]), "slots[4][1]", "an integer from 0"),
        (lambda f: f["slots"].append(["input", 0, 1 << 60]), "slots[4][2]", "an integer from 0"),
        (lambda f: f["slots"].append(["input", True, 1]), "slots[4][1]", "an integer from 0"),
        (
            lambda f: f["commands"].append({"op": "exec"}),
            "commands[4]",
            "a command whose op is one of",
        ),
        (
            lambda f: f["commands"].append({"op": {}}),
            "commands[4]",
            "a command whose op is one of",
        ),
        (lambda f: f["commands"].append(7), "commands[4]", "a command whose op is one of"),
        (
            lambda f: f["commands"][0].update(pattern="0"),
            "commands[0].pattern",
            "1, 2 or 4 bytes",
        ),
        (
            lambda f: f["commands"][0].update(pattern="zz"),
            "commands[0].pattern",
            "1, 2 or 4 bytes",
        ),
        (lambda f: f["commands"][1].update(source=[0, 0]), "commands[1].source", "3 integers"),
        (
            lambda f: f["commands"][1].update(source=[0, 0, 0.5]),
            "commands[1].source[2]",
            "integer from 0",
        ),
        (
            lambda f: f["commands"][3].update(workgroups=[1, 1]),
            "commands[3].workgroups",
            "3 integers",
        ),
        (
            lambda f: f["commands"][3].update(constants=[1 << 32]),
            "commands[3].constants",
            "integers from",
        ),
        (
            lambda f: f["commands"][3].update(bindings=[[0, 0, 1]] * 2000),
            "commands[3].bindings",
            "at most",
        ),
    ],
)
def test_a_value_out_of_form_is_refused_naming_its_place(module, change, where, expected):
    with pytest.raises(ModuleFormatError) as caught:
        decode_functions(changed(module, change), "m: programs/0.json")
    place = f"m: programs/0.json.functions[0]{'.' * bool(where)}{where}"
    assert str(caught.value).startswith(f"{place}: expected ")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff", b'{"functions": []}', b'{"functions":[],"functions":[]}', b'{"functions":NaN}',
     b"[" * 100_000, b'{"functions":[1e999]}', b"9" * 10_000],
)  # fmt: skip
def test_text_that_is_not_canonical_json_is_refused(text):
    with pytest.raises(ModuleFormatError, match=r"^here"):
        decode_functions(text, "here")


CONSTANT, INPUT, OUTPUT, TRANSIENT = range(4)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (FillCommand(Span(9, 0, 1), b"\0"), "slot 9 of a function with 4 slots"),
        (FillCommand(Span(TRANSIENT, 100, 29), b"\0"), r"bytes \[100, 129\) of slot 3, which has 128"),
        (FillCommand(Span(TRANSIENT, -1, 1), b"\0"), r"bytes \[-1, 0\) of slot 3"),
        (FillCommand(Span(INPUT, 0, 4), b"\0"), "fill writes input 0, which is read-only"),
        (FillCommand(Span(TRANSIENT, 0, 3), b"\0\0"), "fills 3 bytes with a pattern of 2"),
        (FillCommand(Span(TRANSIENT, 0, 3), b"\0\0\0"), "a fill pattern has 1, 2 or 4 bytes; this has 3"),
        (CopyCommand(Span(INPUT, 0, 8), Span(TRANSIENT, 0, 4)), "copies 8 bytes to 4"),
        (CopyCommand(Span(INPUT, 0, 8), Span(CONSTANT, 0, 8)), "copy writes constant 0, which is read-only"),
        (CopyCommand(Span(TRANSIENT, 0, 8), Span(TRANSIENT, 4, 8)), "overlapping bytes of slot 3"),
        (DispatchCommand(1, 0, (1, 1, 1), (), ()), "executable 1 of a variant with 1"),
        (DispatchCommand(0, 5, (1, 1, 1), (), ()), "entry 5 of an executable with 1"),
        (
            DispatchCommand(0, 0, (1, 1, 1), (), ()),
            "takes 3 bindings and 1 constants; the command gives 0 and 0",
        ),
        (
            DispatchCommand(0, 0, (1, 1, 1), (0,), (Span(0, 0, 4), Span(1, 0, 4), Span(0, 0, 4))),
            r"'add' \(access w to binding 2\) writes constant 0, which is read-only",
        ),
    ],
)
def test_a_command_that_does_not_fit_is_refused_naming_it(module, command, message):
    function = module.variants[0].functions[0]
    function = replace(function, commands=(BarrierCommand(), command))
    broken = replace(module, variants=(replace(module.variants[0], functions=(function,)),))
    where = r"^here: variant 'avx512', function 'main', command 1: .*"
    with pytest.raises(ModuleFormatError, match=where + message):
        verify_module(broken, "here")


@pytest.mark.parametrize(
    ("slot", "message"),
    [
        (Slot(SlotKind.INPUT, 1, 64), "slot 4 is input 1; there are 1"),
        (Slot(SlotKind.OUTPUT, 0, 64), "two slots stand for the same memory"),
        (Slot(SlotKind.TRANSIENT, 1, 64), "transient arena 1; there is only 0"),
        (Slot(SlotKind.CONSTANT, 1, 64), "slot 4 has 64 bytes; constant 1 has 1048596"),
        (Slot(SlotKind.CONSTANT, 2, 64), "slot 4 is constant 2; there are 2"),
    ],
)
def test_a_slot_that_does_not_fit_is_refused(module, slot, message):
    function = module.variants[0].functions[0]
    function = replace(function, slots=(*function.slots, slot))
    broken = replace(module, variants=(replace(module.variants[0], functions=(function,)),))
    with pytest.raises(ModuleFormatError, match=message):
        verify_module(broken, "here")


def test_an_output_without_a_slot_is_refused(module):
    function = module.variants[0].functions[0]
    function = replace(function, slots=function.slots[:2], commands=())
    broken = replace(module, variants=(replace(module.variants[0], functions=(function,)),))
    with pytest.raises(ModuleFormatError, match="1 outputs but 0 slots"):
        verify_module(broken, "here")
