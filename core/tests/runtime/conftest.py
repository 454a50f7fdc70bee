"""The module on each kind of device."""

from __future__ import annotations

import numpy as np
import pytest
from thalweg.runtime import load

from .fakes import DEVICES, make_registry
from .sample import make_module


@pytest.fixture(params=list(DEVICES))
def kind(request) -> str:
    """Each way to run a function."""
    return request.param


@pytest.fixture
def device(kind):
    """A fake device of that kind, or ``None`` for inline."""
    return DEVICES[kind]()


@pytest.fixture
def program(kind, device):
    """The module, loaded."""
    return load(make_module(inline=kind == "inline"), device, registry=make_registry())


@pytest.fixture
def x() -> np.ndarray:
    """An input of ``main``."""
    return np.array([[0.5, -1, 2], [3, 4, -5]], np.float32)


@pytest.fixture
def s() -> np.ndarray:
    """The other input of ``main``."""
    return np.array(10, np.float32)
