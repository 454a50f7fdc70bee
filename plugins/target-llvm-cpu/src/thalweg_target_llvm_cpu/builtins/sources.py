"""The builtins, as LLVM IR."""

from __future__ import annotations

from thalweg_target_llvm_cpu.builtins.float_formats import FLOAT_FORMATS
from thalweg_target_llvm_cpu.builtins.rounding import ROUNDING

MEMSET = """
define ptr @memset(ptr %target, i32 %byte, i64 %size) {
entry:
  %value = trunc i32 %byte to i8
  %wide.byte = zext i8 %value to i64
  %pattern = mul i64 %wide.byte, 72340172838076673
  %words = lshr i64 %size, 3
  %bulk = shl i64 %words, 3
  %no.words = icmp eq i64 %words, 0
  br i1 %no.words, label %tail.check, label %word.loop
word.loop:
  %i = phi i64 [ 0, %entry ], [ %i.next, %word.loop ]
  %word.at = getelementptr i64, ptr %target, i64 %i
  store volatile i64 %pattern, ptr %word.at, align 1
  %i.next = add i64 %i, 1
  %words.done = icmp eq i64 %i.next, %words
  br i1 %words.done, label %tail.check, label %word.loop
tail.check:
  %no.tail = icmp eq i64 %bulk, %size
  br i1 %no.tail, label %done, label %byte.loop
byte.loop:
  %j = phi i64 [ %bulk, %tail.check ], [ %j.next, %byte.loop ]
  %byte.at = getelementptr i8, ptr %target, i64 %j
  store i8 %value, ptr %byte.at, align 1
  %j.next = add i64 %j, 1
  %bytes.done = icmp eq i64 %j.next, %size
  br i1 %bytes.done, label %done, label %byte.loop
done:
  ret ptr %target
}
"""

SOURCES = {"memset": MEMSET, **FLOAT_FORMATS, **ROUNDING}
"""Symbol → LLVM IR that defines it (and perhaps calls others)."""
