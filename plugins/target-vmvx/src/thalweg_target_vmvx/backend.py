"""The target backends ``vmvx`` and ``vmvx-inline``."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.codegen.target import (
    DispatchPlan,
    KernelPlan,
    KernelSource,
    LinkedExecutable,
    TargetBackend,
    TargetConfiguration,
    TranslatedKernel,
)
from thalweg.hal.executable import EntryPoint
from thalweg.ir import Dispatch

from thalweg_target_vmvx.bytecode import Function
from thalweg_target_vmvx.encoding import encode_executable, encode_function
from thalweg_target_vmvx.listing import listing
from thalweg_target_vmvx.plugin import FORMAT
from thalweg_target_vmvx.translation import translate_dispatch
from thalweg_target_vmvx.verification import verify


class VmvxBackend(TargetBackend):
    """Makes one bytecode function of one workgroup per dispatch; wants nothing packed.

    :param inline: kernels run in the host program, without a device.
    """

    def __init__(self, name: str, inline: bool = False):
        self.name = name
        self.inline = inline

    def configuration(self) -> TargetConfiguration:
        """Return the configuration; the code fits every machine, so there is nothing to resolve."""
        predicate = {} if self.inline else {"device_kind": "local", "executable_format": FORMAT}
        ops = frozenset({"tw.softmax", "tw.layer_norm"})
        return TargetConfiguration(
            self.name, FORMAT, predicate=predicate, structured_ops=ops, inline=self.inline
        )

    def plan(self, dispatch: Dispatch, config: TargetConfiguration) -> DispatchPlan:
        """Plan one workgroup; refuses what has no bytecode."""
        translate_dispatch(dispatch)
        return DispatchPlan(KernelPlan((1, 1, 1)))

    def translate(self, kernel: KernelSource, config: TargetConfiguration) -> TranslatedKernel:
        """Translate one kernel to bytecode."""
        function = translate_dispatch(Dispatch.parse(kernel.text))
        verify(function)
        return TranslatedKernel(
            _entry_point(function), encode_function(function), dumps={".vmvx": listing(function).encode()}
        )

    def link(self, translated: Sequence[TranslatedKernel], config: TargetConfiguration) -> LinkedExecutable:
        """Concatenate the functions into one executable."""
        data = encode_executable([kernel.payload for kernel in translated])
        return LinkedExecutable(config.executable_format, data, tuple(kernel.entry for kernel in translated))


def _entry_point(function: Function) -> EntryPoint:
    access = ("r",) * len(function.operands) + ("w",) * len(function.results)
    return EntryPoint(function.name, len(access), len(function.dimensions), binding_access=access)
