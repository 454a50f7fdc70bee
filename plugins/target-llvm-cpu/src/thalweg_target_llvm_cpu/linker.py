"""The static linker: relocatable objects and the builtins they call → one ELF image without undefined
symbols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thalweg.api import CompileError

from thalweg_target_llvm_cpu import builtins
from thalweg_target_llvm_cpu.linking import elf_image
from thalweg_target_llvm_cpu.linking.elf_image import Export, ImageLayout, ImageWriter, Piece, SegmentLayout
from thalweg_target_llvm_cpu.linking.elf_object import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    STB_LOCAL,
    ElfObject,
    Relocation,
    Section,
    parse_object,
)
from thalweg_target_llvm_cpu.linking.relocate import (
    ABSOLUTE_RELOCATION,
    EM_AARCH64,
    GOT_RELOCATIONS,
    RELATIVE_RELOCATION,
    RELOCATIONS,
    RISCV_LOW,
    Place,
)

PAGE_SIZES = {EM_AARCH64: 0x10000}
"""Machine → the largest page its systems use; 4096 elsewhere."""


def link(objects: Sequence[tuple[str, bytes]], exports: Sequence[str], settings: Mapping[str, Any]) -> bytes:
    """Link ``objects`` (kernel name, relocatable object) into an image that exports the functions
    ``exports``.

    What the objects leave undefined comes from ``builtins``, compiled for ``settings``. The same objects give
    the same bytes.

    :raises CompileError: an undefined symbol that no builtin defines, naming the kernel; a symbol defined
        twice; an unknown relocation.
    """
    linking = _Linking([parse_object(name, data) for name, data in objects])
    linking.add_builtins(settings)
    return linking.image(exports)


@dataclass(frozen=True)
class _Definition:
    """Where a global symbol is."""

    owner: str
    section: Section
    value: int
    size: int

    @property
    def address(self) -> int:
        return self.section.address + self.value


class _Linking:
    def __init__(self, objects: list[ElfObject]):
        if not objects:
            raise CompileError("there is no object to link")
        self.objects: list[ElfObject] = []
        self.globals: dict[str, _Definition] = {}
        self.machine = objects[0].machine
        self.flags = 0
        for item in objects:
            self._add(item)
        self._got: dict[str, int] = {}
        self._relative: list[tuple[int, int]] = []

    def _add(self, item: ElfObject) -> None:
        if item.machine != self.machine:
            raise CompileError(
                f"the object of {item.name!r} is for machine {item.machine}, not {self.machine}"
            )
        self.objects.append(item)
        self.flags |= item.flags
        for symbol in item.symbols:
            if symbol.binding == STB_LOCAL or not symbol.defined or symbol.section is None:
                continue
            before = self.globals.get(symbol.name)
            if before is not None:
                raise CompileError(
                    f"the function {symbol.name!r} is defined by {before.owner!r} and by {item.name!r}"
                )
            self.globals[symbol.name] = _Definition(
                item.name, item.sections[symbol.section], symbol.value, symbol.size
            )

    def add_builtins(self, settings: Mapping[str, Any]) -> None:
        """Add the builtins that the objects, and then the builtins themselves, call."""
        done = 0
        while done < len(self.objects):
            item = self.objects[done]
            done += 1
            for symbol in item.symbols:
                if symbol.defined or not symbol.name or symbol.name in self.globals:
                    continue
                code = builtins.compile_builtin(symbol.name, settings)
                if code is None:
                    raise CompileError(
                        f"kernel {item.name!r} calls {symbol.name!r}, which nothing defines: LLVM made"
                        f" that call for {settings['triple']} without an instruction for it; known builtins:"
                        f" {', '.join(sorted(builtins.NAMES))}"
                    )
                self._add(parse_object(symbol.name, code))

    def image(self, exports: Sequence[str]) -> bytes:
        """Lay out, relocate and write."""
        missing = [name for name in exports if name not in self.globals]
        if missing:
            raise CompileError(f"no object defines the function {missing[0]!r} that is to be exported")
        for name in self._symbols_in_offset_table():
            self._got[name] = 8 * len(self._got)
        relative_count = len(self._got) + sum(
            relocation.kind == ABSOLUTE_RELOCATION[self.machine] for _, _, relocation in self._relocations()
        )
        layout, got = self._layout(exports, relative_count)
        memory = bytearray(layout.place())
        groups = [piece for segment in layout.segments for piece in segment.pieces]
        self._place_sections({piece.name: piece.address for piece in groups}, memory)
        for name, offset in self._got.items():
            self._relative.append((got.address + offset, self.globals[name].address))
        for item, section, relocation in self._relocations():
            self._relocate(memory, item, section, relocation, got.address)
        writer = ImageWriter(layout, self.machine, self.flags)
        found = []
        for name in exports:
            definition = self.globals[name]
            found.append(Export(name, definition.address, definition.size, _group(definition.section)))
        writer.fill_dynamic(memory, found, sorted(self._relative), RELATIVE_RELOCATION[self.machine])
        return writer.write(memory)

    def _relocations(self) -> list[tuple[ElfObject, Section, Relocation]]:
        return [(o, s, r) for o in self.objects for s in o.sections.values() for r in s.relocations]

    def _symbols_in_offset_table(self) -> list[str]:
        kinds = GOT_RELOCATIONS[self.machine]
        used = {o.symbols[r.symbol].name for o, _, r in self._relocations() if r.kind in kinds}
        return sorted(used)

    def _layout(self, exports: Sequence[str], relative_count: int) -> tuple[ImageLayout, Piece]:
        """Return the layout, not yet placed, and the piece of the global offset table."""
        string_size = 1 + sum(len(name.encode()) + 1 for name in exports)
        tables, dynamic = elf_image.dynamic_pieces(len(exports) + 1, string_size, relative_count)
        got = Piece(
            ".got", elf_image.SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 8, 8 * len(self._got), entry_size=8
        )
        read_write = SHF_ALLOC | SHF_WRITE
        layout = ImageLayout(PAGE_SIZES.get(self.machine, 0x1000))
        layout.segments = [
            SegmentLayout(elf_image.READ, [*tables, *self._piece(".rodata", SHF_ALLOC)]),
            SegmentLayout(
                elf_image.READ | elf_image.EXECUTE, self._piece(".text", SHF_ALLOC | SHF_EXECINSTR)
            ),
            SegmentLayout(
                elf_image.READ | elf_image.WRITE,
                [
                    dynamic,
                    *([got] if self._got else []),
                    *self._piece(".data", read_write),
                    *self._piece(".bss", read_write),
                ],
            ),
        ]
        return layout, got

    def _piece(self, group: str, flags: int) -> list[Piece]:
        """Return the piece for all sections of ``group``, which get their offsets in it here; none if there
        are none.
        """
        sections = [s for o in self.objects for s in o.sections.values() if _group(s) == group and s.size]
        offset = 0
        for section in sections:
            offset = elf_image.align(offset, section.alignment)
            section.address = offset
            offset += section.size
        if not sections:
            return []
        kind = elf_image.SHT_NOBITS if group == ".bss" else elf_image.SHT_PROGBITS
        return [Piece(group, kind, flags, max(s.alignment for s in sections), offset)]

    def _place_sections(self, starts: Mapping[str, int], memory: bytearray) -> None:
        for item in self.objects:
            for section in item.sections.values():
                section.address = starts.get(_group(section), 0) + max(section.address, 0)
                memory[section.address : section.address + len(section.data)] = section.data

    def _target(self, item: ElfObject, relocation: Relocation) -> int:
        symbol = item.symbols[relocation.symbol]
        if symbol.section is not None:
            return item.sections[symbol.section].address + symbol.value + relocation.addend
        if symbol.defined:
            return symbol.value + relocation.addend
        return self.globals[symbol.name].address + relocation.addend if symbol.name else relocation.addend

    def _relocate(
        self, memory: bytearray, item: ElfObject, section: Section, relocation: Relocation, got: int
    ) -> None:
        kind, address = relocation.kind, section.address + relocation.offset
        what = f"kernel {item.name!r}, section {section.name}"
        if kind == ABSOLUTE_RELOCATION[self.machine]:
            self._relative.append((address, self._target(item, relocation)))
        elif self.machine == 243 and kind in RISCV_LOW:
            RISCV_LOW[kind](Place(memory, address, 0, what), self._high_distance(item, relocation, got))
        elif kind in GOT_RELOCATIONS[self.machine]:
            slot = got + self._got[item.symbols[relocation.symbol].name] + relocation.addend
            GOT_RELOCATIONS[self.machine][kind](Place(memory, address, slot, what))
        elif kind in RELOCATIONS[self.machine]:
            RELOCATIONS[self.machine][kind](Place(memory, address, self._target(item, relocation), what))
        else:
            raise CompileError(
                f"{what}: the linker does not know relocation {kind} of machine {self.machine}"
            )

    def _high_distance(self, item: ElfObject, low: Relocation, got: int) -> int:
        """Return the distance whose high part is at the place that a RISC-V low relocation names."""
        label = item.symbols[low.symbol]
        assert label.section is not None
        section = item.sections[label.section]
        for relocation in section.relocations:
            if relocation.offset != label.value:
                continue
            place = section.address + relocation.offset
            if relocation.kind in GOT_RELOCATIONS[self.machine]:
                return got + self._got[item.symbols[relocation.symbol].name] + relocation.addend - place
            if relocation.kind == 23:  # R_RISCV_PCREL_HI20
                return self._target(item, relocation) - place
        raise CompileError(f"kernel {item.name!r}: a low relocation at {low.offset:#x} has no high part")


def _group(section: Section) -> str:
    """Return the piece of the image that a section goes to."""
    if section.flags & SHF_EXECINSTR:
        return ".text"
    if section.flags & SHF_WRITE:
        return ".data" if section.data or not section.size else ".bss"
    return ".rodata"
