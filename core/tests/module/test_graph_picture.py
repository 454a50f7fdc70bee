"""Pictures: what is connected, that boxes stand apart, and that the document is XML."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ElementTree

import pytest
from thalweg.extents import dimension
from thalweg.module.dataflow import Place, data_edges
from thalweg.module.debug_info import BindingInfo, DebugInfo, KernelInfo
from thalweg.module.graph_layout import lay_out
from thalweg.module.graph_picture import draw_function, pictures
from thalweg.module.module import ExecutableRecord, Variant
from thalweg.module.program import (
    BarrierCommand,
    CopyCommand,
    DispatchCommand,
    EntryPoint,
    FunctionSignature,
    HostFunction,
    Slot,
    SlotKind,
    Span,
    TensorSignature,
)

SEED = 20261121
SVG = "{http://www.w3.org/2000/svg}"
UNARY = EntryPoint("unary", 2, binding_access=("r", "w"))
BINARY = EntryPoint("binary", 3, binding_access=("r", "r", "w"))
EXECUTABLE = ExecutableRecord("e", "f", b"", (UNARY, BINARY))
X = TensorSignature("x", (4,), "f32")


def dispatch(*spans: Span) -> DispatchCommand:
    return DispatchCommand(0, len(spans) - 2, (1, 1, 1), (), spans)


def make_function(commands, arena: int) -> tuple[HostFunction, FunctionSignature, Variant]:
    """A function over slots 0 input, 1 output, 2 arena, 3 constant."""
    slots = (
        Slot(SlotKind.INPUT, 0, 16),
        Slot(SlotKind.OUTPUT, 0, 16),
        Slot(SlotKind.TRANSIENT, 0, arena),
        Slot(SlotKind.CONSTANT, 0, 16),
    )
    function = HostFunction("main", slots, tuple(commands))
    variant = Variant("v", "b", {}, (EXECUTABLE,), (function,), ("c",))
    return function, FunctionSignature("main", (X,), (TensorSignature("y", (4,), "f32"),)), variant


def chain(count: int, seed: int):
    """``count`` dispatches; each reads an earlier value of 16 bytes, some of them two."""
    random_ = random.Random(seed)
    places = [Span(0, 0, 16)]
    commands = []
    for number in range(count):
        target = Span(1, 0, 16) if number == count - 1 else Span(2, 64 * number, 16)
        sources = [places[-1]]
        if number % 3 == 2:
            sources.append(random_.choice(places[-8:]))
        commands += [dispatch(*sources, target), BarrierCommand()]
        places.append(target)
    return make_function(commands, 64 * count)


def boxes(root: ElementTree.Element) -> dict[str, tuple[float, float, float, float]]:
    found = {}
    for group in root.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        x, y, width, height = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
        found[group.attrib["id"]] = (x, y, x + width, y + height)
    return found


def test_edges_follow_the_bytes():
    half = Span(2, 8, 8)
    function, _, variant = make_function(
        [
            dispatch(Span(0, 0, 16), Span(2, 0, 16)),
            dispatch(Span(3, 0, 16), half),  # overwrites the second half; a constant has no source
            dispatch(Span(2, 0, 16), Span(1, 0, 8)),
            CopyCommand(half, Span(1, 8, 8)),
        ],
        16,
    )
    edges = {(edge.source, edge.target) for edge in data_edges(function, variant.executables)}
    first, second, third, copy = (Place("command", i) for i in range(4))
    assert edges == {
        (Place("input", 0), first),
        (first, third),
        (second, third),
        (second, copy),
        (third, Place("output", 0)),
        (copy, Place("output", 0)),
    }


def test_edges_of_dynamic_functions_go_by_slot():
    size = 4 * dimension("tokens")
    slots = (
        Slot(SlotKind.INPUT, 0, size),
        Slot(SlotKind.OUTPUT, 0, size),
        Slot(SlotKind.TRANSIENT, 0, size, (0, 1)),
    )
    commands = (dispatch(Span(0, 0, size), Span(2, 0, size)), dispatch(Span(2, 0, size), Span(1, 0, size)))
    edges = data_edges(HostFunction("main", slots, commands), (EXECUTABLE,))
    assert [(edge.source.kind, edge.target.kind) for edge in edges] == [
        ("input", "command"),
        ("command", "command"),
        ("command", "output"),
    ]


@pytest.mark.parametrize("count", [1, 2, 300])
def test_a_picture_is_xml_whose_boxes_stand_apart_and_inside(count):
    function, signature, variant = chain(count, SEED)
    root = ElementTree.fromstring(draw_function(function, signature, variant, None))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    found = boxes(root)
    assert len(found) == count + 2
    for x, y, right, bottom in found.values():
        assert 0 <= x < right <= width and 0 <= y < bottom <= height
    ordered = sorted(found.items(), key=lambda item: item[1][1])
    for i, (name, (x, y, right, bottom)) in enumerate(ordered):
        for other, (ox, oy, oright, _) in ordered[i + 1 :]:
            if oy >= bottom:
                break
            assert right <= ox or oright <= x, f"{name} and {other} overlap, seed {SEED}"
            assert y <= oy


def test_every_edge_goes_down():
    function, signature, variant = chain(60, SEED)
    found = boxes(ElementTree.fromstring(draw_function(function, signature, variant, None)))
    for edge in data_edges(function, variant.executables):
        source, target = (found[f"{place.kind}-{place.index}"] for place in (edge.source, edge.target))
        assert source[3] < target[1]


def test_long_edges_pass_between_boxes():
    names = ["a", "b", "c", "d"]
    layout = lay_out(dict.fromkeys(names, 50.0), [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    assert [layout.places[name][1] for name in names] == [0, 1, 2, 3]
    for layer, name in ((1, "b"), (2, "c")):
        assert abs(layout.bends["a", layer] - layout.places[name][0]) > 25


def test_nodes_kernels_types_and_times_are_written():
    function, signature, variant = chain(2, SEED)
    kernel = KernelInfo("unary", "", 4, (BindingInfo((4,), "f32"),), (BindingInfo((2, 2), "f32"),))
    info = DebugInfo((kernel,), {"main": ('Relu "<&> \x01', "Exp")})
    text = draw_function(function, signature, variant, info, {0: 0.003, 1: 0.001})
    words = [element.text for element in ElementTree.fromstring(text).iter(f"{SVG}text")]
    assert 'Relu "<&> ?' in words and "Exp" in words and "unary" in words and "2x2xf32" in words
    assert "3.0000 ms  75.0%" in words and "1.0000 ms  25.0%" in words
    assert "input x" in words and "output y" in words and "4xf32" in words
    assert any(word and "4.000 ms run one by one" in word for word in words)


def test_each_function_of_a_variant_has_a_file():
    function, signature, variant = chain(1, SEED)
    assert list(pictures(variant, None, [signature])) == ["graph.svg"]
    second = HostFunction("other", function.slots, function.commands)
    two = Variant("v", "b", {}, (EXECUTABLE,), (function, second), ("c",))
    signatures = [signature, FunctionSignature("other", signature.inputs, signature.outputs)]
    assert list(pictures(two, None, signatures)) == ["graph-main.svg", "graph-other.svg"]
