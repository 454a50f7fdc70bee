"""What a compilation is known by: each part of the key changes it, and nothing else does."""

from __future__ import annotations

import enum
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import importlib_metadata
import pytest
from thalweg.api import TargetBackendSpec
from thalweg.compiler import cache_key
from thalweg.compiler.cache import CachedCompilation, content_source, file_source
from thalweg.compiler.cache_key import Tools, make_key, processor_lines, tools_of
from thalweg.compiler.cache_store import CacheStore
from thalweg.plugin.entry_points import PluginEntry
from thalweg.plugin.registry import Registry

TOOLS = Tools({"files": "digest"}, 0)
SETTINGS = {"target_backends": ["t"], "options": {"t": {"cpu": "host"}}, "opt_level": "O2"}


class Mode(enum.Enum):
    FAST = 1


def key(model=None, settings=SETTINGS, tools=TOOLS) -> str:
    return make_key(model or {"name": "m", "file": "digest"}, settings, tools)


def test_the_same_compilation_has_the_same_key():
    assert key() == key({"file": "digest", "name": "m"}, dict(SETTINGS), Tools({"files": "digest"}, 7))
    assert len(key()) == 64 and set(key()) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "changed",
    [
        {"model": {"name": "m", "file": "other"}},
        {"model": {"name": "n", "file": "digest"}},
        {"settings": {**SETTINGS, "target_backends": ["t", "u"]}},
        {"settings": {**SETTINGS, "options": {"t": {"cpu": "generic"}}}},
        {"settings": {**SETTINGS, "options": {"t": {"cpu": ("host", "generic")}}}},
        {"settings": {**SETTINGS, "options": {"t": {"cpu": Mode.FAST}}}},
        {"settings": {**SETTINGS, "opt_level": "O3"}},
        {"settings": {**SETTINGS, "new": None}},
        {"tools": Tools({"files": "other"}, 0)},
    ],
)
def test_every_part_changes_the_key(changed):
    assert key(**changed) != key()


def test_the_order_of_targets_is_part_of_it_and_that_of_options_is_not():
    backends = {**SETTINGS, "target_backends": ["t", "u"]}
    assert key(settings=backends) != key(settings={**backends, "target_backends": ["u", "t"]})
    assert key(settings=dict(reversed(SETTINGS.items()))) == key()


def test_the_processor_is_part_of_it(monkeypatch):
    before = key()
    monkeypatch.setattr(cache_key, "host_identity", lambda: "another processor")
    assert key() != before


def test_a_path_among_the_settings_stands_for_its_content(tmp_path):
    path = tmp_path / "table.json"
    settings = {**SETTINGS, "table": path}
    absent = key(settings=settings)
    path.write_text("1")
    first = key(settings=settings)
    path.write_text("2")
    assert len({absent, first, key(settings=settings)}) == 3


def test_a_setting_that_nothing_tells_apart_is_refused():
    with pytest.raises(TypeError, match="a setting of type object has no key"):
        key(settings={"x": object()})


CPUINFO = """processor\t: 0
model name\t: A Processor
cpu MHz\t\t: 2400.000
flags\t\t: sse avx

processor\t: 1
model name\t: A Processor
cpu MHz\t\t: 1800.000
flags\t\t: sse avx
"""


def test_what_counts_of_a_processor():
    lines = processor_lines(CPUINFO)
    assert lines == "flags: sse avx\nmodel name: A Processor"
    assert processor_lines(CPUINFO.replace("2400", "900").partition("\n\n")[0]) == lines
    assert processor_lines(CPUINFO.replace("sse avx", "sse avx avx2", 1)) != lines
    arm = "CPU implementer\t: 0x41\nCPU part\t: 0xd40\nFeatures\t: asimd\n"
    assert processor_lines(arm) != processor_lines(arm.replace("0xd40", "0xd41"))


# The tools


@dataclass
class FakeMetadata:
    """A distribution's metadata."""

    name: str = "dist-t"
    version: str = "1.0"
    record: str = "t.py,sha256=1,"
    requires: tuple[str, ...] = ()

    def read_text(self, name: str) -> str:
        assert name == "RECORD"
        return self.record


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A package on the import path, with a module and a data file."""
    folder = tmp_path / "site" / "made_up_target"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "inner" / "table.json").write_text("{}")
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.delitem(sys.modules, "made_up_target", raising=False)
    return folder


class FakeRegistry(Registry):
    """One target backend of ``made_up_target``."""

    def __init__(self, metadata: FakeMetadata, identity: str = ""):
        entry = PluginEntry("thalweg.target_backends", "t", "made_up_target.plugin", metadata)
        super().__init__([entry])
        self._identity = identity

    def target_backend(self, name):
        return TargetBackendSpec(
            name=name,
            summary=name,
            create=lambda options: pytest.fail("it was started"),
            identity=lambda: self._identity,
        )


def tools(metadata: FakeMetadata | None = None, identity: str = "") -> Tools:
    return tools_of(FakeRegistry(metadata or FakeMetadata(), identity), ["t"])


def test_a_plugins_files_are_part_of_it(package):
    before = tools()
    assert tools() == before
    (package / "inner" / "table.json").write_text("[]")
    changed = tools()
    (package / "more.py").write_text("")
    assert len({str(found.identity) for found in (before, changed, tools())}) == 3


def test_what_python_compiles_beside_the_sources_is_not(package):
    before = tools()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.cpython-311.pyc").write_text("")
    (package / "y.pyc").write_text("")
    assert tools() == before


def test_a_plugins_version_and_its_wheels_record_are_part_of_it(package):
    variants = [tools(), tools(FakeMetadata(version="1.1")), tools(FakeMetadata(record="t.py,sha256=2,"))]
    assert len({str(found.identity) for found in variants}) == 3


def test_the_distributions_that_a_plugin_requires_are_part_of_it(package, monkeypatch):
    find = importlib_metadata.distribution
    generator = FakeMetadata(
        "code-generator", "20.1", "lib.so,sha256=1,", requires=("deep>=1", "x; extra == 'a'")
    )
    known = {"code-generator": generator, "deep": FakeMetadata("deep"), "x": FakeMetadata("x")}
    monkeypatch.setattr(importlib_metadata, "distribution", lambda name: known.get(name) or find(name))
    metadata = FakeMetadata(requires=("code-generator[fast]>=20", "not-installed-at-all; extra == 'b'"))
    before = tools(metadata).identity
    assert {"code-generator", "deep"} <= set(before["distributions"])
    assert not {"x", "not-installed-at-all"} & set(before["distributions"])
    generator.record = "lib.so,sha256=2,"
    assert tools(metadata).identity != before


def test_the_code_generators_identity_is_part_of_it(package):
    assert tools(identity="cc 14").identity != tools(identity="cc 15").identity


def test_thalweg_itself_is_part_of_it(package):
    identity = tools().identity
    assert set(identity["files"]) == {"thalweg", "made_up_target"}
    assert {"thalweg", "numpy", "xdsl"} <= set(identity["distributions"])


# One compilation


@pytest.fixture
def store(tmp_path) -> CacheStore:
    return CacheStore(tmp_path / "cache", 1 << 20)


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "m.bin").write_bytes(b"model")
    (folder / "weights").write_bytes(b"weights")
    return folder / "m.bin"


def compilation(store: CacheStore, model: Path, monkeypatch, **settings) -> CachedCompilation:
    """Return one whose compiler's files are older than this process, whoever edits them now."""
    monkeypatch.setattr("thalweg.compiler.cache.tools_of", lambda *_: TOOLS)
    found = CachedCompilation.of(store, Registry([]), file_source(model), {**SETTINGS, **settings})
    assert found is not None
    return found


def keep(kept: CachedCompilation, dependencies=()) -> str | None:
    return kept.keep(lambda path: path.write_bytes(b"module"), {"total_seconds": 1.5}, dependencies)


def test_a_compilation_is_found_again_with_its_report(store, model, monkeypatch):
    first = compilation(store, model, monkeypatch)
    assert first.find() is None
    digest = keep(first)
    assert digest is not None
    store.report_path(digest).unlink()  # evicted
    stored = compilation(store, model, monkeypatch).find()
    assert stored is not None and bytes(stored.content) == b"module"
    assert "1.5" in store.report_path(digest).read_text()


def test_the_models_bytes_and_name_count_and_its_time_does_not(store, model, monkeypatch):
    keep(compilation(store, model, monkeypatch))
    os.utime(model, (1, 1))
    assert compilation(store, model, monkeypatch).find() is not None
    other = model.with_name("n.bin")  # the module holds the model's name
    shutil.copy(model, other)
    assert compilation(store, other, monkeypatch).find() is None
    model.write_bytes(b"model 2")
    assert compilation(store, model, monkeypatch).find() is None


def test_the_files_beside_the_model_count(store, model, monkeypatch):
    weights = model.with_name("weights")
    assert keep(compilation(store, model, monkeypatch), [weights]) is not None
    assert compilation(store, model, monkeypatch).find() is not None
    weights.write_bytes(b"weightz")
    assert compilation(store, model, monkeypatch).find() is None
    weights.unlink()
    assert compilation(store, model, monkeypatch).find() is None


def test_nothing_is_kept_where_the_files_of_the_model_are_not_known(store, model, monkeypatch):
    assert keep(compilation(store, model, monkeypatch), None) is None
    assert store.usage().modules == 0


@pytest.mark.parametrize("name", ["m.bin", "weights"])
def test_nothing_is_kept_of_a_model_that_changes_while_it_is_compiled(store, model, monkeypatch, name):
    running = compilation(store, model, monkeypatch)
    model.with_name(name).write_bytes(b"written meanwhile")
    assert keep(running, [model.with_name("weights")]) is None
    assert store.usage().modules == 0


def test_nothing_is_kept_if_the_compiler_changes_meanwhile_or_is_newer_than_the_process(
    store, model, monkeypatch
):
    running = compilation(store, model, monkeypatch)
    monkeypatch.setattr("thalweg.compiler.cache.tools_of", lambda *_: Tools({"files": "edited"}, 0))
    assert keep(running) is None
    monkeypatch.setattr("thalweg.compiler.cache.tools_of", lambda *_: TOOLS)
    running = compilation(store, model, monkeypatch)
    monkeypatch.setattr("thalweg.compiler.cache.process_start", lambda: -1)
    assert keep(running) is None
    assert store.usage().modules == 0


def test_this_process_began_before_now_and_after_the_machine_did():
    import time

    age = time.time_ns() - cache_key.process_start()
    assert 0 <= age < time.clock_gettime(time.CLOCK_BOOTTIME) * 1e9


def test_without_a_cache_or_a_model_there_is_nothing_to_look_up(store, model, monkeypatch):
    registry = Registry([])
    assert CachedCompilation.of(None, registry, file_source(model), SETTINGS) is None
    empty = CacheStore(store.folder, 0)
    assert CachedCompilation.of(empty, registry, file_source(model), SETTINGS) is None
    monkeypatch.setattr("thalweg.compiler.cache.tools_of", lambda *_: TOOLS)
    absent = file_source(model.with_name("absent"))
    assert CachedCompilation.of(store, registry, absent, SETTINGS) is None


def test_models_in_memory_are_known_by_their_parts():
    contents = [content_source("m", parts).content for parts in ([b"ab"], [b"a", b"b"], [b"ba"])]
    assert len(set(contents)) == 3
    assert content_source("m", [memoryview(b"ab")]).content == contents[0]
