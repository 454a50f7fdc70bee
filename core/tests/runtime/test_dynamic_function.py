"""Functions of named dimensions: what a call computes, what it refuses in which words, what is kept."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from thalweg.errors import InvalidArgument, ModuleFormatError
from thalweg.extents import Extent, dimension
from thalweg.module.module import ExecutableRecord, Module, Variant
from thalweg.module.program import (
    BarrierCommand,
    DispatchCommand,
    EntryPoint,
    FillCommand,
    FunctionSignature,
    HostFunction,
    Limit,
    Slot,
    SlotKind,
    Span,
    TensorSignature,
)
from thalweg.module.writer import module_bytes
from thalweg.runtime import dynamic_function, load
from thalweg.runtime.dimensions import check_limits
from thalweg.runtime.dynamic_function import DynamicFunction

from . import fakes
from .fakes import DEVICES, FORMAT, make_registry

SEED = random.SystemRandom().randrange(1 << 32)
HEADS, TOKENS = dimension("heads"), dimension("tokens")


def _tensor(name: str, *shape: Extent, dtype: str = "f32") -> TensorSignature:
    return TensorSignature(name, shape, dtype)


def make_module(inline: bool = False) -> Module:
    """``main(x [heads, tokens], w [heads * tokens], s [])`` → ``y = x * w * (1000 * heads + tokens) + s``
    [heads, tokens], with three transients; ``tokens`` is at most 512.
    """
    size = 4 * HEADS * TOKENS
    signature = FunctionSignature(
        "main",
        (_tensor("x", HEADS, TOKENS), _tensor("w", HEADS * TOKENS), _tensor("s")),
        (_tensor("y", HEADS, TOKENS),),
        (Limit(TOKENS, 512, "positions"), Limit(HEADS * TOKENS, 600)),
    )
    slots = (
        Slot(SlotKind.INPUT, 0, size),
        Slot(SlotKind.INPUT, 1, size),
        Slot(SlotKind.INPUT, 2, 4),
        Slot(SlotKind.OUTPUT, 0, size),
        Slot(SlotKind.TRANSIENT, 0, size, (0, 1)),
        Slot(SlotKind.TRANSIENT, 1, size, (1, 2)),
        Slot(SlotKind.TRANSIENT, 2, size, (0, 2)),
    )
    x, w, s, y, product, scaled, zeros = (
        Span(number, 0, 4 if number == 2 else size) for number in range(len(slots))
    )
    commands = (
        DispatchCommand(0, 0, (1, 1, 1), (), (x, w, product)),
        FillCommand(zeros, b"\0"),
        BarrierCommand(),
        DispatchCommand(0, 2, (1, 1, 1), (HEADS, TOKENS), (product, scaled)),
        DispatchCommand(0, 2, (HEADS - 1, TOKENS - 1, 1), (HEADS, TOKENS), (product, scaled)),
        BarrierCommand(),
        DispatchCommand(0, 1, (1, 1, 1), (), (scaled, s, zeros, y)),
    )
    entries = (
        EntryPoint("scale", 3, binding_access=("r", "r", "w")),
        EntryPoint("add_scalar", 4, binding_access=("r", "r", "r", "w")),
        EntryPoint("scale_by", 2, 2, binding_access=("r", "w")),
    )
    variant = Variant(
        name="fake",
        backend="fake",
        predicate={"device_kind": "local", "executable_format": FORMAT},
        executables=(ExecutableRecord("kernels", FORMAT, b"", entries),),
        functions=(HostFunction("main", slots, commands),),
        constants=(),
        inline=inline,
    )
    return Module("dynamic", "tests", (signature,), (variant,), {})


@pytest.fixture
def program(kind, device):
    """The dynamic module, read back from its bytes and loaded."""
    data = module_bytes(make_module(inline=kind == "inline"))
    return load(data, device, registry=make_registry())


def inputs_at(heads: int, tokens: int) -> list[np.ndarray]:
    generator = np.random.default_rng([SEED, heads, tokens])
    shapes = [(heads, tokens), (heads * tokens,), ()]
    return [np.asarray(generator.standard_normal(shape), np.float32) for shape in shapes]


def reference(x: np.ndarray, w: np.ndarray, s: np.ndarray) -> np.ndarray:
    return x * w.reshape(x.shape).astype(float) * (1000 * x.shape[0] + x.shape[1]) + s


def call_and_check(program, heads: int, tokens: int) -> None:
    inputs = inputs_at(heads, tokens)
    result = np.asarray(program.main(*inputs))
    assert result.shape == (heads, tokens)
    np.testing.assert_allclose(result, reference(*inputs), rtol=1e-5, atol=1e-3, err_msg=f"seed {SEED}")


def test_calls_at_several_sizes_on_every_kind_of_device(program):
    for heads, tokens in [(2, 3), (1, 1), (1, 512), (20, 30), (2, 3), (3, 2)]:
        call_and_check(program, heads, tokens)


def test_inputs_by_name_and_results_in_given_arrays(program):
    x, w, s = inputs_at(2, 5)
    target = np.zeros((2, 5), np.float32)
    assert program.main(s=s, x=x, w=w, out=target) is target
    np.testing.assert_allclose(target, reference(x, w, s), rtol=1e-5, atol=1e-3)
    lists = program.main(np.asfortranarray(x), w, np.float32(s))
    np.testing.assert_allclose(np.asarray(lists), reference(x, w, s), rtol=1e-5, atol=1e-3)


def zeros(*shapes: tuple[int, ...], dtype: type = np.float32) -> list[np.ndarray]:
    return [np.zeros(shape, dtype) for shape in shapes]


MISTAKES = [
    (zeros((1, 700), (700,), ()), "main: tokens=700 exceeds positions=512"),
    (zeros((2, 400), (800,), ()), "main: heads*tokens=800 exceeds 600"),
    (
        zeros((2, 3), (7,), ()),
        "input 'w' of main: expected heads*tokens=6 at dimension 0, got 7 (shape [heads*tokens], got [7]);"
        " heads=2 is dimension 0 of input 'x', tokens=3 is dimension 1 of input 'x'",
    ),
    (zeros((2, 0), (0,), ()), "input 'x' of main: tokens=0 at dimension 1; it is at least 1"),
    (zeros((0, 2), (0,), ()), "input 'x' of main: heads=0 at dimension 0; it is at least 1"),
    (zeros((6,), (6,), ()), "input 'x' of main: expected 2 dimensions [heads, tokens], got 1 [6]"),
    (zeros((2, 3), (2, 3), ()), "input 'w' of main: expected 1 dimensions [heads*tokens], got 2 [2, 3]"),
    (zeros((2, 3), (6,), (1,)), "input 's' of main: expected 0 dimensions [], got 1 [1]"),
    (
        [np.zeros((2, 3)), *zeros((6,), ())],
        "input 'x' of main: expected float32, got float64; convert it, for example with x.astype(np.float32)",
    ),
    ([None, *zeros((6,), ())],
     "input 'x' of main: expected an array (NumPy, DLPack or DeviceArray), got NoneType; convert it, for"
     " example with np.asarray(x, np.float32)"),
    (zeros((2, 3), (6,)), "input 's' of main missing; main takes 3 inputs (x, w, s); got 2"),
    (
        [np.broadcast_to(np.float32(0), (1 << 32, 1)), *zeros((6,), ())],
        "input 'x' of main: heads=4294967296 at dimension 0; it is at most 4294967295",
    ),
]  # fmt: skip


@pytest.mark.parametrize("seen", [False, True], ids=["first call", "dimensions seen before"])
@pytest.mark.parametrize(("inputs", "message"), MISTAKES)
def test_what_does_not_fit_is_refused_in_one_line(program, inputs, message, seen):
    if seen:
        call_and_check(program, 2, 3)
    with pytest.raises(InvalidArgument) as caught:
        program.main(*inputs)
    assert str(caught.value) == message
    call_and_check(program, 2, 3)


def test_a_target_of_another_shape_is_refused(program):
    with pytest.raises(InvalidArgument) as caught:
        program.main(*inputs_at(2, 3), out=np.zeros((2, 4), np.float32))
    assert str(caught.value) == (
        "output 'y' of main: expected 3 at dimension 1, got 4 (shape [2, 3], got [2, 4])"
    )


def test_two_inputs_that_disagree_about_a_name():
    signature = FunctionSignature(
        "main", (_tensor("ids", 1, TOKENS, dtype="i64"), _tensor("mask", 1, TOKENS)), (_tensor("y", TOKENS),)
    )
    function = DynamicFunction(signature, lambda dimensions: pytest.fail(f"specialized at {dimensions}"))
    with pytest.raises(InvalidArgument) as caught:
        function(np.zeros((1, 7), np.int64), np.zeros((1, 8), np.float32))
    assert str(caught.value) == (
        "input 'mask' of main: expected tokens=7 at dimension 1, got 8 (shape [1, tokens], got [1, 8]);"
        " tokens=7 is dimension 1 of input 'ids'"
    )


class Prepared:
    """Makes functions that say at which dimensions they were made; ``made`` lists the dimensions."""

    def __init__(self):
        self.made: list[int] = []

    def __call__(self, dimensions: dict[str, int]):
        self.made.append(dimensions["tokens"])
        tokens = dimensions["tokens"]
        return lambda *inputs, out=None: tokens


def test_functions_are_kept_for_the_dimensions_used_last():
    signature = FunctionSignature("main", (_tensor("x", TOKENS),), (_tensor("y", TOKENS),))
    prepared = Prepared()
    function = DynamicFunction(signature, prepared)  # pyright: ignore[reportArgumentType] functions of its own

    def call(tokens: int) -> None:
        assert function(np.zeros(tokens, np.float32)) == tokens

    size = dynamic_function.CACHE_SIZE
    for tokens in range(1, size + 1):
        call(tokens)
    call(1)  # used last now
    call(size + 1)  # takes the place of 2
    assert prepared.made == list(range(1, size + 2))
    call(1)
    assert prepared.made == list(range(1, size + 2))
    call(2)
    assert prepared.made == [*range(1, size + 2), 2]
    assert len(function._prepared) == size


def test_threads_at_dimensions_of_their_own(program, monkeypatch):
    monkeypatch.setattr(dynamic_function, "CACHE_SIZE", 3)

    def work(number: int) -> None:
        for turn in range(25):
            call_and_check(program, 1 + number % 2, 1 + (number + turn) % 7)

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(work, number) for number in range(6)]:
            future.result()


@pytest.mark.parametrize("kind", ["prepared", "inline"])
def test_two_calls_in_flight_at_two_sizes(kind, monkeypatch):
    """Both calls write their arenas before either reads its own."""
    meeting = threading.Barrier(2, timeout=30)
    plain = fakes.WITH_CONSTANTS["scale_by"]

    def scale_by_and_meet(constants, x, y):
        plain(constants, x, y)
        meeting.wait()

    monkeypatch.setitem(fakes.WITH_CONSTANTS, "scale_by", scale_by_and_meet)
    program = load(make_module(inline=kind == "inline"), DEVICES[kind](), registry=make_registry())
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(call_and_check, program, 1, tokens) for tokens in (3, 200)]:
            future.result()


def test_bytes_outside_a_transient_are_refused_at_the_call():
    module = make_module()
    (variant,) = module.variants
    (function,) = variant.functions
    first = function.commands[0]
    assert isinstance(first, DispatchCommand)
    wrong = replace(first, bindings=(*first.bindings[:2], Span(4, 0, 4 * HEADS * TOKENS * TOKENS)))
    damaged = replace(function, commands=(wrong, *function.commands[1:]))
    module = replace(module, variants=(replace(variant, functions=(damaged,)),))
    program = load(module, DEVICES["prepared"](), registry=make_registry())
    call_and_check(program, 4, 1)
    with pytest.raises(ModuleFormatError) as caught:
        program.main(*inputs_at(2, 3))
    assert str(caught.value) == (
        "function 'main' at heads=2, tokens=3: bytes [0, 72) of slot 4, which has 24"
    )


def test_a_lifetime_in_a_function_of_numbers_is_refused_at_loading():
    signature = FunctionSignature("main", (_tensor("x", 4),), (_tensor("y", 4),))
    slots = (Slot(SlotKind.OUTPUT, 0, 16), Slot(SlotKind.TRANSIENT, 1, 16, (0, 0)))
    (variant,) = make_module().variants
    variant = replace(variant, functions=(HostFunction("main", slots, ()),))
    module = replace(make_module(), functions=(signature,), variants=(variant,))
    with pytest.raises(ModuleFormatError, match="slot 1 has a lifetime, but the function has no dimensions"):
        load(module, DEVICES["prepared"](), registry=make_registry())


def test_a_dimension_that_no_input_gives_is_refused_at_loading():
    module = make_module()
    signature = module.functions[0]
    unknown = replace(signature, outputs=(_tensor("y", dimension("other")),))
    with pytest.raises(ModuleFormatError, match="the dimension 'other', which no input's shape gives"):
        load(replace(module, functions=(unknown,)), DEVICES["prepared"](), registry=make_registry())


def test_a_limit_below_zero_says_what_there_is_at_least():
    limit = Limit(-dimension("height"), -3, "a window of 3")
    signature = FunctionSignature("main", (), (), (limit,))
    check_limits(signature, {"height": 3})
    with pytest.raises(InvalidArgument) as raised:
        check_limits(signature, {"height": 2})
    assert str(raised.value) == "main: height=2 is less than 3, a window of 3"
