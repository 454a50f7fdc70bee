"""The program that runs inside of the emulator: it does what it is asked, over standard input and output.

It is LLVM IR, compiled by the code generator and linked by the linker under test, without a C library: a
foreign kernel then runs wherever qemu's user mode is installed, without a cross compiler. Loading an image
and laying out arguments is left to who asks (``emulator``).
"""

from __future__ import annotations

import struct
from functools import cache

from thalweg.codegen.target import TargetConfiguration
from thalweg_driver_local.elf import FORMAT_MACHINES, parse_elf
from thalweg_target_llvm_cpu import linker, machine

SYSTEM_CALL, RECEIVE, SEND, RUN = range(4)
"""Requests: eight 64-bit words, the first of them one of these. The reply is one such word, and for ``SEND``
the bytes before it.
"""


def _bytes(*instructions: int, layout: str) -> bytes:
    return struct.pack(f"<{len(instructions)}{layout}", *instructions)


SYSTEMS = {
    # mov x8, x6; svc #0; ret
    "aarch64": (_bytes(0xAA0603E8, 0xD4000001, 0xD65F03C0, layout="I"), (63, 64, 93, 222, 215, 226)),
    # mv a7, a6; ecall; ret
    "riscv64": (_bytes(0x00080893, 0x00000073, 0x00008067, layout="I"), (63, 64, 93, 222, 215, 226)),
    # mov rax, [rsp + 8]; mov r10, rcx; syscall; ret
    "x86_64": (bytes.fromhex("488b442408 4989ca 0f05 c3"), (0, 1, 60, 9, 11, 10)),
}
"""Architecture → machine code of ``system_call``, and the system's numbers of ``CALLS``. It is given as
bytes: llvmlite has no assembler for foreign processors.
"""

CALLS = ("read", "write", "exit", "mmap", "munmap", "mprotect")

PROGRAM = """
declare i64 @system_call(i64, i64, i64, i64, i64, i64, i64)

define internal void @transfer(i64 %number, i64 %file, ptr %start, i64 %length) {{
entry:
  br label %again
again:
  %at = phi i64 [ 0, %entry ], [ %next, %moved ]
  %left = sub i64 %length, %at
  %address = getelementptr i8, ptr %start, i64 %at
  %bits = ptrtoint ptr %address to i64
  %done = icmp eq i64 %left, 0
  br i1 %done, label %end, label %move
move:
  %count = call i64 @system_call(i64 %file, i64 %bits, i64 %left, i64 0, i64 0, i64 0, i64 %number)
  %fails = icmp sle i64 %count, 0
  br i1 %fails, label %leave, label %moved
moved:
  %next = add i64 %at, %count
  br label %again
leave:
  %code = lshr i64 %count, 63
  %never = call i64 @system_call(i64 %code, i64 0, i64 0, i64 0, i64 0, i64 0, i64 {exit})
  br label %end
end:
  ret void
}}

define internal i64 @run(ptr %kernel, ptr %dispatch, ptr %workgroup, i64 %x, i64 %y, i64 %z) {{
entry:
  %xy = mul i64 %x, %y
  %total = mul i64 %xy, %z
  %id.y = getelementptr i8, ptr %workgroup, i64 4
  %id.z = getelementptr i8, ptr %workgroup, i64 8
  br label %check
check:
  %i = phi i64 [ 0, %entry ], [ %i.next, %succeeded ]
  %finished = icmp eq i64 %i, %total
  br i1 %finished, label %succeeds, label %one
one:
  %gx = urem i64 %i, %x
  %row = udiv i64 %i, %x
  %gy = urem i64 %row, %y
  %gz = udiv i64 %row, %y
  %gx.short = trunc i64 %gx to i32
  %gy.short = trunc i64 %gy to i32
  %gz.short = trunc i64 %gz to i32
  store i32 %gx.short, ptr %workgroup
  store i32 %gy.short, ptr %id.y
  store i32 %gz.short, ptr %id.z
  %status = call i32 %kernel(ptr %dispatch, ptr %workgroup)
  %wide = sext i32 %status to i64
  %i.next = add i64 %i, 1
  %fine = icmp eq i32 %status, 0
  br i1 %fine, label %succeeded, label %failed
succeeded:
  br label %check
succeeds:
  ret i64 0
failed:
  ret i64 %wide
}}

define void @start() alignstack(16) "stackrealign" {{
entry:
  %request = alloca [8 x i64], align 16
  %reply = alloca i64, align 8
{addresses}
  br label %next
next:
  call void @transfer(i64 {read}, i64 0, ptr %request, i64 64)
{loads}
  %start = inttoptr i64 %w1 to ptr
  switch i64 %w0, label %system [
    i64 1, label %receive
    i64 2, label %send
    i64 3, label %run
  ]
system:
  %answer = call i64 @system_call(i64 %w2, i64 %w3, i64 %w4, i64 %w5, i64 %w6, i64 %w7, i64 %w1)
  br label %finish
receive:
  call void @transfer(i64 {read}, i64 0, ptr %start, i64 %w2)
  br label %finish
send:
  call void @transfer(i64 {write}, i64 1, ptr %start, i64 %w2)
  br label %finish
run:
  %dispatch = inttoptr i64 %w2 to ptr
  %workgroup = inttoptr i64 %w3 to ptr
  %status = call i64 @run(ptr %start, ptr %dispatch, ptr %workgroup, i64 %w4, i64 %w5, i64 %w6)
  br label %finish
finish:
  %value = phi i64 [ %answer, %system ], [ 0, %receive ], [ 0, %send ], [ %status, %run ]
  store i64 %value, ptr %reply
  call void @transfer(i64 {write}, i64 1, ptr %reply, i64 8)
  br label %next
}}
"""


def call_number(architecture: str, name: str) -> int:
    """Return the system's number of one of ``CALLS``."""
    return SYSTEMS[architecture][1][CALLS.index(name)]


def host_program(config: TargetConfiguration) -> bytes:
    """Return the program as an ELF file that the system, or the emulator, starts at ``start``."""
    return _program(config.executable_format, tuple(sorted(config.settings.items())))


@cache
def _program(executable_format: str, items: tuple[tuple[str, object], ...]) -> bytes:
    settings = dict(items)
    architecture = executable_format.split("-")[2]
    code, numbers = SYSTEMS[architecture]
    places = range(8)
    text = PROGRAM.format(
        **dict(zip(CALLS, numbers)),
        addresses="\n".join(f"  %p{i} = getelementptr i64, ptr %request, i64 {i}" for i in places),
        loads="\n".join(f"  %w{i} = load volatile i64, ptr %p{i}" for i in places),
    )
    listed = ", ".join(f"i8 {byte}" for byte in code)
    stub = f"define i64 @system_call({', '.join(['i64'] * 7)}) prologue [{len(code)} x i8] [{listed}]"
    objects = [
        ("start", machine.compile_to_object(text, settings)),
        ("system_call", machine.compile_to_object(stub + " { ret i64 0 }\n", settings)),
    ]
    image = bytearray(linker.link(objects, ["start"], settings))
    parsed = parse_elf(bytes(image), FORMAT_MACHINES[executable_format])
    assert not parsed.relocations, "nobody relocates the program that would relocate itself"
    struct.pack_into("<Q", image, 24, parsed.functions["start"])
    return bytes(image)
