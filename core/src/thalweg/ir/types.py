"""Between MLIR types and Thalweg's element names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from xdsl.dialects import builtin
from xdsl.ir import Attribute, SSAValue

from thalweg.errors import InvalidArgument, NotSupported
from thalweg.extents import Expression, Extent, format_shape, is_static, parse, static

_FLOATS: dict[str, builtin.AnyFloat] = {
    "f16": builtin.f16,
    "bf16": builtin.bf16,
    "f32": builtin.f32,
    "f64": builtin.f64,
}
_FLOAT_NAMES: dict[Attribute, str] = {type_: name for name, type_ in _FLOATS.items()}


def element_type(name: str) -> builtin.AnyFloat | builtin.IntegerType:
    """Return the MLIR element type named ``name`` (``f32``, ``i64``, ``ui8``, …).

    :raises InvalidArgument: for an unknown name.
    """
    if name in _FLOATS:
        return _FLOATS[name]
    unsigned = name.startswith("ui")
    digits = name[2:] if unsigned else name[1:]
    if (unsigned or name.startswith("i")) and digits.isdigit():
        signedness = builtin.Signedness.UNSIGNED if unsigned else builtin.Signedness.SIGNLESS
        return builtin.IntegerType(int(digits), signedness)
    raise InvalidArgument(f"no element type named {name!r}")


def element_name(type_: Attribute) -> str:
    """Return the element name of a scalar or shaped type (``tensor<4xf32>`` → ``f32``)."""
    if isinstance(type_, builtin.ShapedType) and isinstance(type_, builtin.ContainerType):
        type_ = type_.get_element_type()
    if type_ in _FLOAT_NAMES:
        return _FLOAT_NAMES[type_]
    if isinstance(type_, builtin.IntegerType):
        prefix = "ui" if type_.signedness.data is builtin.Signedness.UNSIGNED else "i"
        return f"{prefix}{type_.width.data}"
    if isinstance(type_, builtin.IndexType):
        return "index"
    raise InvalidArgument(f"no element name for type {type_}")


def tensor_type(shape: Sequence[Extent], dtype: str) -> builtin.TensorType:
    """Return ``tensor<shape x dtype>``.

    An extent that is an expression is ``?`` in the type; the type's encoding holds the expressions in order,
    as in ``tensor<1x?x384xf32, ["tokens"]>``.
    """
    extents = [extent if isinstance(extent, int) else builtin.DYNAMIC_INDEX for extent in shape]
    expressions = [builtin.StringAttr(str(extent)) for extent in shape if isinstance(extent, Expression)]
    encoding = builtin.ArrayAttr(expressions) if expressions else builtin.NoneAttr()
    return builtin.TensorType(element_type(dtype), extents, encoding)


def element_type_of(value: SSAValue) -> Attribute:
    """Return the element type of a tensor value."""
    assert isinstance(value.type, builtin.TensorType), value.type
    return value.type.element_type


def extents_of(value: SSAValue | Attribute) -> tuple[Extent, ...]:
    """Return the shape of a tensor value or type; dimensions that are known at the call only are
    expressions.
    """
    type_ = value.type if isinstance(value, SSAValue) else value
    assert isinstance(type_, builtin.TensorType), type_
    return _extents(type_)


@lru_cache(maxsize=4096)
def _extents(type_: builtin.TensorType) -> tuple[Extent, ...]:
    shape = type_.get_shape()
    if builtin.DYNAMIC_INDEX not in shape:
        return shape
    encoding = type_.encoding
    expressions = encoding.data if isinstance(encoding, builtin.ArrayAttr) else ()
    if len(expressions) != shape.count(builtin.DYNAMIC_INDEX):
        raise InvalidArgument(
            f'{type_} does not name its dynamic dimensions; write tensor<?xf32, ["tokens"]>'
        )
    remaining = (parse(e.data) for e in expressions if isinstance(e, builtin.StringAttr))
    return tuple(next(remaining) if extent == builtin.DYNAMIC_INDEX else extent for extent in shape)


def shape_of(value: SSAValue | Attribute) -> tuple[int, ...]:
    """Return the shape of a tensor value or type, where it is static.

    :raises NotSupported: it has dynamic dimensions; code that takes them asks ``extents_of``.
    """
    shape = extents_of(value)
    if not is_static(shape):
        raise NotSupported(
            "dynamic-shapes", f"dynamic dimensions are not supported here: {format_shape(shape)}"
        )
    return static(shape)
