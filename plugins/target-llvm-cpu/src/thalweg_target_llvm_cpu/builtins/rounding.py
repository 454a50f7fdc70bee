"""Rounding of floats to integers: adding and taking away 2^mantissa rounds to nearest, a comparison does the
rest.
"""

from __future__ import annotations

_NEAREST = """
  %magnitude = call {type} @llvm.fabs.{suffix}({type} %x)
  %sum = fadd {type} %magnitude, {big}
  %difference = fsub {type} %sum, {big}
  %has.fraction = fcmp olt {type} %magnitude, {big}
  %nearest = call {type} @llvm.copysign.{suffix}({type} %difference, {type} %x)
"""
_ADJUSTED = """
  %beyond = fcmp {beyond} {type} %nearest, %x
  %step = select i1 %beyond, {type} {step}, {type} 0.0
  %adjusted = fadd {type} %nearest, %step
  %whole = call {type} @llvm.copysign.{suffix}({type} %adjusted, {type} %x)
"""
_END = """
  %value = select i1 %has.fraction, {type} {whole}, {type} %x
  ret {type} %value
}}
"""
_FORMATS = {"f": ("float", "f32", 2.0**23), "": ("double", "f64", 2.0**52)}
_ADJUSTMENTS = {"floor": ("ogt", "-1.0"), "ceil": ("olt", "1.0")}


def _function(stem: str, letter: str) -> str:
    type_, suffix, big = _FORMATS[letter]
    beyond, step = _ADJUSTMENTS.get(stem, ("", ""))
    body = _NEAREST + (_ADJUSTED if beyond else "") + _END
    whole = "%whole" if beyond else "%nearest"
    head = f"define {type_} @{stem}{letter}({type_} %x) {{"
    return head + body.format(type=type_, suffix=suffix, big=big, beyond=beyond, step=step, whole=whole)


ROUNDING = {
    stem + letter: _function(stem, letter) for stem in ("floor", "ceil", "roundeven") for letter in _FORMATS
}
"""Symbol → LLVM IR that defines it, for float32 (``floorf``) and float64 (``floor``)."""
