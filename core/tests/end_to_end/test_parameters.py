"""The weights of a transformer outside its modules, shared by two modules of one family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import thalweg as tw
from thalweg.module.file import read_module
from thalweg.parameters import open_parameters

SEED = 20261121
TOKENS = 5


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory, require) -> dict[str, Path]:
    """MiniLM of 128 tokens and MiniLM of any number of tokens, with the same weights."""
    require(inputs="onnx", hal_drivers="local-sync")
    zoo = pytest.importorskip("thalweg_benchmarks.zoo")
    folder = tmp_path_factory.mktemp("family")
    paths = {name: folder / f"{name}.onnx" for name in ("minilm", "minilm_dynamic")}
    for name, path in paths.items():
        path.write_bytes(zoo.MODELS[name]().SerializeToString())
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("target", ["vmvx", "llvm-cpu"])
def test_two_modules_of_one_family_share_one_file(thalweg, require, family, tmp_path, target):
    require(target_backends=target)
    weights, backend = tmp_path / "minilm.safetensors", f"--target-backend={target}"
    static, dynamic = tmp_path / "static.twm", tmp_path / "dynamic.twm"
    words = ("compile", family["minilm"], "-o", static, backend, f"--parameters-out={weights}")
    assert thalweg(*words).status == 0
    words = ("compile", family["minilm_dynamic"], "-o", dynamic, backend, f"--parameters={weights}")
    assert thalweg(*words).status == 0
    assert static.stat().st_size < 2_000_000 and dynamic.stat().st_size < 2_000_000
    assert weights.stat().st_size > 80_000_000
    shared = {parameter.name for parameter in read_module(static).parameters.values()}
    used = {parameter.name for parameter in read_module(dynamic).parameters.values()}
    assert used <= shared and len(used) >= len(shared) - 1  # all but the table of positions, which is cut

    index = open_parameters(weights)
    generator = np.random.default_rng(SEED)
    ids = generator.integers(0, 30000, (1, TOKENS))
    with (
        tw.load(dynamic, "local-sync", parameters=index, verify="full") as outside,
        tw.load(static, "local-sync", parameters=index) as other,
        tw.load(tw.compile(family["minilm_dynamic"], [target]), "local-sync") as inside,
    ):
        found = np.asarray(outside.main(ids, np.ones_like(ids)))
        expected = np.asarray(inside.main(ids, np.ones_like(ids)))
        assert np.array_equal(found, expected)
        keys = {key: parameter.name for key, parameter in read_module(static).parameters.items()}
        places = {name: other.module.constants[key].ctypes.data for key, name in keys.items()}
        for key, parameter in read_module(dynamic).parameters.items():
            assert outside.module.constants[key].ctypes.data == places[parameter.name]


@pytest.mark.slow
def test_modules_for_two_targets_share_what_neither_packs(require, family, tmp_path):
    require(target_backends="vmvx")
    require(target_backends="llvm-cpu")
    weights = tmp_path / "vmvx.irpa"
    portable = tw.compile(family["minilm"], ["vmvx"], parameters_out=weights)
    native = tw.compile(family["minilm"], ["llvm-cpu"], parameters=weights)
    shared = {parameter.name for parameter in native.parameters.values()}
    assert shared <= {parameter.name for parameter in portable.parameters.values()}
    assert any(name.startswith("f32.30522x384.") for name in shared), "the table of tokens is not packed"


def test_a_model_of_small_constants(thalweg, mistake, require, mnist, mnist_case, tmp_path):
    require(target_backends="vmvx", hal_drivers="local-sync")
    x, expected = mnist_case
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", expected)
    module, weights = tmp_path / "m.twm", tmp_path / "w.irpa"
    words = ("compile", mnist, "-o", module, "--target-backend=vmvx", f"--parameters-out={weights}")
    assert thalweg(*words).status == 0
    run = ("run", module, f"--input=@{tmp_path}/x.npy", f"--expected-output=@{tmp_path}/y.npy")
    outcome = thalweg(*run, "--expected-rtol=1e-4", f"--parameters={weights}", "--device=local-sync")
    assert outcome.status == 0 and "[SUCCESS]" in outcome.out, outcome
    assert "and no parameter file was given" in mistake(*run)
    weights.write_bytes(weights.read_bytes()[:5000])
    assert "truncated or damaged" in mistake(*run, f"--parameters={weights}")
