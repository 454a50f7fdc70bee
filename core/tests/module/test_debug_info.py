"""Debug info: its encoding, its place in the file, and what is said where it is missing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from thalweg.errors import InvalidArgument, ModuleFormatError
from thalweg.extents import dimension
from thalweg.module.debug_info import (
    BindingInfo,
    DebugInfo,
    KernelInfo,
    debug_info_of,
    decode_debug_info,
    encode_debug_info,
    require_debug_info,
)
from thalweg.module.file import read_module
from thalweg.module.writer import module_bytes

TOKENS = dimension("tokens")
INFO = DebugInfo(
    (
        KernelInfo(
            "k",
            "func.func @k() {\n}",
            12 * TOKENS * TOKENS,
            (BindingInfo((TOKENS, 4), "f32"), BindingInfo((4, 5), "f32")),
            (BindingInfo((TOKENS, 5), "f32"),),
            {1: ((4, 5), (4, 8), (4, 1, 8), (1, 0, 2))},
        ),
        KernelInfo("empty", "", 0, (), (BindingInfo((), "i64"),)),
    ),
    {"main": ("MatMul -> y", "")},
)


def test_what_was_encoded_is_decoded():
    assert decode_debug_info(encode_debug_info(INFO), "here") == INFO


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("kernels", 0, "name"), 3, "here.kernels[0].name: expected a string"),
        (("kernels", 0, "operations"), "tokens +", "here.kernels[0].operations: "),
        (("kernels", 0, "operands", 0), ["f33", [1]], "here.kernels[0].operands[0][0]: expected one of"),
        (("kernels", 0, "packings"), {"x": [[]] * 4}, "here.kernels[0].packings.x: expected an operand"),
        (("nodes",), {"main": [1]}, "here.nodes.main[0]: expected a string"),
        (("nodes",), [], "here.nodes: expected an object"),
    ],
)  # fmt: skip
def test_damage_is_refused_naming_the_place(place, value, message):
    document = json.loads(encode_debug_info(INFO))
    target = document
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(ModuleFormatError) as caught:
        decode_debug_info(data, "here")
    assert str(caught.value).startswith(message)


def test_a_file_holds_it_and_has_the_format_that_can(module):
    first, *rest = module.variants
    with_info = replace(module, variants=(replace(first, debug_info=encode_debug_info(INFO)), *rest))
    data, plain = module_bytes(with_info), module_bytes(module)
    assert b'"format":[1,1]' in data and b'"format":[1,0]' in plain
    again = read_module(data)
    assert debug_info_of(again.variants[0]) == INFO
    assert all(variant.debug_info == b"" for variant in (*again.variants[1:], *read_module(plain).variants))


def test_damaged_debug_info_does_not_pass_the_reader(module):
    first, *rest = module.variants
    data = bytearray(
        module_bytes(replace(module, variants=(replace(first, debug_info=encode_debug_info(INFO)), *rest)))
    )
    data[data.index(b"MatMul")] ^= 1
    with pytest.raises(ModuleFormatError, match=r"debugs/\d+\.json does not have its digest"):
        read_module(bytes(data))


def test_where_it_is_missing_the_message_says_what_to_do(module):
    (variant, *_) = module.variants
    assert debug_info_of(variant) is None
    with pytest.raises(InvalidArgument) as caught:
        require_debug_info(variant, "thalweg compare")
    assert str(caught.value) == (
        f"thalweg compare needs debug info, which variant {variant.name!r} does not have;"
        " compile the model again without --strip-debug-info"
    )
