"""Executables: formats, functions, damaged data."""

from __future__ import annotations

from dataclasses import replace

from thalweg.api import ModuleFormatError, NotSupported, UnknownName
from thalweg.hal.executable import EntryPoint, ExecutableRecord

from thalweg_conformance.bench import Bench
from thalweg_conformance.checks import equal, holds, raises
from thalweg_conformance.kernels import KernelLibrary
from thalweg_conformance.rules import Level, rule

AREA = "executable"

UNKNOWN = ExecutableRecord("unknown", "no-such-format-1", b"\0" * 64, (EntryPoint("main", 1),))


@rule()
def test_refuses_unknown_formats(bench: Bench) -> None:
    """HAL-EXE-1: a format that the device does not run raises NotSupported, which names it; asked, it
    answers 0.

    Reference: thalweg.hal.driver.Device.prepare_executable; IREE CTS executable_cache
    CantPrepareUnknownFormat.
    """
    equal(
        bench.device.query("hal.executable.format", UNKNOWN.format), 0, f"query of format {UNKNOWN.format!r}"
    )
    asked = f"prepare_executable of format {UNKNOWN.format!r}"
    with raises(NotSupported, asked) as caught:
        bench.device.prepare_executable(UNKNOWN)
    holds(UNKNOWN.format in str(caught[0]), str(caught[0]), "a message that names the format", asked)


@rule()
def test_answers_for_its_formats(bench: Bench, library: KernelLibrary) -> None:
    """HAL-EXE-2: asked for a format that it runs, the device answers with something other than 0.

    Reference: thalweg.hal.driver.Device.query, category hal.executable.format.
    """
    came = bench.device.query("hal.executable.format", library.record.format)
    holds(came != 0, came, "not 0", f"query('hal.executable.format', {library.record.format!r})")


@rule()
def test_prepares(bench: Bench, library: KernelLibrary) -> None:
    """HAL-EXE-3: a prepared executable has the functions of its record, in order, and finds them by name.

    Reference: thalweg.hal.executable.Executable; IREE CTS core/executable ExportInfo, LookupExportByName.
    """
    executable = bench.device.prepare_executable(library.record)
    equal(executable.format, library.record.format, "format of the executable")
    equal(executable.entries, library.record.entries, "entries of the executable")
    for index, entry in enumerate(library.record.entries):
        equal(executable.lookup_function(entry.name), index, f"lookup_function({entry.name!r})")


@rule()
def test_refuses_unknown_functions(bench: Bench, library: KernelLibrary) -> None:
    """HAL-EXE-4: looking up a function that is not there raises UnknownName.

    Reference: thalweg.hal.executable.Executable.lookup_function; IREE CTS LookupExportByNameNotFound.
    """
    executable = bench.device.prepare_executable(library.record)
    with raises(UnknownName, "lookup_function('no_such_function')"):
        executable.lookup_function("no_such_function")


@rule()
def test_refuses_truncated_data(bench: Bench, library: KernelLibrary) -> None:
    """HAL-EXE-5: data that ends early raises ModuleFormatError.

    Reference: thalweg.hal.driver.Device.prepare_executable; thalweg.hal.executable.ExecutableLoader.load.
    """
    data = library.record.data
    for size in (0, 1, len(data) // 2):
        with raises(ModuleFormatError, f"prepare_executable of {size} of {len(data)} bytes"):
            bench.device.prepare_executable(replace(library.record, data=data[:size]))


@rule(Level.STANDARD)
def test_refuses_other_entry_points(bench: Bench, library: KernelLibrary) -> None:
    """HAL-EXE-6: a record with more entry points than the data has raises ModuleFormatError.

    Reference: thalweg.hal.driver.Device.prepare_executable.
    """
    entries = (*library.record.entries, EntryPoint("one_too_many", 1))
    with raises(ModuleFormatError, "prepare_executable of a record with an entry point that its data lacks"):
        bench.device.prepare_executable(replace(library.record, entries=entries))


@rule(Level.STANDARD)
def test_prepares_twice(bench: Bench, library: KernelLibrary) -> None:
    """HAL-EXE-7: one record may be prepared more than once; dropping one leaves the other as it is.

    Reference: thalweg.hal.driver.Device.prepare_executable.
    """
    first = bench.device.prepare_executable(library.record)
    second = bench.device.prepare_executable(library.record)
    entries = first.entries
    del first
    equal(second.entries, entries, "entries of the second executable after the first is dropped")
