"""What errors of the compiler say: the model's node, the kernel, the phase, and what to do."""

from __future__ import annotations

import pytest
from thalweg.codegen.target import DispatchPlan, KernelPlan, TargetBackend, TargetConfiguration
from thalweg.compiler import pipeline
from thalweg.compiler.dumping import Dumper
from thalweg.compiler.pipeline import BackendJob, Session, compile_variant
from thalweg.errors import CompileError, NotSupported
from thalweg.ir.builder import FunctionBuilder
from thalweg.ir.dialects import tw


class Refusing(TargetBackend):
    """Refuses to plan, to translate or to link."""

    def __init__(self, refuses: str):
        self.refuses = refuses

    def configuration(self):
        return TargetConfiguration("refusing", "test-1", structured_ops=frozenset({"tw.softmax"}))

    def plan(self, dispatch, config):
        if self.refuses == "plan":
            raise NotSupported("softmax", "tw.softmax of f32 is not supported")
        return DispatchPlan(KernelPlan((1, 1, 1)))

    def translate(self, kernel, config):
        raise NotSupported("softmax", "no instruction for tw.softmax")

    def link(self, translated, config):
        raise AssertionError("there is nothing to link")


def compile_refused(refuses: str, source: str = "Softmax -> y", dump_dir=None) -> str:
    """Compile a softmax and return the error's message."""
    builder = FunctionBuilder("main", [("x", (2, 3), "f32")])
    builder.source = source
    program = builder.program(
        [("y", builder.structured(tw.SoftmaxOp, [builder.arguments[0]], (2, 3), axis=1))]
    )
    backend = Refusing(refuses)
    job = BackendJob("refusing", backend, backend.configuration(), {}, False, "refusing")
    session = Session("end", Dumper(dump_dir), lambda *_: None)
    with pytest.raises(CompileError) as caught:
        compile_variant(program, job, session)
    return str(caught.value)


def test_a_plan_that_is_refused():
    assert compile_refused("plan") == (
        "target backend 'refusing' cannot compile node 'Softmax -> y' (kernel main_dispatch_0_softmax):"
        " tw.softmax of f32 is not supported; try another --target-backend (phase flow)"
    )


def test_a_translation_that_is_refused():
    assert compile_refused("translate") == (
        "target backend 'refusing' cannot translate node 'Softmax -> y' (kernel main_dispatch_0_softmax):"
        " no instruction for tw.softmax; try another --target-backend (phase executable-targets)"
    )


def test_an_op_of_no_node():
    assert "cannot compile a computed op (kernel main_dispatch_0_softmax): " in compile_refused("plan", "")


@pytest.mark.parametrize("dumps", [False, True])
def test_a_pass_that_gives_up_names_its_phase_and_says_how_to_see_more(monkeypatch, tmp_path, dumps):
    def give_up(program):
        raise NotSupported("dynamic-shapes", "tensor<?xf32> has no number for its dimension 0")

    monkeypatch.setattr(pipeline, "optimize", give_up)
    hint = "see the last file of --dump-dir" if dumps else "--dump-dir DIR shows the program before"
    assert compile_refused("plan", dump_dir=tmp_path if dumps else None) == (
        f"tensor<?xf32> has no number for its dimension 0 (phase global-optimization; {hint})"
    )


def test_a_fused_kernel_is_called_by_all_its_nodes():
    builder = FunctionBuilder("main", [("x", (2, 3), "f32")])
    builder.source = "Softmax -> p"
    p = builder.structured(tw.SoftmaxOp, [builder.arguments[0]], (2, 3), axis=1)
    builder.source = "Exp -> y"
    program = builder.program([("y", builder.elementwise([p], lambda s, v: s.exp(v)))])
    backend = Refusing("plan")
    job = BackendJob("refusing", backend, backend.configuration(), {}, False, "refusing")
    with pytest.raises(CompileError, match=r"node 'Softmax -> p [+] Exp -> y'"):
        compile_variant(program, job, Session("end", Dumper(None), lambda *_: None))
