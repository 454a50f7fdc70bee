"""What the backend's code computes is what the IR's evaluator, and so the ops' definition, says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import thalweg
from thalweg.api import Aborted, CompileError, ModuleFormatError, ThalwegError
from thalweg.dtypes import numpy_dtype
from thalweg.extents import dimension
from thalweg.ir import FunctionBuilder, Program, extents_of
from thalweg.ir.dialects import tw
from thalweg.ir.evaluate import evaluate
from thalweg_target_example.executable import pack, symbol, unpack

SEED = 20261121
WINDOW = {"strides": (2, 1), "dilations": (1, 2), "pads_low": (1, 0), "pads_high": (1, 2)}
BOX = {name: (1, 1, *values) for name, values in WINDOW.items() if "pad" not in name}
BOX |= {name: (0, 0, *values) for name, values in WINDOW.items() if "pad" in name}


def program(inputs: dict[str, tuple[tuple, str]], body: Callable) -> Program:
    """Return a program of one function, ``main``; ``body(builder, *arguments)`` returns its result."""
    builder = FunctionBuilder("main", [(name, shape, dtype) for name, (shape, dtype) in inputs.items()])
    return builder.program([("out", body(builder, *builder.arguments))])


def random_array(shape: tuple[int, ...], dtype: str, random: np.random.Generator) -> np.ndarray:
    """Return values of a few units; booleans where ``dtype`` is i1."""
    values = random.standard_normal(shape) * 3
    whole = dtype.lstrip("u").startswith("i")
    return (values.astype(np.int64) if whole else values).astype(numpy_dtype(dtype))


def compiled(made: Program):
    """Compile a copy: compiling works on the program in place."""
    return thalweg.compile(Program(made.module.clone(), made.resources), target_backends=["example"])


def check(made: Program, arrays: list[np.ndarray], tolerance: float = 1e-6) -> None:
    """Compile and run ``made``, and compare with its evaluation."""
    (expected,) = evaluate(made, arrays)
    found = np.asarray(thalweg.load(compiled(made), device="local-sync").main(*arrays))
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=f"seed {SEED}")


STRUCTURED = {
    "matmul": ({"a": ((2, 3, 5), "f32"), "b": ((1, 5, 4), "f32")},
               lambda f, a, b: f.structured(tw.MatmulOp, [a, b], (2, 3, 4))),
    "matmul of bytes": ({"a": ((3, 5), "ui8"), "b": ((5, 4), "i8")},
                        lambda f, a, b: f.structured(tw.MatmulOp, [a, b], (3, 4), "i32")),
    "conv": ({"x": ((2, 4, 9, 8), "f32"), "w": ((6, 2, 3, 2), "f32")},
             lambda f, x, w: f.structured(tw.ConvOp, [x, w], (2, 6, 5, 8), groups=2, **WINDOW)),
    "max window": ({"x": ((2, 4, 9, 8), "f32")},
                   lambda f, x: f.structured(tw.ReduceWindowOp, [x], (2, 4, 5, 8), kind="max",
                                             window=(1, 1, 3, 2), **BOX)),
    "sum window": ({"x": ((2, 4, 9, 8), "i32")},
                   lambda f, x: f.structured(tw.ReduceWindowOp, [x], (2, 4, 5, 8), kind="sum",
                                             window=(1, 1, 3, 2), **BOX)),
    "softmax": ({"x": ((3, 7), "f64")}, lambda f, x: f.structured(tw.SoftmaxOp, [x], (3, 7), axis=1)),
    "concat": ({"x": ((2, 3), "f32"), "y": ((2, 1), "f32"), "z": ((2, 4), "f32")},
               lambda f, x, y, z: f.structured(tw.ConcatOp, [[x, y, z]], (2, 8), axis=1)),
    "slice": ({"x": ((6, 9), "i16")},
              lambda f, x: f.structured(tw.SliceOp, [x], (3, 4), offsets=(5, 1), strides=(-2, 2))),
    "pad": ({"x": ((2, 3), "f32")},
            lambda f, x: f.structured(tw.PadOp, [x], (4, 3), low=(1, 0), high=(1, 0), value=2.5)),
    "reshape": ({"x": ((2, 3, 4), "f32")},
                lambda f, x: f.transpose(f.reshape(f.transpose(x, (2, 0, 1)), (3, 8)), (1, 0))),
    "transpose": ({"x": ((2, 3, 4), "i1")}, lambda f, x: f.transpose(x, (2, 0, 1))),
    "reduction": ({"x": ((4, 5, 6), "f32"), "y": ((4, 5, 6), "f32")},
                  lambda f, x, y: f.reduce([x, y], [0, 2], 0.0, lambda s, a, b, t: s.addf(s.mulf(a, b), t))),
    "nothing": ({"x": ((0, 4), "f32")}, lambda f, x: f.elementwise([x], lambda s, a: s.addf(a, a))),
    "one number": ({"x": ((), "f64")}, lambda f, x: f.elementwise([x], lambda s, a: s.mulf(a, a))),
}  # fmt: skip
"""Name → inputs and body."""


@pytest.mark.parametrize("name", STRUCTURED)
def test_an_op_computes_what_it_means(name: str):
    inputs, body = STRUCTURED[name]
    random = np.random.default_rng(SEED)
    check(program(inputs, body), [random_array(shape, dtype, random) for shape, dtype in inputs.values()])


AWKWARD_FLOATS = [0.0, -0.0, 0.5, 1.5, -2.5, 127.0, -129.0, 255.5, 1e10, -1e20, 3e38, np.inf, -np.inf, np.nan]
FLOAT_FUNCTIONS = ["exp", "log", "tanh", "erf", "sqrt", "rsqrt", "absf", "ceil", "floor", "roundeven", "negf"]
FLOAT_OPERATIONS = ["subf", "mulf", "divf", "maximumf", "minimumf"]
FLOAT_PREDICATES = ["oeq", "ogt", "oge", "olt", "ole", "one", "ord", "ueq", "une"]
INTEGER_OPERATIONS = ["addi", "subi", "muli", "divsi", "remsi", "maxsi", "minsi", "andi", "ori", "xori"]
INTEGER_PREDICATES = ["eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge"]


def table(builder: FunctionBuilder, column, row, bodies: list[Callable]):
    """Return what each body makes of every pair of a column's and a row's elements, a row for each body."""
    size = extents_of(column)[0] * extents_of(row)[1]
    parts = [builder.reshape(builder.elementwise([column, row], body), (1, size)) for body in bodies]
    return builder.structured(tw.ConcatOp, [parts], (len(parts), size), axis=0)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_floats_are_right_at_awkward_values(dtype: str):
    values = np.array(AWKWARD_FLOATS, numpy_dtype(dtype))
    bodies = [
        *(lambda s, a, b, name=name: getattr(s, name)(s.addf(a, b)) for name in FLOAT_FUNCTIONS),
        *(lambda s, a, b, name=name: getattr(s, name)(a, b) for name in FLOAT_OPERATIONS),
        *(lambda s, a, b, name=name: s.select(s.cmpf(name, a, b), a, b) for name in FLOAT_PREDICATES),
    ]
    inputs = {"column": ((len(values), 1), dtype), "row": ((1, len(values)), dtype)}
    made = program(inputs, lambda f, column, row: table(f, column, row, bodies))
    check(made, [values[:, np.newaxis], values[np.newaxis]])


@pytest.mark.parametrize("dtype", ["i1", "i8", "i16", "i32", "i64"])
def test_integers_wrap_and_never_trap(dtype: str):
    numpy = numpy_dtype(dtype)
    limits = (0, 1) if dtype == "i1" else (np.iinfo(numpy).min, np.iinfo(numpy).max)
    values = np.array([limits[0], 1 if dtype == "i1" else -1, 0, 1, limits[1]], numpy)
    bodies = [
        *(lambda s, a, b, name=name: getattr(s, name)(a, b) for name in INTEGER_OPERATIONS),
        *(
            lambda s, a, b, name=name: s.select(s.cmpi(name, a, b), a, s.absi(b))
            for name in INTEGER_PREDICATES
        ),
    ]
    inputs = {"column": ((5, 1), dtype), "row": ((1, 5), dtype)}
    made = program(inputs, lambda f, column, row: table(f, column, row, bodies))
    check(made, [values[:, np.newaxis], values[np.newaxis]])


@pytest.mark.parametrize("dtype", ["i1", "i8", "i16", "i32", "i64"])
def test_casts_saturate_and_extend(dtype: str):
    values = np.array(AWKWARD_FLOATS, np.float32)

    def body(f: FunctionBuilder, x):
        def both(s, a):
            signed, unsigned = s.fptosi(a, dtype), s.fptoui(a, dtype)
            return s.subf(s.sitofp(signed, "f64"), s.uitofp(unsigned, "f64"))

        return f.elementwise([x], both, "f64")

    check(program({"x": ((len(values),), "f32")}, body), [values])


def test_one_module_for_every_number_of_rows():
    rows = dimension("rows")

    def body(f: FunctionBuilder, x, w):
        product = f.structured(tw.MatmulOp, [x, w], (rows, 4))
        tail = f.structured(tw.ConcatOp, [[product, product]], (2 * rows, 4), axis=0)
        return f.elementwise([tail], lambda s, v: s.divf(v, s.count(rows, "f32")))

    made = program({"x": ((rows, 3), "f32"), "w": ((3, 4), "f32")}, body)
    random = np.random.default_rng(SEED)
    for count in (1, 7, 40):
        check(made, [random_array((count, 3), "f32", random), random_array((3, 4), "f32", random)])


def test_an_index_out_of_range_fails_the_call():
    inputs = {"data": ((4, 3), "f32"), "at": ((2,), "i64")}
    made = program(inputs, lambda f, data, at: f.structured(tw.GatherOp, [data, at], (2, 3), axis=0))
    data = np.arange(12, dtype=np.float32).reshape(4, 3)
    check(made, [data, np.array([3, -4])])
    module = thalweg.load(compiled(made), device="local-sync")
    with pytest.raises(Aborted, match="an index is out of range"):
        module.main(data, np.array([0, 4]))


def test_what_there_is_no_c_for_is_refused_by_name():
    made = program({"x": ((4,), "f16")}, lambda f, x: f.elementwise([x], lambda s, a: s.addf(a, a)))
    with pytest.raises(CompileError, match="no C is written for element type f16"):
        compiled(made)


def test_equal_input_gives_equal_executables():
    made = program(*STRUCTURED["matmul"])
    first, second = (compiled(made).variants[0].executables[0] for _ in range(2))
    assert first.data == second.data


def test_damaged_executables_are_refused():
    data = pack(b"a shared object")
    assert unpack(data, "kernels") == b"a shared object"
    for damaged in (data[:-1], data[:10], data[:-1] + b"!", b"other" + data):
        with pytest.raises(ModuleFormatError, match="executable 'kernels'"):
            unpack(damaged, "kernels")


def test_kernels_may_have_any_name():
    assert symbol("double") == "kernel_double"
    assert symbol("größe 1") == "kernel_gr_f6__df_e_20_1"


def test_loading_needs_no_compiler():
    code = (
        "import sys, thalweg_target_example.loader; "
        "print([m for m in sys.modules if m.split('.')[0] == 'xdsl' or m.startswith('thalweg.ir')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_code_that_must_be_portable_is_not_this():
    module = compiled(program(*STRUCTURED["matmul"]))
    with pytest.raises(ThalwegError, match="thalweg-example-1"):
        thalweg.load(module, device="local-sync", allow_native=False)


def test_a_c_compiler_that_is_not_there_is_named():
    made = program(*STRUCTURED["matmul"])
    with pytest.raises(CompileError, match="the C compiler 'no-such-cc' cannot be run: No such file"):
        thalweg.compile(made, target_backends=["example"], c_compiler="no-such-cc")
