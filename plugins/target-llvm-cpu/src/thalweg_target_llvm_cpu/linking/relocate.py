"""Relocations: what each kind writes into its instruction or word.

Numbers and formulas: the processor supplements of the System V ABI for x86-64, AArch64 and RISC-V.
S is the symbol's address, A the addend, P the place; G the address of the symbol's slot in the offset table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from thalweg.api import CompileError

EM_X86_64, EM_AARCH64, EM_RISCV = 62, 183, 243


@dataclass(frozen=True)
class Place:
    """Where a relocation writes: ``image`` (all bytes by address), P, S + A, and who asks, for messages."""

    image: bytearray
    address: int
    target: int
    what: str

    @property
    def distance(self) -> int:
        """S + A - P."""
        return self.target - self.address

    def word(self) -> int:
        """Return the 32-bit word there."""
        return struct.unpack_from("<I", self.image, self.address)[0]

    def put_word(self, value: int) -> None:
        """Write a 32-bit word."""
        struct.pack_into("<I", self.image, self.address, value & 0xFFFFFFFF)

    def put_signed(self, layout: str, value: int) -> None:
        """Write a signed number of ``layout``; see ``check``."""
        self.check(value, 8 * struct.calcsize(layout))
        struct.pack_into(layout, self.image, self.address, value)

    def put_field(self, value: int, mask: int, shift: int) -> None:
        """Replace the field ``mask << shift`` of the word."""
        self.put_word(self.word() & ~(mask << shift) | (value & mask) << shift)

    def check(self, value: int, bits: int, alignment: int = 1) -> int:
        """Return ``value`` if it is a signed number of ``bits`` and a multiple of ``alignment``.

        :raises CompileError: it is not: the image is too large for the code model.
        """
        if not -(1 << (bits - 1)) <= value < 1 << (bits - 1) or value % alignment:
            raise CompileError(
                f"{self.what}: a distance of {value} bytes does not fit {bits} bits; the code is too large"
            )
        return value


Apply = Callable[[Place], None]


def _page(address: int) -> int:
    return address & ~0xFFF


def _aarch64_page(place: Place) -> None:
    pages = place.check(_page(place.target) - _page(place.address), 33) >> 12
    place.put_word(place.word() & 0x9F00001F | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5)


def _aarch64_address(place: Place) -> None:
    distance = place.check(place.distance, 21)
    place.put_word(place.word() & 0x9F00001F | (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5)


def _aarch64_low(scale: int) -> Apply:
    def apply(place: Place) -> None:
        low = place.target & 0xFFF
        place.check(low, 14, 1 << scale)
        place.put_field(low >> scale, 0xFFF, 10)

    return apply


def _aarch64_branch(bits: int, shift: int) -> Apply:
    def apply(place: Place) -> None:
        place.put_field(place.check(place.distance, bits + 2, 4) >> 2, (1 << bits) - 1, shift)

    return apply


def _riscv_high(place: Place) -> None:
    place.put_field(place.check(place.distance + 0x800, 32) >> 12, 0xFFFFF, 12)


def riscv_low_i(place: Place, distance: int) -> None:
    """Put the low 12 bits of ``distance`` into an instruction of I type."""
    place.put_field(distance, 0xFFF, 20)


def riscv_low_s(place: Place, distance: int) -> None:
    """Put the low 12 bits of ``distance`` into an instruction of S type."""
    place.put_field(distance >> 5, 0x7F, 25)
    place.put_field(distance, 0x1F, 7)


def _riscv_call(place: Place) -> None:
    distance = place.distance
    _riscv_high(place)
    second = Place(place.image, place.address + 4, place.target, place.what)
    riscv_low_i(second, distance)


def _riscv_branch(place: Place) -> None:
    d = place.check(place.distance, 13, 2)
    place.put_field((d >> 12 & 1) << 6 | d >> 5 & 0x3F, 0x7F, 25)
    place.put_field((d >> 1 & 0xF) << 1 | d >> 11 & 1, 0x1F, 7)


def _riscv_jump(place: Place) -> None:
    d = place.check(place.distance, 21, 2)
    place.put_field(
        (d >> 20 & 1) << 19 | (d >> 1 & 0x3FF) << 9 | (d >> 11 & 1) << 8 | d >> 12 & 0xFF, 0xFFFFF, 12
    )


def _riscv_compressed_branch(place: Place) -> None:
    d = place.check(place.distance, 9, 2)
    field = (
        (d >> 8 & 1) << 12 | (d >> 3 & 3) << 10 | (d >> 6 & 3) << 5 | (d >> 1 & 3) << 3 | (d >> 5 & 1) << 2
    )
    (half,) = struct.unpack_from("<H", place.image, place.address)
    struct.pack_into("<H", place.image, place.address, half & 0xE383 | field)


def _riscv_compressed_jump(place: Place) -> None:
    d = place.check(place.distance, 12, 2)
    field = (
        (d >> 11 & 1) << 12 | (d >> 4 & 1) << 11 | (d >> 8 & 3) << 9 | (d >> 10 & 1) << 8
        | (d >> 6 & 1) << 7 | (d >> 7 & 1) << 6 | (d >> 1 & 7) << 3 | (d >> 5 & 1) << 2
    )  # fmt: skip
    (half,) = struct.unpack_from("<H", place.image, place.address)
    struct.pack_into("<H", place.image, place.address, half & 0xE003 | field)


def _riscv_sum(layout: str, sign: int) -> Apply:
    def apply(place: Place) -> None:
        (before,) = struct.unpack_from(layout, place.image, place.address)
        value = before + sign * place.target & (1 << 8 * struct.calcsize(layout)) - 1
        struct.pack_into(layout, place.image, place.address, value)

    return apply


def _relative(layout: str) -> Apply:
    return lambda place: place.put_signed(layout, place.distance)


def _ignore(place: Place) -> None:
    """A hint to linkers."""


RELOCATIONS: dict[int, dict[int, Apply]] = {
    EM_X86_64: {
        0: _ignore,  # R_X86_64_NONE
        2: _relative("<i"),  # PC32
        4: _relative("<i"),  # PLT32: without a procedure table, the function itself
        24: _relative("<q"),  # PC64
    },
    EM_AARCH64: {
        0: _ignore,
        260: _relative("<q"),  # R_AARCH64_PREL64
        261: _relative("<i"),  # PREL32
        262: _relative("<h"),  # PREL16
        274: _aarch64_address,  # ADR_PREL_LO21
        275: _aarch64_page,  # ADR_PREL_PG_HI21
        276: _aarch64_page,  # ADR_PREL_PG_HI21_NC
        277: _aarch64_low(0),  # ADD_ABS_LO12_NC
        278: _aarch64_low(0),  # LDST8_ABS_LO12_NC
        284: _aarch64_low(1),  # LDST16
        285: _aarch64_low(2),  # LDST32
        286: _aarch64_low(3),  # LDST64
        299: _aarch64_low(4),  # LDST128
        273: _aarch64_branch(19, 5),  # LD_PREL_LO19
        279: _aarch64_branch(14, 5),  # TSTBR14
        280: _aarch64_branch(19, 5),  # CONDBR19
        282: _aarch64_branch(26, 0),  # JUMP26
        283: _aarch64_branch(26, 0),  # CALL26
        314: _relative("<i"),  # PLT32
    },
    EM_RISCV: {
        0: _ignore,
        16: _riscv_branch,
        17: _riscv_jump,
        18: _riscv_call,  # CALL
        19: _riscv_call,  # CALL_PLT
        23: _riscv_high,  # PCREL_HI20
        33: _riscv_sum("<B", 1), 34: _riscv_sum("<H", 1), 35: _riscv_sum("<I", 1), 36: _riscv_sum("<Q", 1),
        37: _riscv_sum("<B", -1), 38: _riscv_sum("<H", -1), 39: _riscv_sum("<I", -1),
        40: _riscv_sum("<Q", -1),
        44: _riscv_compressed_branch,
        45: _riscv_compressed_jump,
        57: _relative("<i"),  # 32_PCREL
        59: _relative("<i"),  # PLT32
    },
}  # fmt: skip
"""Machine → relocation number → what it writes."""

GOT_RELOCATIONS: dict[int, dict[int, Apply]] = {
    EM_X86_64: dict.fromkeys((9, 41, 42), _relative("<i")),  # GOTPCREL, GOTPCRELX, REX_GOTPCRELX
    EM_AARCH64: {311: _aarch64_page, 312: _aarch64_low(3)},  # ADR_GOT_PAGE, LD64_GOT_LO12_NC
    EM_RISCV: {20: _riscv_high},  # GOT_HI20
}
"""Those that mean the symbol's slot in the global offset table, whose address is then the target."""

ABSOLUTE_RELOCATION = {EM_X86_64: 1, EM_AARCH64: 257, EM_RISCV: 2}
"""A 64-bit address: in an image that may be loaded anywhere, a relocation "relative" for the loader."""

RELATIVE_RELOCATION = {EM_X86_64: 8, EM_AARCH64: 1027, EM_RISCV: 3}
RISCV_LOW = {24: riscv_low_i, 25: riscv_low_s}
"""R_RISCV_PCREL_LO12_I and _S: their symbol is the place of the PCREL_HI20 whose low part they take."""
