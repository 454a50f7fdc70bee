"""Constants leave a module and come back: names, checks, messages."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from thalweg.errors import InvalidArgument, ModuleFormatError, ParameterError
from thalweg.module.file import module_bytes, read_module
from thalweg.module.module import Module
from thalweg.module.reader import Verify
from thalweg.module.verification import verify_module
from thalweg.parameters import (
    ParameterIndex,
    bind_parameters,
    move_outside,
    open_parameters,
    parse_parameter_option,
    write_parameters,
)

from . import archives, modules

OUTSIDE = {"weight", "flat", "half"}


@pytest.fixture(params=["safetensors", "irpa"])
def path(request, tmp_path: Path) -> Path:
    """Where the constants go."""
    return tmp_path / f"w.{request.param}"


def write_outside(module: Module, path: Path, scope: str = "") -> Module:
    lean, tensors = move_outside(module, scope=scope)
    write_parameters(tensors, path)
    return lean


def bind(module: Module, source: object, verify: Verify = "code") -> Module:
    index = source if isinstance(source, ParameterIndex) else open_parameters(source)  # type: ignore[arg-type]  (any kind of source, as callers pass it)
    return bind_parameters(module, module.variants[0].constants, index, verify)


def refusal(module: Module, source: object, verify: Verify = "code") -> str:
    with pytest.raises(ParameterError) as caught:
        bind(module, source, verify)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("verify", ["code", "full"])
def test_constants_come_back_as_they_were(path, verify):
    module = modules.sample()
    lean = write_outside(module, path)
    assert set(lean.parameters) == OUTSIDE and set(lean.constants) == {"small", "scalar"}
    assert lean.required_features == ("parameters",)
    verify_module(lean, "lean")
    bound = bind(lean, path, verify)
    assert not bound.parameters and bound.required_features == ()
    for name, array in module.constants.items():
        found = bound.constants[name]
        assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert name not in OUTSIDE or (not found.flags.writeable and found.ctypes.data % 64 == 0)


def test_names_say_dtype_shape_and_content(path):
    lean = write_outside(modules.sample(), path)
    array = modules.sample().constants["half"]
    parameter = lean.parameters["half"]
    assert parameter.name == f"bf16.33x21.{sha256(array.tobytes()).hexdigest()}"
    assert (parameter.scope, parameter.dtype, parameter.shape) == ("", "bf16", (33, 21))
    assert parameter.nbytes == array.nbytes == lean.constant_bytes("half")


def test_two_modules_share_a_file_where_their_constants_are_equal(path):
    first, second = modules.sample("first", 5), modules.sample("second", 6)
    lean_first = write_outside(first, path)
    index = open_parameters(path)
    lean_second, rest = move_outside(second, existing=index)
    assert not rest
    assert set(lean_second.parameters) == {"weight"}, "what the file lacks stays in the module"
    one, two = bind(lean_first, index), bind(lean_second, index)
    assert one.constants["weight"].ctypes.data == two.constants["weight"].ctypes.data
    assert two.constants["flat"].tobytes() == second.constants["flat"].tobytes()


def test_the_rest_goes_to_a_second_file(path, tmp_path):
    write_outside(modules.sample("first", 5), path)
    lean, rest = move_outside(modules.sample("second", 6), existing=open_parameters(path), scope="")
    assert len(rest) == 2 and set(lean.parameters) == OUTSIDE
    write_parameters(rest, tmp_path / "rest.irpa")
    bound = bind(lean, [path, tmp_path / "rest.irpa"], "full")
    assert not bound.parameters
    assert "2 more" not in refusal(lean, path) and "and 1 more" in refusal(lean, path)


def test_an_existing_checkpoint_is_referred_to_by_its_own_names(tmp_path):
    module = modules.sample()
    path = tmp_path / "checkpoint.gguf"
    weight = module.constants["weight"]
    path.write_bytes(archives.gguf({"blk.0.other": weight + 1, "blk.0.weight": weight}))
    lean, rest = move_outside(module, existing=open_parameters({"llm": path}))
    assert not rest
    assert {key: (p.scope, p.name) for key, p in lean.parameters.items()} == {
        "weight": ("llm", "blk.0.weight")
    }
    assert np.array_equal(bind(lean, f"llm={path}", "full").constants["weight"], weight)


def test_the_first_file_of_a_scope_that_has_a_name_is_taken(tmp_path):
    module = modules.sample()
    for name, offset in (("a", 0), ("b", 1)):
        write_parameters({"w": module.constants["weight"] + offset}, tmp_path / f"{name}.safetensors")
    both = open_parameters([tmp_path / "b.safetensors", tmp_path / "a.safetensors"])
    assert move_outside(module, existing=both)[0].parameters == {}, "a hidden tensor is not referred to"
    lean, _ = move_outside(module, existing=open_parameters(tmp_path / "a.safetensors"))
    assert bind(lean, [tmp_path / "a.safetensors", tmp_path / "b.safetensors"], "full")
    assert "does not have the content" in refusal(lean, both, "full")


def test_only_what_is_asked_for_is_needed(path, tmp_path):
    lean = write_outside(modules.sample(), path)
    bound = bind_parameters(lean, ["half"], open_parameters(path))
    assert set(bound.parameters) == {"weight", "flat"} and bound.required_features == ("parameters",)
    assert bind_parameters(lean, ["small"], ParameterIndex()) is lean


# What is not as it should be


def test_no_file_given(path):
    message = refusal(write_outside(modules.sample(), path), None)
    assert message.startswith("module 'sample' needs parameter 'f32.64x48.")
    assert "of the default scope as 64x48xf32 and 2 more, and no parameter file was given;" in message
    assert message.endswith("give --parameters=FILE, or thalweg.load(..., parameters='FILE')")


def test_a_scope_that_was_not_given(path):
    lean = write_outside(modules.sample(), path, scope="encoder")
    message = refusal(lean, f"decoder={path}")
    assert "of scope 'encoder' as 64x48xf32 and 2 more; the files given are of scope 'decoder'" in message
    assert str(path) in message and "give --parameters=encoder=FILE" in message
    assert "of the default scope" in refusal(lean, path)


def test_a_name_that_is_not_there(path, tmp_path):
    lean = write_outside(modules.sample(), path)
    other = tmp_path / "other.safetensors"
    write_parameters({"w": np.ones(3, np.float32)}, other)
    assert f"not among the 1 tensors of {other}; give" in refusal(lean, other)
    write_parameters({lean.parameters["weight"].name[:-1]: np.ones(3, np.float32)}, other)
    assert "(nearest: 'f32.64x48." in refusal(lean, other)


def renamed(lean: Module, key: str, **tensor: object) -> Module:
    return replace(lean, parameters={**lean.parameters, key: replace(lean.parameters[key], **tensor)})


def test_another_dtype_or_shape_or_size(path):
    lean = write_outside(modules.sample(), path)
    wide = refusal(renamed(lean, "weight", dtype="f64"), path)
    assert "as 64x48xf64" in wide
    tall = refusal(renamed(lean, "weight", shape=(64, 49)), path)
    assert "as 64x49xf32" in tall
    if path.suffix == ".irpa":
        assert "24576 bytes; in" in wide and "it has 12288; give" in wide
        assert "12544 bytes; in" in tall
    else:
        assert "it is 64x48xf32; give the file that the module was compiled with" in wide
        assert "it is 64x48xf32; give" in tall
        assert "it is 64x48xf32; give" in refusal(renamed(lean, "weight", shape=(48, 64)), path)


def test_a_quantized_tensor(tmp_path):
    path = tmp_path / "q.gguf"
    path.write_bytes(archives.gguf({}, quantized=["blk.0"]))
    lean, _ = move_outside(modules.sample(), scope="")
    message = refusal(
        replace(
            renamed(lean, "weight", name="blk.0"),
            variants=(replace(lean.variants[0], constants=("weight",)),),
        ),
        path,
    )
    assert (
        "it has the quantized type Q4_K, which Thalweg does not read; give a file that holds it as f32"
        in message
    )


def test_changed_content_is_told_under_full_verification_only(path):
    lean = write_outside(modules.sample(), path)
    tensor = open_parameters(path).files[0][1].tensors[lean.parameters["flat"].name]
    data = bytearray(path.read_bytes())
    data[tensor.offset + 77] ^= 4
    path.write_bytes(data)
    assert bind(lean, path).parameters == {}
    message = refusal(lean, path, "full")
    assert "'f32.3072." in message and "SHA-256" in message and "or compile the model again" in message


# Sources


@pytest.mark.parametrize(
    ("text", "scope", "path"),
    [
        ("w.irpa", "", "w.irpa"),
        ("llm=w.irpa", "llm", "w.irpa"),
        ("a.b-c_1=w=2.irpa", "a.b-c_1", "w=2.irpa"),
        ("=w=2.irpa", "", "w=2.irpa"),
        ("/data/run=3/w.irpa", "", "/data/run=3/w.irpa"),
        ("dir/run=3/w.irpa", "", "dir/run=3/w.irpa"),
    ],
)
def test_options_have_a_scope_and_a_file(text, scope, path):
    assert parse_parameter_option(text) == (scope, path)


@pytest.mark.parametrize("text", ["", "llm="])
def test_an_option_without_a_file(text):
    with pytest.raises(InvalidArgument, match=r"write FILE or SCOPE=FILE"):
        parse_parameter_option(text)


def test_every_kind_of_source(path, tmp_path):
    write_outside(modules.sample(), path)
    index = open_parameters(path)
    assert open_parameters(index) is index
    expected = [("", str(path))]
    for source in (path, str(path), [path], [str(path)], {"": path}, {"": [path]}):
        assert [(scope, file.where) for scope, file in open_parameters(source).files] == expected
    scopes = {"a": path, "b": [str(path), path]}
    assert [scope for scope, _ in open_parameters(scopes).files] == ["a", "b", "b"]
    assert open_parameters([f"a={path}", path]).scopes().keys() == {"a", ""}
    assert open_parameters(None).files == ()


def test_other_sources(tmp_path):
    with pytest.raises(InvalidArgument, match="a mapping from scopes to files; got int"):
        open_parameters(3)  # type: ignore[arg-type]  (a wrong value is what is tested)
    with pytest.raises(InvalidArgument, match=r"no such parameter file: .*absent\.irpa"):
        open_parameters(tmp_path / "absent.irpa")
    with pytest.raises(InvalidArgument, match=r"cannot read the parameter file .*: Is a directory"):
        open_parameters(tmp_path)


# The module file


def test_a_module_file_keeps_the_references(path):
    lean = write_outside(modules.sample(), path, scope="s")
    data = module_bytes(lean)
    assert data == module_bytes(write_outside(modules.sample(), path, scope="s"))
    back = read_module(data, "full")
    assert back.parameters == lean.parameters and back.required_features == ("parameters",)
    assert module_bytes(back) == data
    assert len(module_bytes(modules.sample())) - len(data) > 20000


def test_an_older_reader_refuses_it_naming_the_feature(path, monkeypatch):
    data = module_bytes(write_outside(modules.sample(), path))
    monkeypatch.setattr("thalweg.module.manifest.KNOWN_FEATURES", frozenset())
    with pytest.raises(
        ModuleFormatError, match=r"requires parameters, which this Thalweg .* upgrade thalweg"
    ):
        read_module(data)


def test_a_module_without_parameters_is_as_before():
    data = module_bytes(modules.sample())
    assert b'"parameters"' not in data
    assert module_bytes(move_outside(modules.sample())[0]) == data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"required_features": ()}, "3 parameters, but the required features are none"),
        ({"parameters": {}, "constants": modules.sample().constants}, "0 parameters, but"),
        ({"constants": modules.sample().constants}, "is both a constant and a parameter"),
    ],
)
def test_records_that_do_not_fit(path, change, message):
    lean = replace(write_outside(modules.sample(), path), **change)
    with pytest.raises(ModuleFormatError, match=message):
        verify_module(lean, "module")


def test_a_parameter_of_another_size_than_its_slot_is_refused(path):
    lean = move_outside(modules.sample(), scope="", minimum_bytes=0)[0]
    with pytest.raises(ModuleFormatError, match="slot 0 has 64 bytes; constant 0 has 128"):
        verify_module(renamed(lean, "small", shape=(32,)), "module")
