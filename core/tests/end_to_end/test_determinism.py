"""The same model gives the same bytes, whatever the hash seed."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("vmvx", ()),
        ("vmvx-inline", ()),
        ("llvm-cpu", ("--target-cpu=generic",)),
        ("llvm-cpu", ("--target-cpu=host",)),
    ],
)
def test_two_processes_with_other_hash_seeds_make_the_same_module(
    compile_elsewhere, require, mnist, tmp_path, target, options
):
    require(target_backends=target)
    for seed in ("1", "4242"):
        environment = {"PYTHONHASHSEED": seed, "THALWEG_CACHE_DIR": str(tmp_path / seed)}
        output = tmp_path / f"{seed}.twm"
        compile_elsewhere(mnist, output, f"--target-backend={target}", *options, environment=environment)
    assert (tmp_path / "1.twm").read_bytes() == (tmp_path / "4242.twm").read_bytes()
