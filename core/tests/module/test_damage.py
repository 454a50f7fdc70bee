"""Damaged, truncated and newer files are refused by name and reason, before anything runs."""

from __future__ import annotations

import hashlib
import json
import random
import runpy
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from thalweg.errors import ModuleFormatError
from thalweg.module import manifest as manifest_records
from thalweg.module import writer
from thalweg.module.file import module_bytes, read_module
from thalweg.module.manifest import encode_manifest
from thalweg.module.reader import Verify
from thalweg.module.segments import archive_comment

SEED = random.SystemRandom().randrange(1 << 32)
COUNT = 50


@pytest.fixture(scope="module")
def chance():
    print(f"seed {SEED}")
    return random.Random(SEED)


def constant_ranges(data: bytes) -> list[range]:
    """Return the places of the constants' bytes, from the manifest."""
    size = int.from_bytes(data[18:22], "little")
    manifest = json.loads(data[64 : 64 + size])
    rows = [row for row in manifest["segments"] if row["kind"] == "constant"]
    return [range(64 + size + row["offset"], 64 + size + row["offset"] + row["size"]) for row in rows]


def outside_constants(data: bytes) -> list[int]:
    """Return every other place."""
    places = set(range(len(data)))
    for constant in constant_ranges(data):
        places.difference_update(constant)
    return sorted(places)


def flipped(data: bytes, at: int, chance: random.Random) -> bytes:
    changed = bytearray(data)
    changed[at] ^= chance.randrange(1, 256)
    return bytes(changed)


def refusal(data: bytes, verify: Verify = "code") -> str:
    """Return the one-line message of the refusal."""
    with pytest.raises(ModuleFormatError) as caught:
        read_module(data, verify)
    message = str(caught.value)
    assert message.startswith("module in memory") and "\n" not in message
    return message


def test_a_flipped_byte_anywhere_is_refused_under_full_verification(data, chance):
    for _ in range(COUNT):
        at = chance.randrange(len(data))
        assert refusal(flipped(data, at, chance), "full"), f"byte {at}, seed {SEED}"


def test_a_flipped_byte_outside_the_constants_is_refused_by_default(data, chance):
    for at in chance.sample(outside_constants(data), COUNT):
        assert refusal(flipped(data, at, chance)), f"byte {at}, seed {SEED}"


@pytest.mark.full
def test_every_bit_outside_the_constants_counts():
    data = module_bytes(_small())
    for at in outside_constants(data):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            assert refusal(bytes(changed)), f"byte {at}, bit {bit}"


def _small():
    return runpy.run_path(str(Path(__file__).with_name("conftest.py")))["sample_module"](16)


def test_a_constant_s_damage_is_named_under_full_verification(data, chance):
    at = chance.choice(max(constant_ranges(data), key=len))
    changed = flipped(data, at, chance)
    read_module(changed)
    assert "constants/" in refusal(changed, "full") and "chunk" in refusal(changed, "full")


def test_a_truncated_file_is_refused_at_any_length(data, chance):
    for _ in range(COUNT):
        length = chance.randrange(len(data))
        message = refusal(data[:length])
        assert "truncated" in message or "not a Thalweg module" in message, f"length {length}, seed {SEED}"


def test_bytes_after_the_end_are_refused(data):
    assert "does not end with a module's end record" in refusal(data + b"\0")
    assert refusal(data + data)


def newer(monkeypatch, module, **changes) -> bytes:
    monkeypatch.setattr(
        writer, "encode_manifest", lambda manifest: encode_manifest(replace(manifest, **changes))
    )
    data = module_bytes(module)
    monkeypatch.undo()
    return data


@pytest.mark.parametrize(("version", "text"), [((2, 0), "2.0"), ((1, 2), "1.2"), ((9, 7), "9.7")])
def test_a_newer_format_is_refused_naming_both_versions(monkeypatch, module, version, text):
    message = refusal(newer(monkeypatch, module, format=version))
    assert f"module format {text}, newer than 1.1" in message and "damaged" not in message


def test_a_newer_format_is_told_even_if_its_manifest_has_other_keys(data):
    text = json.dumps({"format": [3, 0], "anything": {}}).encode()
    text += b"\n" * (-len(text) % 64)
    header = data[:18] + len(text).to_bytes(4, "little") * 2 + data[26:64]
    comment = archive_comment(text)
    assert "module format 3.0, newer than 1.1" in refusal(header + text + comment)


def test_an_older_major_is_refused_naming_both_versions(monkeypatch, module):
    assert "module format 0.9, older than 1.1" in refusal(newer(monkeypatch, module, format=(0, 9)))


def test_another_kernel_abi_is_refused_naming_both(monkeypatch, module):
    assert "kernel ABI 2; this Thalweg runs 1" in refusal(newer(monkeypatch, module, abi=2))


def test_an_unknown_required_feature_is_refused_naming_it(monkeypatch, module):
    message = refusal(module_bytes(replace(module, required_features=("sparse-weights",))))
    assert "module format 1.0" in message and "requires sparse-weights" in message
    monkeypatch.setattr(manifest_records, "KNOWN_FEATURES", frozenset({"sparse-weights"}))
    read_module(module_bytes(replace(module, required_features=("sparse-weights",))))


def resealed(data: bytes, change) -> bytes:
    """Return the file with a changed manifest of the same length, its digest and headers made right again."""
    size = int.from_bytes(data[18:22], "little")
    document = json.loads(data[64 : 64 + size])
    change(document)
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert len(text) <= size, "the changed manifest must not be longer"
    text += b"\n" * (size - len(text))
    crc = zlib.crc32(text).to_bytes(4, "little")
    directory = data.rindex(b"manifest.json") - 46
    sealed = bytearray(data)
    sealed[64 : 64 + size] = text
    sealed[14:18] = sealed[directory + 16 : directory + 20] = crc
    sealed[-64:] = hashlib.sha256(text).hexdigest().encode()
    return bytes(sealed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["segments"][3].update(offset=0), "central directory|lies at|local header"),
        (lambda d: d["segments"][3].update(size=1), "constants|truncated|damaged"),
        (lambda d: d["constants"][0].update(segment=0), "a segment of kind constant"),
        (lambda d: d["constants"][0].update(shape=[4, 3]), "a segment of 48 bytes, which has 64"),
        (lambda d: d["constants"][0].update(dtype="f9"), "expected one of i1"),
        (lambda d: d["constants"][0].update(shape=[-4, -4]), "integers from 0"),
        (lambda d: d["constants"][1].update(name="weight"), "two constants have one name"),
        (lambda d: d["variants"][0].update(program=99), "an integer from 0"),
        (lambda d: d["variants"].clear(), "at least one variant"),
        (lambda d: d["exports"].clear(), "the module exports none"),
        (lambda d: d.pop("producer"), "an object with the keys"),
        (lambda d: d["segments"][0].update(kind=[]), "expected one of program, executable, constant"),
    ],
)
def test_a_manifest_that_does_not_fit_the_file_is_refused(data, change, message):
    with pytest.raises(ModuleFormatError, match=message):
        read_module(resealed(data, change))
