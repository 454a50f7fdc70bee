"""erf."""

from __future__ import annotations

from thalweg_target_llvm_cpu.vector_math import coefficients
from thalweg_target_llvm_cpu.vector_math.exponential import bounded_exponential
from thalweg_target_llvm_cpu.vector_math.lanes import F32, FunctionWriter, Lanes

ERF_IS_ONE = {"f32": 4.0, "f64": 6.0}


def erf(writer: FunctionWriter, x: Lanes) -> Lanes:
    """erf x: a polynomial up to 1, beyond it 1 - e^-p(x) with p(x) = -log erfc x."""
    single = x.element is F32
    small = x.fma((x * x).polynomial(coefficients.ERF_32 if single else coefficients.ERF_64), x)
    magnitude = x.absolute()
    top = ERF_IS_ONE[x.element.name]
    inside = writer.number(top).where(magnitude > top, magnitude)
    exponent = (inside - 1.0).polynomial(coefficients.ERFC_32 if single else coefficients.ERFC_64)
    large = 1.0 - bounded_exponential(-exponent)
    return small.where(magnitude < 1.0, large.with_sign_of(x))
