"""The ELF loader: what it takes, what it refuses, damaged and hostile images, and page protection."""

from __future__ import annotations

import ctypes
import platform
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from thalweg.api import ModuleFormatError, NotSupported
from thalweg.hal import kernel_abi
from thalweg.module.module import ExecutableRecord
from thalweg.module.program import EntryPoint
from thalweg_driver_local.elf import FORMAT_MACHINES, RELATIVE_RELOCATIONS, parse_elf
from thalweg_driver_local.elf_loader import ElfLoader

from .kernel_images import ENTRIES, compile_kernels, host_format

MACHINE = FORMAT_MACHINES[host_format()]
REFUSAL = "damaged or foreign ELF image: "

PT_LOAD, PT_DYNAMIC = 1, 2


def load(data: bytes, entries=ENTRIES[:1]):
    return ElfLoader().load(ExecutableRecord("kernels", host_format(), data, entries))


def refused(data: bytes) -> str:
    """Return why the loader refuses ``data``."""
    with pytest.raises(ModuleFormatError) as caught:
        load(data)
    message = str(caught.value)
    assert message.startswith("executable 'kernels': ") and "\n" not in message
    return message


class Image:
    """An image to change: finds program headers and dynamic entries."""

    def __init__(self, data: bytes):
        self.data = bytearray(data)

    def headers(self, kind: int) -> list[int]:
        (table,) = struct.unpack_from("<Q", self.data, 32)
        (count,) = struct.unpack_from("<H", self.data, 56)
        places = [table + 56 * index for index in range(count)]
        return [place for place in places if struct.unpack_from("<I", self.data, place)[0] == kind]

    def header(self, kind: int, flags: int | None = None) -> int:
        """Return where the first header of a kind (and with these flags) is."""
        found = self.headers(kind)
        return next(
            p for p in found if flags is None or struct.unpack_from("<I", self.data, p + 4)[0] == flags
        )

    def set(self, layout: str, place: int, *values: int) -> Image:
        struct.pack_into(layout, self.data, place, *values)
        return self

    def tag(self, wanted: int) -> int:
        """Return where a dynamic entry is."""
        (place,) = struct.unpack_from("<Q", self.data, self.header(PT_DYNAMIC) + 8)
        while True:
            (tag,) = struct.unpack_from("<Q", self.data, place)
            if tag == wanted:
                return place
            assert tag, f"the image has no dynamic entry {wanted}"
            place += 16

    def at(self, address: int) -> int:
        """Return the file offset of an address."""
        for place in self.headers(PT_LOAD):
            offset, start, _, size = struct.unpack_from("<QQQQ", self.data, place + 8)
            if start <= address < start + size:
                return offset + address - start
        raise AssertionError(address)

    def value_of(self, tag: int) -> int:
        return struct.unpack_from("<Q", self.data, self.tag(tag) + 8)[0]


@pytest.fixture
def image(kernel_image) -> Image:
    return Image(kernel_image)


def test_a_sound_image_has_its_functions(kernel_image):
    parsed = parse_elf(kernel_image, MACHINE)
    assert {entry.name for entry in ENTRIES} <= set(parsed.functions)
    assert parsed.relocations  # of the pointer to the constant table
    assert len(load(kernel_image, ENTRIES).kernels) == len(ENTRIES)


def test_every_truncation_is_refused(kernel_image):
    """Every length is refused until all that is read is there: section headers, at the end, are not read."""
    lengths = [*range(200), *range(200, len(kernel_image), 37)]
    whole = parse_elf(kernel_image, MACHINE)
    needed = max(segment.offset + segment.file_size for segment in whole.segments)
    for length in lengths:
        if length < needed:
            refused(kernel_image[:length])
        else:
            assert parse_elf(kernel_image[:length], MACHINE) == whole


def test_every_flipped_bit_of_the_tables_is_refused_or_harmless(kernel_image):
    """Each bit of the headers, the dynamic table and symbols: one clear error, or an image in bounds."""
    image = Image(kernel_image)
    dynamic = struct.unpack_from("<Q", kernel_image, image.header(PT_DYNAMIC) + 8)[0]
    symbols = image.at(image.value_of(6))
    places = [*range(64 + 56 * 12), *range(dynamic, dynamic + 16 * 16), *range(symbols, symbols + 24 * 10)]
    outcomes = {True: 0, False: 0}
    for place in places:
        for bit in range(8):
            outcomes[is_sound_or_refused(kernel_image, place, bit)] += 1
    assert outcomes[True] and outcomes[False]


def test_random_damage_is_refused_or_harmless(kernel_image):
    seed = 20
    rng = np.random.default_rng(seed)
    for _ in range(1500):
        data = bytearray(kernel_image)
        for _ in range(int(rng.integers(1, 8))):
            at = int(rng.integers(len(data)))
            data[at] = int(rng.integers(256))
        check_in_bounds(bytes(data))


def is_sound_or_refused(kernel_image: bytes, place: int, bit: int) -> bool:
    data = bytearray(kernel_image)
    data[place] ^= 1 << bit
    return check_in_bounds(bytes(data))


def check_in_bounds(data: bytes) -> bool:
    """Parse ``data``: whatever is accepted lies in its bounds. Returns whether it was accepted."""
    try:
        parsed = parse_elf(data, MACHINE)
    except ModuleFormatError as error:
        assert str(error).startswith(REFUSAL)
        return False
    end = 0
    for segment in parsed.segments:
        assert segment.address >= end and segment.offset + segment.file_size <= len(data)
        assert segment.file_size <= segment.size and segment.flags & 3 != 3
        end = segment.address + segment.size
    assert parsed.span == end <= 1 << 30
    for place, addend in parsed.relocations:
        assert any(s.holds(place, 8) and not s.flags & 1 for s in parsed.segments) and 0 <= addend <= end
    return True


DAMAGE = {
    "magic": (lambda i: i.set("<I", 0, 0), "does not start with the ELF magic number"),
    "32-bit": (lambda i: i.set("<B", 4, 1), "not 64-bit little-endian"),
    "big-endian": (lambda i: i.set("<B", 5, 2), "not 64-bit little-endian"),
    "executable": (lambda i: i.set("<H", 16, 2), "its type is 2, not ET_DYN"),
    "machine": (lambda i: i.set("<H", 18, 8), "its machine is 8"),
    "header size": (lambda i: i.set("<H", 54, 64), "program headers have 64 bytes, not 56"),
    "header table": (lambda i: i.set("<Q", 32, (1 << 64) - 56), "program header 0 at offset"),
    "header count": (lambda i: i.set("<H", 56, 0xFFFF), "(segment|program header) "),
    "interpreter": (lambda i: i.set("<I", i.header(PT_LOAD), 3), "has the type PT_INTERP"),
    "thread-local": (lambda i: i.set("<I", i.header(PT_LOAD), 7), "has the type PT_TLS"),
    "segment beyond": (lambda i: i.set("<Q", i.header(PT_LOAD) + 8, 1 << 63), "ends at byte"),
    "file size": (lambda i: i.set("<Q", i.header(PT_LOAD) + 32, (1 << 64) - 1), "ends at byte"),
    "memory size": (lambda i: i.set("<Q", i.header(PT_LOAD) + 40, 1), "impossible sizes"),
    "address": (lambda i: i.set("<Q", i.header(PT_LOAD) + 16, (1 << 64) - 4096), "impossible sizes"),
    "huge": (lambda i: i.set("<Q", i.headers(PT_LOAD)[-1] + 40, 1 << 40), "impossible sizes"),
    "overlap": (
        lambda i: i.set("<Q", i.headers(PT_LOAD)[1] + 16, 0),
        "overlap",
    ),
    "writable code": (
        lambda i: i.set("<I", i.header(PT_LOAD, 5) + 4, 7),
        "is writable and executable",
    ),
    "two dynamics": (lambda i: i.set("<I", i.header(PT_LOAD), PT_DYNAMIC), "two PT_DYNAMIC"),
    "no dynamic": (lambda i: i.set("<I", i.header(PT_DYNAMIC), 0), "has no PT_DYNAMIC"),
    "needs a library": (lambda i: i.set("<Q", i.tag(5), 1), "has the dynamic entry DT_NEEDED"),
    "initializer": (lambda i: i.set("<Q", i.tag(5), 12), "has the dynamic entry DT_INIT"),
    "unknown tag": (lambda i: i.set("<Q", i.tag(5), 0x1234), "has the dynamic entry 0x1234"),
    "tag twice": (lambda i: i.set("<Q", i.tag(5), 6), "has the dynamic entry 6 twice"),
    "no hash": (lambda i: i.set("<Q", i.tag(4), 24), "has no DT_HASH"),
    "symbol size": (lambda i: i.set("<Q", i.tag(11) + 8, 16), "its DT_SYMENT is not 24"),
    "symbol count": (
        lambda i: i.set("<I", i.at(i.value_of(4)) + 4, 0xFFFFFFFF),
        "DT_SYMTAB .* is in no segment",
    ),
    "symbol table": (lambda i: i.set("<Q", i.tag(6) + 8, 1 << 62), "DT_SYMTAB .* is in no segment"),
    "string table": (lambda i: i.set("<Q", i.tag(10) + 8, 1 << 62), "DT_STRTAB .* is in no segment"),
    "symbol name": (
        lambda i: i.set("<I", i.at(i.value_of(6)) + 24, 0xFFFFFFFF),
        "the name of symbol 1 is outside the string table",
    ),
    "undefined": (lambda i: i.set("<H", i.at(i.value_of(6)) + 24 + 6, 0), "is undefined"),
    "relocation size": (lambda i: i.set("<Q", i.tag(8) + 8, 23), "no multiple of it"),
    "relocation table": (lambda i: i.set("<Q", i.tag(7) + 8, 1 << 62), "DT_RELA .* is in no segment"),
    "relocation kind": (
        lambda i: i.set("<Q", i.at(i.value_of(7)) + 8, 1),
        "relocation 0 has the type 1, not RELATIVE",
    ),
    "relocation target": (
        lambda i: i.set("<q", i.at(i.value_of(7)) + 16, -8),
        "relocation 0 points outside the image",
    ),
    "relocation place": (
        lambda i: i.set("<Q", i.at(i.value_of(7)), 1 << 40),
        "relocation 0 changes 0x10000000000, which is not in a data segment",
    ),
    "relocated code": (
        lambda i: i.set(
            "<Q", i.at(i.value_of(7)), struct.unpack_from("<Q", i.data, i.header(PT_LOAD, 5) + 16)[0]
        ),
        "which is not in a data segment",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(image, name):
    change, reason = DAMAGE[name]
    change(image)
    with pytest.raises(ModuleFormatError, match=reason):
        load(bytes(image.data))
    assert REFUSAL in refused(bytes(image.data))


def hostile_image(symbols: int, relocations: int, segments: int) -> bytes:
    """Return an image of one data segment over the whole file, repeated: dear to read without limits."""
    header_bytes, dynamic_bytes, name_bytes = 64 + 56 * (segments + 1), 16 * 9, 200_000
    dynamic = header_bytes
    hashes = dynamic + dynamic_bytes
    strings = hashes + 8
    table = strings + name_bytes
    rela = table + 24 * symbols
    size = rela + 24 * relocations
    data = bytearray(size)
    struct.pack_into(
        "<16sHHIQQQIHHHHHH",
        data,
        0,
        b"\x7fELF\2\1\1",
        3,
        MACHINE,
        1,
        0,
        64,
        0,
        0,
        64,
        56,
        segments + 1,
        0,
        0,
        0,
    )
    for index in range(segments):
        address = index * ((size + 0xFFF) & ~0xFFF)
        struct.pack_into("<IIQQQQQQ", data, 64 + 56 * index, PT_LOAD, 6, 0, address, 0, size, size, 4096)
    struct.pack_into(
        "<IIQQQQQQ", data, 64 + 56 * segments, PT_DYNAMIC, 6, dynamic, 0, 0, dynamic_bytes, dynamic_bytes, 8
    )
    tags = {
        4: hashes,
        5: strings,
        10: name_bytes,
        6: table,
        11: 24,
        7: rela,
        8: 24 * relocations,
        9: 24,
        0: 0,
    }
    for index, (tag, value) in enumerate(tags.items()):
        struct.pack_into("<QQ", data, dynamic + 16 * index, tag, value)
    struct.pack_into("<II", data, hashes, 1, symbols)
    data[strings : table - 1] = b"a" * (name_bytes - 1)
    for index in range(symbols):
        struct.pack_into("<IBBHQQ", data, table + 24 * index, 0, 0x12, 0, 1, 0, 0)
    return bytes(data)


def test_names_and_segments_have_limits():
    """A few megabytes cannot ask for gigabytes of copying, or for every segment at each relocation."""
    assert "symbol 1 is outside the string table or over 1024 bytes" in refused(hostile_image(20000, 0, 1))
    assert "more than 64 PT_LOAD segments" in refused(hostile_image(1, 1000, 65))
    parsed = parse_elf(hostile_image(1, 0, 64), MACHINE)
    assert len(parsed.segments) == 64 and parsed.functions == {}


def test_segments_that_share_a_page_are_refused(kernel_image):
    image = Image(kernel_image)
    first, second = image.headers(PT_LOAD)[:2]
    (start,) = struct.unpack_from("<Q", image.data, second + 16)
    image.set("<Q", first + 40, start - 8)  # ends in the page before: harmless
    load(bytes(image.data))
    image.set("<Q", second + 16, start - 8)
    assert "overlap" not in refused(bytes(image.data))
    assert "share a page of this machine" in refused(bytes(image.data))


def test_a_missing_function_is_named(kernel_image):
    with pytest.raises(ModuleFormatError, match="executable 'kernels': its ELF image has no function 'gone'"):
        load(kernel_image, (EntryPoint("gone", 0),))


def test_a_function_outside_the_code_is_refused(kernel_image):
    image = Image(kernel_image)
    table, strings = image.at(image.value_of(6)), image.at(image.value_of(5))
    index = 1
    while True:
        (name,) = struct.unpack_from("<I", image.data, table + 24 * index)
        if bytes(image.data[strings + name :]).startswith(b"add\0"):
            break
        index += 1
    image.set("<Q", table + 24 * index + 8, 8)
    with pytest.raises(
        ModuleFormatError, match="function 'add' of its ELF image is not in an executable segment"
    ):
        load(bytes(image.data))


def test_an_image_with_an_undefined_symbol_is_refused(tmp_path):
    """What a compiler leaves open is refused, with the symbol's name."""
    source = tmp_path / "open.c"
    source.write_text(
        '#include "thalweg_kernel.h"\nextern int elsewhere;\nint32_t add(const thalweg_dispatch_t *d,'
        " const thalweg_workgroup_t *w) { (void)d, (void)w; return elsewhere; }\n"
    )
    subprocess.run(
        [
            *("cc", "-fPIC", "-shared", "-nostdlib", "-Wl,--hash-style=sysv"),
            *("-I", kernel_abi.header_directory(), str(source), "-o", str(tmp_path / "open.so")),
        ],
        check=True,
    )
    assert "the symbol 'elsewhere' is undefined" in refused((tmp_path / "open.so").read_bytes())


def test_the_systems_own_libraries_are_refused():
    """A real library with everything that kernels must not have: initializers, needs, lazy binding."""
    libc = next(
        line.split()[-1]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "libc.so" in line or "libc-" in line
    )
    assert REFUSAL in refused(Path(libc).read_bytes())


def test_an_image_without_relocations_loads(kernel_image, tmp_path):
    source = tmp_path / "plain.c"
    source.write_text(
        '#include "thalweg_kernel.h"\nint32_t add(const thalweg_dispatch_t *d, const thalweg_workgroup_t *w)'
        " { (void)d, (void)w; return 0; }\n"
    )
    command = ["cc", "-O2", "-fPIC", "-shared", "-nostdlib", "-Wl,--hash-style=sysv", "-Wl,-z,norelro"]
    subprocess.run(
        [*command, "-I", kernel_abi.header_directory(), str(source), "-o", str(tmp_path / "p.so")], check=True
    )
    data = (tmp_path / "p.so").read_bytes()
    assert parse_elf(data, MACHINE).relocations == () and len(load(data).kernels) == 1


def test_a_format_of_another_machine_is_refused(kernel_image):
    other = next(name for name in FORMAT_MACHINES if name != host_format())
    with pytest.raises(NotSupported, match=rf"'{other}'; this machine \({platform.machine()}\) runs"):
        ElfLoader().load(ExecutableRecord("kernels", other, kernel_image, ENTRIES))
    assert not ElfLoader().can_run(other) and ElfLoader().can_run(host_format())


def test_each_machine_has_its_relocation_and_format():
    assert set(FORMAT_MACHINES.values()) == set(RELATIVE_RELOCATIONS)


# ---- page protection ---------------------------------------------------------------------------------------


def protections(address: int, size: int) -> list[str]:
    """Return what this process may do with the pages that overlap a range."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, permissions, *_ = line.split()
        start, end = (int(part, 16) for part in span.split("-"))
        if start < address + size and end > address:
            found.append(permissions)
    return found


def test_no_page_of_an_image_is_writable_and_executable(kernel_image):
    library = load(kernel_image, ENTRIES)
    parsed = parse_elf(kernel_image, MACHINE)
    seen = set()
    for segment in parsed.segments:
        permissions = protections(library.base + segment.address, segment.size)
        assert permissions, "the segment is not mapped"
        for text in permissions:
            assert ("x" in text) == bool(segment.flags & 1) and ("w" in text) == bool(segment.flags & 2)
            seen.add(text)
    assert any("x" in text for text in seen)


def test_loading_and_running_makes_no_page_of_the_process_writable_and_executable(kernel_image, tmp_path):
    """A fresh process loads native kernels and runs them; no page is both writable and executable.

    (Callbacks into Python, which host kernels need, may take such a page: that is how ctypes makes them.)
    """
    (tmp_path / "kernels.so").write_bytes(kernel_image)
    script = """
import sys
from pathlib import Path
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg.module.module import ExecutableRecord
from thalweg.module.program import EntryPoint
from thalweg_driver_local.driver import LocalDriver
device = LocalDriver("local-task").create_device("", {"threads": "2", "processor": "native"})
entries = (EntryPoint("increment", 1),)
record = ExecutableRecord("kernels", sys.argv[1], Path(sys.argv[2]).read_bytes(), entries)
kernels = device.prepare_executable(record)
commands = CommandBuffer()
commands.dispatch(kernels, 0, (64, 1, 1), (BufferRef(device.allocator.allocate(256)),))
done = device.create_semaphore()
device.queue_execute(commands.finalize(), signal=[(done, 1)])
done.wait(1, 30)
lines = Path("/proc/self/maps").read_text().splitlines()
print([line for line in lines if "w" in line.split()[1] and "x" in line.split()[1]])
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, host_format(), str(tmp_path / "kernels.so")],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert (ran.returncode, ran.stdout) == (0, "[]\n"), ran.stderr


def test_close_unmaps_the_image(kernel_image):
    library = load(kernel_image, ENTRIES)
    base = library.base
    span = parse_elf(kernel_image, MACHINE).span
    assert any("x" in text for text in protections(base, span))
    library.close()
    library.close()
    assert not any("x" in text for text in protections(base, span))


def test_zeros_follow_the_file_bytes_of_a_segment(kernel_image):
    """A segment that is larger in memory than in the file is filled up with zeros."""
    image = Image(kernel_image)
    last = image.headers(PT_LOAD)[-1]
    address, _, file_size, size = struct.unpack_from("<QQQQ", image.data, last + 16)
    image.set("<Q", last + 40, size + 5000)
    library = load(bytes(image.data))
    extra = ctypes.string_at(library.base + address + file_size, size + 5000 - file_size)
    assert extra == bytes(len(extra))


def test_kernels_compiled_without_optimization_load(tmp_path):
    assert len(load(compile_kernels(tmp_path, "-O0"), ENTRIES).kernels) == len(ENTRIES)
