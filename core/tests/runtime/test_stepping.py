"""Functions that run command by command give what calls give, on each kind of device."""

from __future__ import annotations

import numpy as np
import pytest
from thalweg.errors import InvalidArgument
from thalweg.module.program import DispatchCommand
from thalweg.runtime.stepping import step_function

from .fakes import make_registry


def test_running_every_command_gives_what_a_call_gives(program, x, s):
    stepped = step_function(program, "main", [x, s], make_registry())
    for number in range(len(stepped.commands)):
        stepped.prepare(number)()
    y, n = program.main(x, s)
    found = stepped.results()
    np.testing.assert_array_equal(found[0], np.asarray(y))
    np.testing.assert_array_equal(found[1], np.asarray(n))


def test_what_a_step_wrote_can_be_read_and_replaced(program, x, s):
    stepped = step_function(program, "main", [x, s], make_registry())
    dispatches = [i for i, c in enumerate(stepped.commands) if isinstance(c, DispatchCommand)]
    for number in range(dispatches[0] + 1):
        stepped.prepare(number)()
    first = stepped.commands[dispatches[0]]
    assert isinstance(first, DispatchCommand)
    x_span, weight, product = first.bindings
    values, factors = (stepped.read(span).view(np.float32) for span in (x_span, weight))
    np.testing.assert_array_equal(values, x.reshape(-1))
    np.testing.assert_array_equal(stepped.read(product).view(np.float32), values * factors)
    stepped.write(product, np.full(6, 7, np.float32).view(np.uint8))
    for number in range(dispatches[0] + 1, len(stepped.commands)):
        stepped.prepare(number)()
    np.testing.assert_array_equal(stepped.results()[0], np.full((2, 3), 17, np.float32))


def test_dispatches_are_numbered_apart_from_other_commands(program, x, s):
    stepped = step_function(program, "main", [x, s], make_registry())
    assert stepped.fixed.dispatch_numbers == {1: 0, 2: 1, 4: 2}


def test_wrong_inputs_are_refused(program, s):
    with pytest.raises(InvalidArgument, match="input 'x' of main"):
        step_function(program, "main", [np.zeros((2, 4), np.float32), s], make_registry())
