"""Programs with named dimensions: compiled once, run at several sizes on each device, against NumPy in
float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from thalweg.compiler.api import compile_model
from thalweg.errors import Aborted, InvalidArgument
from thalweg.extents import Extent, dimension, floor_divide, maximum, minimum
from thalweg.ir import FunctionBuilder, Program
from thalweg.ir.dialects import tw
from thalweg.ir.evaluate import evaluate
from thalweg.module.writer import module_bytes
from thalweg.runtime import load

SEED = 20261122
TOLERANCE = 2e-6

B, H, K, M, N, T = (dimension(name) for name in ("batch", "heads", "k", "m", "n", "tokens"))
TABLE = np.random.default_rng(SEED).standard_normal((512, 6)).astype(np.float32)
POSITIONS = 512

DEVICES = {
    "local-sync": ("vmvx", "local-sync"),
    "local-task": ("vmvx", "local-task"),
    "inline": ("vmvx-inline", None),
}
"""Name → (target backend, device)."""


@dataclass(frozen=True)
class Case:
    """A program: its inputs, what computes its results, NumPy in float64 for the same, and sizes."""

    inputs: Sequence[tuple[tuple[Extent, ...], str]]
    build: Callable[..., Any]
    reference: Callable[..., Any]
    sizes: Sequence[tuple[tuple[int, ...], ...]]
    """For each run, the inputs' shapes."""
    draw: dict[int, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = field(
        default_factory=dict
    )


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def normalized(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def mean(f: FunctionBuilder, x, axis: int, extent: Extent):
    total = f.reduce([x], [axis], 0, lambda s, v, acc: s.addf(acc, v))
    return f.elementwise([total], lambda s, v: s.divf(v, s.count(extent, "f32")))


def attention(f: FunctionBuilder, x):
    """x [batch, tokens, 6] → [batch, tokens, 6], two heads of 3."""
    split = f.transpose(f.reshape(x, (B, T, 2, 3)), (0, 2, 1, 3))
    scores = f.structured(tw.MatmulOp, [split, f.transpose(split, (0, 1, 3, 2))], (B, 2, T, T))
    weights = f.structured(tw.SoftmaxOp, [scores], (B, 2, T, T), axis=-1)
    merged = f.transpose(f.structured(tw.MatmulOp, [weights, split], (B, 2, T, 3)), (0, 2, 1, 3))
    return f.reshape(merged, (B, T, 6))


def attention_reference(x: np.ndarray) -> np.ndarray:
    batch, tokens, _ = x.shape
    split = x.reshape(batch, tokens, 2, 3).transpose(0, 2, 1, 3)
    merged = softmax(split @ split.transpose(0, 1, 3, 2)) @ split
    return merged.transpose(0, 2, 1, 3).reshape(batch, tokens, 6)


def embedding(f: FunctionBuilder, ids):
    """Rows of a table by id, and rows of it by position, from 0 on."""
    f.limit(T, POSITIONS, "positions")
    table = f.constant(TABLE, "table")
    words = f.structured(tw.GatherOp, [table, ids], (B, T, 6), axis=0)
    places = f.structured(tw.SliceOp, [table], (T, 6), offsets=(0, 0), strides=(1, 1))
    return f.elementwise([words, places], lambda s, a, b: s.addf(a, b))


def causal(f: FunctionBuilder, x):
    """Softmax of [tokens, tokens] where the column is not after the row."""

    def mask(s, v):
        return s.select(s.cmpi("sle", s.index(1), s.index(0)), v, s.constant(-1e30, "f32"))

    return f.structured(tw.SoftmaxOp, [f.elementwise([x], mask)], (T, T), axis=1)


def causal_reference(x: np.ndarray) -> np.ndarray:
    return softmax(np.where(np.tri(len(x), dtype=bool), x, -1e30))


def last_and_reversed(f: FunctionBuilder, x):
    last = f.structured(tw.SliceOp, [x], (1, 6), offsets=(T - 1, 0), strides=(1, 1))
    backwards = f.structured(tw.SliceOp, [x], (T, 6), offsets=(T - 1, 0), strides=(-1, 1))
    half = floor_divide(T + 1, 2)
    every_second = f.structured(tw.SliceOp, [x], (half, 6), offsets=(0, 0), strides=(2, 1))
    return last, backwards, every_second


def windows(f: FunctionBuilder, x):
    shape = (B, 4, floor_divide(T - 1, 2) + 1)
    w = f.constant(TABLE[:4, :6].reshape(4, 2, 3), "kernel")
    properties = {"strides": (2,), "dilations": (1,), "pads_low": (1,), "pads_high": (1,), "groups": 1}
    return f.structured(tw.ConvOp, [x, w], shape, **properties)


def windows_reference(x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    parts = np.lib.stride_tricks.sliding_window_view(padded, 3, 2)[:, :, ::2]
    return np.einsum("nctk,ock->not", parts, TABLE[:4, :6].reshape(4, 2, 3).astype(float))


def ids(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.integers(-512, 512, shape)


def bounds(f: FunctionBuilder, x):
    """min and max of two dimensions as sizes; their sum as a number in the body."""
    low, high = minimum(M, N), maximum(M, N)
    part = f.structured(tw.SliceOp, [x], (low,), offsets=(M + N - low,), strides=(1,))
    wide = f.elementwise([f.splat(2.5, (high,), "f32")], lambda s, v: s.addf(v, s.count(M * N - 1, "f32")))
    return part, wide


SHAPES_T = [((1, 6),), ((2, 6),), ((7, 6),), ((130, 6),)]
CASES: dict[str, Case] = {
    "elementwise with broadcasting": Case(
        [((B, 1, T), "f32"), ((6, 1), "f32"), ((), "f32")],
        lambda f, x, y, z: f.elementwise([x, y, z], lambda s, a, b, c: s.addf(s.mulf(a, b), s.exp(c))),
        lambda x, y, z: x * y + np.exp(z),
        [((b, 1, t), (6, 1), ()) for b, t in ((1, 1), (2, 5), (3, 300))],
    ),
    "elementwise, fused over two broadcasts": Case(
        [((B, T), "f32"), ((T,), "f32")],
        lambda f, x, y: f.elementwise(
            [f.elementwise([x, y], lambda s, a, b: s.subf(a, b)), f.elementwise([y], lambda s, a: s.tanh(a))],
            lambda s, a, b: s.maximumf(a, b),
        ),
        lambda x, y: np.maximum(x - y, np.tanh(y)),
        [((b, t), (t,)) for b, t in ((1, 1), (1, 9), (5, 1), (4, 33))],
    ),
    "transposes": Case(
        [((B, T, 5), "f32")],
        lambda f, x: (f.transpose(x, (2, 0, 1)), f.transpose(f.transpose(x, (1, 0, 2)), (0, 2, 1))),
        lambda x: (x.transpose(2, 0, 1), x.transpose(1, 2, 0)),
        [((1, 1, 5),), ((1, 4, 5),), ((3, 2, 5),), ((40, 70, 5),)],
    ),
    "mean over a dynamic dimension": Case(
        [((T, 6), "f32")], lambda f, x: mean(f, x, 0, T), lambda x: x.mean(0), SHAPES_T
    ),
    "mean over a product": Case(
        [((B, T), "f32")],
        lambda f, x: mean(f, f.reshape(x, (B * T,)), 0, B * T), lambda x: x.mean(),
        [((1, 1),), ((2, 3),), ((7, 60),)],
    ),
    "maximum over two dynamic dimensions": Case(
        [((B, 4, T), "f32")],
        lambda f, x: f.reduce([x], [0, 2], -1e30, lambda s, v, acc: s.maximumf(acc, v), keepdims=True),
        lambda x: x.max((0, 2), keepdims=True),
        [((1, 4, 1),), ((3, 4, 2),), ((20, 4, 91),)],
    ),
    "a fold that no combiner describes": Case(
        [((T, 6), "f32")],
        lambda f, x: f.reduce([x], [0], 1, lambda s, v, acc: s.mulf(s.addf(acc, v), s.constant(0.5, "f32"))),
        lambda x: folded(x),
        SHAPES_T[:3],
    ),
    "matmul of dynamic m, n, k and batch": Case(
        [((B, M, K), "f32"), ((B, K, N), "f32")],
        lambda f, a, b: f.structured(tw.MatmulOp, [a, b], (B, M, N)),
        np.matmul,
        [((b, m, k), (b, k, n)) for b, m, k, n in ((1, 1, 1, 1), (2, 3, 4, 5), (3, 17, 1, 9))],
    ),
    "matmul, bias and activation": Case(
        [((T, 6), "f32")],
        lambda f, x: f.elementwise(
            [f.structured(tw.MatmulOp, [x, f.constant(TABLE[:6])], (T, 6)), f.constant(TABLE[7])],
            lambda s, v, c: s.maximumf(s.addf(v, c), s.constant(0, "f32")),
        ),
        lambda x: np.maximum(x @ TABLE[:6].astype(float) + TABLE[7], 0),
        SHAPES_T,
    ),
    "softmax over a dynamic axis": Case(
        [((B, T), "f32")], lambda f, x: f.structured(tw.SoftmaxOp, [x], (B, T), axis=1), softmax,
        [((1, 1),), ((3, 2),), ((2, 200),)],
    ),
    "causal softmax": Case([((T, T), "f32")], causal, causal_reference, [((n, n),) for n in (1, 2, 31)]),
    "layer norm over a dynamic axis": Case(
        [((B, T), "f32"), ((T,), "f32"), ((T,), "f32")],
        lambda f, x, a, b: f.structured(tw.LayerNormOp, [x, a, b], (B, T), axis=-1, epsilon=1e-5),
        lambda x, a, b: normalized(x) * a + b,
        [((b, t), (t,), (t,)) for b, t in ((1, 2), (4, 7), (3, 129))],
    ),
    "layer norm of dynamic rows": Case(
        [((T, 6), "f32")],
        lambda f, x: f.structured(
            tw.LayerNormOp, [x, f.constant(TABLE[0]), f.constant(TABLE[1])], (T, 6), axis=1, epsilon=1e-5
        ),
        lambda x: normalized(x) * TABLE[0] + TABLE[1],
        SHAPES_T,
    ),
    "gather from a table, and positions": Case(
        [((B, T), "i64")], embedding, lambda i: TABLE.astype(float)[i] + TABLE[: i.shape[1]],
        [((1, 1),), ((2, 7),), ((1, 512),)], {0: ids},
    ),
    "gather along a dynamic axis": Case(
        [((T, 6), "f32"), ((N,), "i64")],
        lambda f, x, i: f.structured(tw.GatherOp, [x, i], (N, 6), axis=0),
        lambda x, i: x[i],
        [((t, 6), (n,)) for t, n in ((1, 1), (5, 2), (3, 40))],
        {1: lambda generator, shape: generator.integers(-1, 1, shape)},
    ),
    "concat: a sum of dimensions": Case(
        [((B, M), "f32"), ((B, N), "f32"), ((B, 3), "f32")],
        lambda f, a, b, c: f.structured(tw.ConcatOp, [[a, b, c, a]], (B, 2 * M + N + 3), axis=1),
        lambda a, b, c: np.concatenate([a, b, c, a], 1),
        [((b, m), (b, n), (b, 3)) for b, m, n in ((1, 1, 1), (2, 1, 9), (3, 8, 5))],
    ),
    "concat with a splat, and a splat alone": Case(
        [((T, 6), "f32")],
        lambda f, x: (
            f.structured(tw.ConcatOp, [[x, f.splat(-2, (T, 6), "f32")]], (2 * T, 6), axis=0),
            f.reshape(f.splat(3, (T, 2), "f32"), (2 * T,)),
            f.splat(-1, (T + 1,), "i8"),
        ),
        lambda x: (np.concatenate([x, np.full_like(x, -2)]), np.full(2 * len(x), 3), np.full(len(x) + 1, -1)),
        SHAPES_T,
    ),
    "slices with dynamic offsets": Case(
        [((T, 6), "f32")], last_and_reversed, lambda x: (x[-1:], x[::-1], x[::2]), SHAPES_T
    ),
    "slice of a constant from the end": Case(
        [((T, 6), "f32")],
        lambda f, x: f.elementwise(
            [x, f.structured(tw.SliceOp, [f.constant(TABLE)], (T, 6), offsets=(512 - T, 0), strides=(1, 1))],
            lambda s, a, b: s.mulf(a, b),
        ),
        lambda x: x * TABLE[512 - len(x) :],
        SHAPES_T,
    ),
    "pad": Case(
        [((T, B), "f32")],
        lambda f, x: f.structured(tw.PadOp, [x], (T + 3, B + 1), low=(1, 0), high=(2, 1), value=0.5),
        lambda x: np.pad(x, ((1, 2), (0, 1)), constant_values=0.5),
        [((1, 1),), ((4, 3),)],
    ),
    "reshape that merges dimensions": Case(
        [((B, H, T, 4), "f32")],
        lambda f, x: (
            f.reshape(f.transpose(x, (1, 0, 2, 3)), (H * B * T, 4)),
            f.elementwise([f.reshape(x, (B * H, 4 * T))], lambda s, v: s.absf(v)),
        ),
        lambda x: (x.transpose(1, 0, 2, 3).reshape(-1, 4), np.abs(x.reshape(-1, 4 * x.shape[2]))),
        [((1, 1, 1, 4),), ((2, 3, 5, 4),)],
    ),
    "convolution over a dynamic dimension": Case(
        [((B, 2, T), "f32")], windows, windows_reference, [((1, 2, 1),), ((2, 2, 2),), ((3, 2, 41),)]
    ),
    "max pooling over a dynamic dimension": Case(
        [((1, T), "f32")],
        lambda f, x: f.structured(
            tw.ReduceWindowOp, [x], (1, T), kind="max", window=(1, 3), strides=(1, 1), dilations=(1, 1),
            pads_low=(0, 1), pads_high=(0, 1),
        ),
        lambda x: np.lib.stride_tricks.sliding_window_view(
            np.pad(x, ((0, 0), (1, 1)), constant_values=-np.inf), 3, 1
        ).max(-1),
        [((1, 1),), ((1, 2),), ((1, 50),)],
    ),
    "attention": Case(
        [((B, T, 6), "f32")], attention, attention_reference, [((1, 1, 6),), ((2, 9, 6),), ((1, 65, 6),)]
    ),
    "an index and a dimension in a body": Case(
        [((T, 6), "f32")],
        lambda f, x: f.elementwise(
            [x], lambda s, v: s.addf(v, s.sitofp(s.subi(s.extent(T * T), s.index(0)), "f32"))
        ),
        lambda x: x + len(x) ** 2 - np.arange(len(x))[:, None],
        SHAPES_T,
    ),
    "a dimension as a result": Case(
        [((T, B), "f32")],
        lambda f, x: f.generate((2,), "i64", lambda s: s.addi(s.index(0), s.extent(12 * T - B))),
        lambda x: 12 * x.shape[0] - x.shape[1] + np.arange(2),
        [((1, 1),), ((700, 3),)],
    ),
    "minimum and maximum as sizes": Case(
        [((M + N,), "f32"), ((M,), "f32"), ((N,), "f32")],
        lambda f, x, a, b: bounds(f, x),
        lambda x, a, b: (x[max(len(a), len(b)) :], np.full(max(len(a), len(b)), 2.5 + len(a) * len(b) - 1)),
        [((m + n,), (m,), (n,)) for m, n in ((1, 1), (2, 9), (9, 2))],
    ),
    "an input that is a result, and one that is not used": Case(
        [((T, 6), "f32"), ((B,), "f32")],
        lambda f, x, y: (x, f.reshape(x, (3 * T, 2)), x),
        lambda x, y: (x, x.reshape(-1, 2), x),
        [((1, 6), (1,)), ((5, 6), (3,))],
    ),
}  # fmt: skip


def folded(x: np.ndarray) -> np.ndarray:
    result = np.ones(x.shape[1])
    for row in x:
        result = (result + row) * 0.5
    return result


def program_of(case: Case) -> Program:
    """Build the program, and read it back from its text."""
    f = FunctionBuilder("main", [(f"x{i}", shape, dtype) for i, (shape, dtype) in enumerate(case.inputs)])
    results = case.build(f, *f.arguments)
    results = results if isinstance(results, tuple) else (results,)
    built = f.program([(f"y{i}", value) for i, value in enumerate(results)])
    return Program.parse(built.text(), built.resources)


def copy_of(program: Program) -> Program:
    return Program(program.module.clone(), dict(program.resources))


def draw(case: Case, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    generator = np.random.default_rng([SEED, *(extent for shape in shapes for extent in shape)])
    dtypes = {"f32": np.float32, "i64": np.int64}
    return [
        np.asarray(
            case.draw.get(number, np.random.Generator.standard_normal)(generator, shape), dtypes[dtype]
        )
        for number, (shape, (_, dtype)) in enumerate(zip(shapes, case.inputs))
    ]


def assert_close(result: Any, expected: Any, where: str) -> None:
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.shape == expected.shape, f"{where}: shape {result.shape}, expected {expected.shape}"
    error = np.linalg.norm(result.astype(float) - expected) / max(np.linalg.norm(expected), 1e-30)
    assert error <= TOLERANCE, f"{where}: relative error {error:.1e}"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CASES)
def test_a_dynamic_program_at_several_sizes(name: str, device: str, require):
    backend, uri = DEVICES[device]
    require(target_backends=backend)
    if uri is not None:
        require(hal_drivers=uri)
    case = CASES[name]
    program = program_of(case)
    loaded = load(compile_model(copy_of(program), target_backends=[backend]), uri)
    try:
        for shapes in [*case.sizes, case.sizes[0]]:
            inputs = draw(case, shapes)
            results = loaded.main(*inputs)
            results = results if isinstance(results, tuple) else (results,)
            wanted = case.reference(*(x.astype(float) if x.dtype == np.float32 else x for x in inputs))
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            evaluated = evaluate(program, inputs)
            assert len(results) == len(wanted) == len(evaluated)
            for number, (result, expected, same) in enumerate(zip(results, wanted, evaluated)):
                where = f"{name} at {shapes}, result {number}"
                assert_close(same, expected, f"evaluator: {where}")
                assert_close(result, expected, where)
                assert np.asarray(result).dtype == same.dtype
    finally:
        loaded.close()


TEXT = """
func.func @main(%x: tensor<?x?xf32, ["rows", "columns"]> {tw.name = "x"})
    -> (tensor<?xf32, ["columns"]> {tw.name = "mean"}) {
  %zero = "tw.splat"() {value = 0.0 : f32} : () -> tensor<?xf32, ["columns"]>
  %empty = tensor.empty() : tensor<?xf32, ["columns"]>
  %sum = linalg.generic {
    indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>],
    iterator_types = ["reduction", "parallel"]
  } ins(%x : tensor<?x?xf32, ["rows", "columns"]>) outs(%zero : tensor<?xf32, ["columns"]>) {
  ^bb0(%a: f32, %acc: f32):
    %b = arith.addf %a, %acc : f32
    linalg.yield %b : f32
  } -> tensor<?xf32, ["columns"]>
  %mean = linalg.generic {
    indexing_maps = [affine_map<(j) -> (j)>, affine_map<(j) -> (j)>], iterator_types = ["parallel"]
  } ins(%sum : tensor<?xf32, ["columns"]>) outs(%empty : tensor<?xf32, ["columns"]>) {
  ^bb0(%s: f32, %old: f32):
    %n = tw.extent {value = "rows"} : i64
    %count = arith.sitofp %n : i64 to f32
    %m = arith.divf %s, %count : f32
    linalg.yield %m : f32
  } -> tensor<?xf32, ["columns"]>
  func.return %mean : tensor<?xf32, ["columns"]>
}
"""


def test_text_with_named_dimensions_through_the_command_line(thalweg, mistake, require, tmp_path):
    require(target_backends="vmvx", hal_drivers="local-sync")
    source, module = tmp_path / "mean.mlir", tmp_path / "mean.twm"
    source.write_text(TEXT)
    assert thalweg("compile", source, "--target-backend", "vmvx", "-o", module).status == 0
    run = ("run", module, "--device", "local-sync", "--input")
    outcome = thalweg(*run, "2x3xf32=1 2 3 4 5 6")
    assert "2.5 3.5 4.5" in outcome.out, outcome
    assert "1.5" in thalweg(*run, "2x1xf32=1 2").out
    assert (
        mistake(*run, "3xf32=1 2 3") == "input 'x' of main: expected 2 dimensions [rows, columns], got 1 [3]"
    )


@pytest.fixture(scope="module", params=DEVICES)
def embedding_program(request, require):
    """The embedding, whose table limits ``tokens``, loaded."""
    backend, uri = DEVICES[request.param]
    require(target_backends=backend)
    if uri is not None:
        require(hal_drivers=uri)
    program = program_of(CASES["gather from a table, and positions"])
    loaded = load(compile_model(program, target_backends=[backend]), uri)
    yield loaded
    loaded.close()


def test_a_limit_of_the_program_is_checked_at_the_call(embedding_program):
    assert embedding_program.main(np.zeros((1, 512), np.int64)).shape == (1, 512, 6)
    with pytest.raises(InvalidArgument) as caught:
        embedding_program.main(np.zeros((1, 700), np.int64))
    assert str(caught.value) == "main: tokens=700 exceeds positions=512"


def test_a_failing_kernel_names_itself_and_leaves_the_program_usable(embedding_program):
    for _ in range(2):
        with pytest.raises(Aborted, match="gather index 512 is outside a dimension of 512"):
            embedding_program.main(np.full((1, 3), 512))
        assert embedding_program.main(np.full((1, 3), 511)).shape == (1, 3, 6)


def test_two_threads_at_two_sizes(embedding_program):
    def work(tokens: int) -> None:
        for turn in range(20):
            numbers = np.full((1, tokens), turn)
            expected = TABLE[turn] + TABLE[:tokens]
            np.testing.assert_allclose(np.asarray(embedding_program.main(numbers))[0], expected, rtol=1e-6)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(work, tokens) for tokens in (3, 200)]:
            future.result()


def test_a_module_of_named_dimensions_is_the_same_from_its_file(require, tmp_path):
    require(target_backends="vmvx", hal_drivers="local-sync")
    module = compile_model(program_of(CASES["attention"]), target_backends=["vmvx"]).module
    assert module is not None
    path = tmp_path / "attention.twm"
    path.write_bytes(module_bytes(module))
    x = draw(CASES["attention"], [(2, 9, 6)])
    first, second = (np.asarray(load(source, "local-sync").main(*x)) for source in (module, path))
    np.testing.assert_array_equal(first, second)
