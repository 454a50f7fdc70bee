"""Truncated files and flipped bytes: one line each, or the same tensors."""

from __future__ import annotations

import random

import pytest
from thalweg.errors import ThalwegError
from thalweg.parameters import (
    bind_parameters,
    move_outside,
    open_parameter_file,
    open_parameters,
    write_parameters,
)

from . import archives, modules

SEED = random.SystemRandom().randrange(1 << 32)
COUNT = 50


@pytest.fixture(scope="module")
def chance():
    print(f"seed {SEED}")
    return random.Random(SEED)


@pytest.fixture(params=["safetensors", "irpa", "gguf"])
def case(request, tmp_path):
    """A module whose parameters are in a file of each format, and the file."""
    path = tmp_path / f"w.{request.param}"
    module = modules.sample()
    if request.param == "gguf":
        path.write_bytes(archives.gguf({name: module.constants[name] for name in ("weight", "flat", "half")}))
        return move_outside(module, existing=open_parameters(path))[0], path
    lean, tensors = move_outside(module, scope="")
    write_parameters(tensors, path)
    return lean, path


def outcome(lean, path) -> str:
    """Return the message of the refusal, or nothing if the parameters are what they were."""
    try:
        bound = bind_parameters(lean, lean.parameters, open_parameters(path), "full")
    except ThalwegError as error:
        assert "\n" not in str(error) and str(path) in str(error), str(error)
        return str(error)
    for name, array in modules.sample().constants.items():
        assert bound.constants[name].tobytes() == array.tobytes(), name
    return ""


def test_a_truncated_file_is_refused_at_any_length(case, chance):
    lean, path = case
    data = path.read_bytes()
    needed = max(tensor.offset + tensor.size for tensor in open_parameter_file(path).tensors.values())
    for _ in range(COUNT):
        length = chance.randrange(needed)
        path.write_bytes(data[:length])
        message = outcome(lean, path)
        assert "truncated" in message or "is not a parameter file" in message, f"{length}, seed {SEED}"


def test_a_flipped_byte_is_refused_or_without_effect(case, chance):
    lean, path = case
    data = path.read_bytes()
    table = min(tensor.offset for tensor in open_parameter_file(path).tensors.values())
    refused = 0
    for number in range(4 * COUNT):
        at = chance.randrange(len(data)) if number % 2 else chance.randrange(table)
        flipped = bytearray(data)
        flipped[at] ^= chance.randrange(1, 256)
        path.write_bytes(flipped)
        refused += bool(outcome(lean, path))
    assert refused > COUNT, f"seed {SEED}"


@pytest.mark.parametrize("start", [b"GGUF\x03\0\0\0", b"IRPA\0\0\0\0", b'\x40\0\0\0\0\0\0\0{"'])
def test_noise_behind_a_right_start_is_refused(tmp_path, chance, start):
    path = tmp_path / "noise"
    for _ in range(COUNT):
        path.write_bytes(start + chance.randbytes(chance.randrange(400)))
        with pytest.raises(ThalwegError) as caught:
            open_parameters(path)
        assert "\n" not in str(caught.value)


@pytest.mark.full
def test_every_bit_of_a_table_counts_or_is_without_effect(case):
    lean, path = case
    data = path.read_bytes()
    for at in range(min(tensor.offset for tensor in open_parameter_file(path).tensors.values())):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            path.write_bytes(flipped)
            outcome(lean, path)
