"""Extents: how long a dimension is, as a number or as an expression of dimensions that are known at the call
only.

An ``Extent`` is an ``int`` or an ``Expression``. An expression is a polynomial with integer coefficients over
named dimensions and over floor quotients, minima and maxima of extents, in one canonical form: equal
polynomials are equal objects, print alike and hash alike. Arithmetic with an expression that comes out
constant gives an ``int``. (The idea of shape polymorphism by polynomials is JAX's, ``jax.export``.)

Every named dimension is at least 1, so bounds can often be told, and with them the order of two extents. A
comparison whose answer depends on the call raises ``UnknownOrder``: code that may meet an expression asks
``lower_bound`` or ``upper_bound`` instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from math import inf

from thalweg.errors import InvalidArgument, OutOfRange

MAX_TEXT = 4096
"""The longest expression that ``parse`` takes, in characters."""
MAX_DEPTH = 32
"""How deep parentheses may nest."""
MAX_TERMS = 256
"""How many terms the polynomial of an expression may have."""
MAX_VALUE = 2**62
"""No extent or size is larger than this."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z_][A-Za-z0-9_]*)|(//|[-+*(),]))")


class UnknownOrder(InvalidArgument):
    """Which of two extents is larger depends on the call."""


class Operation:
    """An atom: ``numerator // divisor``, ``min(a, b)`` or ``max(a, b)``; ``operator`` is ``//``, ``min`` or
    ``max``.
    """

    __slots__ = ("_hash", "left", "operator", "right")

    def __init__(self, operator: str, left: Extent, right: Extent):
        self.operator, self.left, self.right = operator, left, right
        self._hash = hash((operator, left, right))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Operation):
            return False
        return (self.operator, self.left, self.right) == (other.operator, other.left, other.right)

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        if self.operator == "//":
            return f"(({self.left})//({self.right}))"
        return f"{self.operator}({self.left}, {self.right})"


Atom = str | Operation
Monomial = tuple[Atom, ...]
"""A product of atoms, sorted by their text; repeated for powers. The empty product is 1."""


class Expression:
    """A polynomial that is not constant. Made by ``dimension`` and arithmetic; immutable."""

    __slots__ = ("__dict__", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]):
        self.terms = terms

    @cached_property
    def _hash(self) -> int:
        return hash(self.terms)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.terms == other.terms

    # -- arithmetic ------------------------------------------------------------------------------------------

    def __add__(self, other: Extent) -> Extent:
        sums = dict(self.terms)
        for monomial, coefficient in _terms(other):
            sums[monomial] = sums.get(monomial, 0) + coefficient
        return _canonical(sums)

    __radd__ = __add__

    def __neg__(self) -> Extent:
        return self * -1

    def __sub__(self, other: Extent) -> Extent:
        return self + other * -1

    def __rsub__(self, other: Extent) -> Extent:
        return self * -1 + other

    def __mul__(self, other: Extent) -> Extent:
        sums: dict[Monomial, int] = {}
        for first, a in self.terms:
            for second, b in _terms(other):
                monomial = tuple(sorted((*first, *second), key=str))
                sums[monomial] = sums.get(monomial, 0) + a * b
        return _canonical(sums)

    __rmul__ = __mul__

    def __floordiv__(self, divisor: Extent) -> Extent:
        return floor_divide(self, divisor)

    def __rfloordiv__(self, numerator: int) -> Extent:
        return floor_divide(numerator, self)

    def __mod__(self, divisor: Extent) -> Extent:
        return self - floor_divide(self, divisor) * divisor

    def __rmod__(self, numerator: int) -> Extent:
        return numerator - floor_divide(numerator, self) * self

    # -- order -----------------------------------------------------------------------------------------------

    def __lt__(self, other: Extent) -> bool:
        return _is_less(self, other)

    def __le__(self, other: Extent) -> bool:
        return not _is_less(other, self)

    def __gt__(self, other: Extent) -> bool:
        return _is_less(other, self)

    def __ge__(self, other: Extent) -> bool:
        return not _is_less(self, other)

    def __bool__(self) -> bool:
        if lower_bound(self) > 0:
            return True
        raise UnknownOrder(f"whether {self} is 0 depends on the call")

    def __index__(self) -> int:
        raise UnknownOrder(f"a number is needed here, and {self} is known at the call only")

    # -- text ------------------------------------------------------------------------------------------------

    @cached_property
    def _text(self) -> str:
        parts: list[str] = []
        for monomial, coefficient in self.terms:
            factors = [str(atom) for atom in monomial]
            if abs(coefficient) != 1 or not factors:
                factors.insert(0, str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+" if parts else ""
            parts.append(sign + "*".join(factors))
        return "".join(parts)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<extent {self}>"


Extent = int | Expression


def dimension(name: str) -> Expression:
    """Return the extent that is called ``name``: letters, digits and underscores.

    :raises InvalidArgument: the name is not of that form.
    """
    if not _NAME.fullmatch(name) or name in ("min", "max"):
        raise InvalidArgument(f"{name!r} cannot name a dimension; use letters, digits and underscores")
    return Expression((((name,), 1),))


def is_static(extents: Extent | Iterable[Extent]) -> bool:
    """Return whether an extent, or each of several, is a number."""
    if isinstance(extents, int | Expression):
        return isinstance(extents, int)
    return all(isinstance(extent, int) for extent in extents)


def static(extents: Iterable[Extent]) -> tuple[int, ...]:
    """Return extents that are all numbers as a tuple of them.

    :raises UnknownOrder: one is an expression.
    """
    return tuple(extent.__index__() for extent in extents)


def floor_divide(numerator: Extent, divisor: Extent) -> Extent:
    """Return ``numerator // divisor``; terms that the divisor divides come out of the quotient.

    :raises InvalidArgument: the divisor may be zero or negative.
    """
    if lower_bound(divisor) < 1:
        raise InvalidArgument(f"cannot divide by {divisor}, which may be less than 1")
    if isinstance(numerator, int) and isinstance(divisor, int):
        return numerator // divisor
    if divisor == 1:
        return numerator
    if numerator == divisor:
        return 1
    if not isinstance(divisor, int):
        exact = _exact_quotient(numerator, divisor)
        return _atom(Operation("//", numerator, divisor)) if exact is None else exact
    whole: Extent = 0
    rest: Extent = 0
    for monomial, coefficient in _terms(numerator):
        quotient, remainder = divmod(coefficient, divisor)
        if remainder == 0 or not monomial:
            whole += _term(monomial, quotient)
            rest += _term(monomial, remainder)
        else:
            rest += _term(monomial, coefficient)
    if isinstance(rest, int):
        return whole + rest // divisor
    if lower_bound(rest) >= 0 and upper_bound(rest) < divisor:
        return whole
    return whole + _atom(Operation("//", rest, divisor))


def _exact_quotient(numerator: Extent, divisor: Expression) -> Extent | None:
    """Return the polynomial that times ``divisor`` is ``numerator``, if long division finds one."""
    lead, scale = divisor.terms[0]
    quotient: Extent = 0
    for _ in range(MAX_TERMS):
        if not isinstance(numerator, Expression):
            return quotient if numerator == 0 else None
        monomial, coefficient = numerator.terms[0]
        rest = list(monomial)
        for atom in lead:
            if atom not in rest:
                return None
            rest.remove(atom)
        if coefficient % scale:
            return None
        term = _term(tuple(rest), coefficient // scale)
        quotient += term
        numerator = numerator - term * divisor
    return None


def ceil_divide(numerator: Extent, divisor: Extent) -> Extent:
    """Return the least extent that, times ``divisor``, reaches ``numerator``."""
    return floor_divide(numerator + divisor - 1, divisor)


def minimum(a: Extent, b: Extent) -> Extent:
    """Return the smaller extent."""
    if lower_bound(a - b) >= 0:
        return b
    if upper_bound(a - b) <= 0:
        return a
    return _atom(Operation("min", *sorted((a, b), key=str)))


def maximum(a: Extent, b: Extent) -> Extent:
    """Return the larger extent."""
    if lower_bound(a - b) >= 0:
        return a
    if upper_bound(a - b) <= 0:
        return b
    return _atom(Operation("max", *sorted((a, b), key=str)))


def lower_bound(extent: Extent) -> float:
    """Return a number that the extent is never below; ``-inf`` if none is known."""
    return _bounds(extent)[0]


def upper_bound(extent: Extent) -> float:
    """Return a number that the extent is never above; ``inf`` if none is known."""
    return _bounds(extent)[1]


def is_multiple(extent: Extent, divisor: int) -> bool:
    """Return whether the extent is a multiple of ``divisor`` for every value of its dimensions, as far as is
    known.
    """
    return all(coefficient % divisor == 0 for _, coefficient in _terms(extent))


def names_in(extents: Extent | Iterable[Extent]) -> tuple[str, ...]:
    """Return the names of the dimensions in an extent or several, sorted."""
    found: set[str] = set()

    def visit(extent: Extent) -> None:
        for monomial, _ in _terms(extent):
            for atom in monomial:
                if isinstance(atom, str):
                    found.add(atom)
                else:
                    visit(atom.left)
                    visit(atom.right)

    for extent in (extents,) if isinstance(extents, int | Expression) else extents:
        visit(extent)
    return tuple(sorted(found))


def evaluate(extent: Extent, dimensions: Mapping[str, int]) -> int:
    """Return the extent's value.

    :param dimensions: the value of each name.
    :raises InvalidArgument: a name has no value, or a divisor is less than 1.
    :raises OutOfRange: the value is not in [-2⁶², 2⁶²].
    """
    if isinstance(extent, int):
        return extent
    total = 0
    for monomial, coefficient in extent.terms:
        product = coefficient
        for atom in monomial:
            product *= _atom_value(atom, dimensions)
        total += product
    if abs(total) > MAX_VALUE:
        raise OutOfRange(f"{extent} is {total}, beyond 2**62")
    return total


def substitute(extent: Extent, dimensions: Mapping[str, Extent]) -> Extent:
    """Return the extent with names replaced by extents."""
    if isinstance(extent, int):
        return extent
    total: Extent = 0
    for monomial, coefficient in extent.terms:
        product: Extent = coefficient
        for atom in monomial:
            if isinstance(atom, str):
                product = product * dimensions.get(atom, Expression((((atom,), 1),)))
                continue
            left, right = (substitute(side, dimensions) for side in (atom.left, atom.right))
            product = product * _OPERATIONS[atom.operator](left, right)
        total = total + product
    return total


def parse(text: str) -> Extent:
    """Read what ``str`` of an extent wrote.

    :raises InvalidArgument: it is not an expression, or it is too long, too deep or has too many terms.
    """
    if len(text) > MAX_TEXT:
        raise InvalidArgument(f"an extent of {len(text)} characters; at most {MAX_TEXT} are taken")
    return _Parser(text).whole()


def as_json(extent: Extent) -> int | str:
    """Return an extent as JSON holds it: a number, or an expression's text."""
    return extent if isinstance(extent, int) else str(extent)


def from_json(value: int | str) -> Extent:
    """Return what ``as_json`` wrote."""
    return value if isinstance(value, int) else parse(value)


def broadcast_shapes(shapes: Sequence[Sequence[Extent]]) -> tuple[Extent, ...]:
    """Return the shape that the shapes broadcast to, as NumPy does; an expression is taken not to be a
    broadcast 1.

    :raises InvalidArgument: two extents differ, or may.
    """
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[Extent] = [1] * rank
    for shape in shapes:
        for axis, extent in enumerate(shape, rank - len(shape)):
            if extent == 1 or extent == result[axis]:
                continue
            if result[axis] != 1:
                found = " and ".join(format_shape(s) for s in shapes)
                raise InvalidArgument(f"cannot broadcast {found}: {result[axis]} against {extent}")
            result[axis] = extent
    return tuple(result)


def format_shape(shape: Sequence[Extent]) -> str:
    """Return ``[1, tokens, 384]``."""
    return f"[{', '.join(map(str, shape))}]"


def _terms(extent: Extent) -> Iterable[tuple[Monomial, int]]:
    if isinstance(extent, Expression):
        return extent.terms
    return (((), int(extent)),) if extent else ()


def _canonical(sums: Mapping[Monomial, int]) -> Extent:
    kept = [(monomial, coefficient) for monomial, coefficient in sums.items() if coefficient]
    if len(kept) > MAX_TERMS:
        raise InvalidArgument(f"an extent of {len(kept)} terms; at most {MAX_TERMS} are taken")
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    kept.sort(key=lambda term: (-len(term[0]), tuple(map(str, term[0]))))
    return Expression(tuple(kept))


def _term(monomial: Monomial, coefficient: int) -> Extent:
    return _canonical({monomial: coefficient})


def _atom(atom: Atom) -> Extent:
    return Expression((((atom,), 1),))


_REMAINDERS = 3
"""How many quotients ``_bounds`` reads as a numerator less a remainder, one inside the other."""
_QUOTIENTS = 4
"""How many quotients of one sum it tries."""


def _bounds(extent: Extent, remainders: int = _REMAINDERS) -> tuple[float, float]:
    if isinstance(extent, int):
        return extent, extent
    low: float = 0
    high: float = 0
    for monomial, coefficient in extent.terms:
        least, most = _product_bounds(monomial)
        ends = (_times(coefficient, least), _times(coefficient, most))
        low, high = low + min(ends), high + max(ends)
    if remainders and (low == -inf or high == inf):
        for least, most in _bounds_by_remainders(extent, remainders):
            low, high = max(low, least), min(high, most)
    return low, high


def _bounds_by_remainders(extent: Expression, remainders: int) -> Iterable[tuple[float, float]]:
    """Yield bounds that hold because a numerator less its quotient times the divisor is from 0 to the divisor
    less 1.
    """
    quotients = [
        (m[0], coefficient)
        for m, coefficient in extent.terms
        if len(m) == 1 and isinstance(m[0], Operation) and m[0].operator == "//"
    ]
    for atom, coefficient in quotients[:_QUOTIENTS]:
        if not isinstance(atom.right, int):
            continue
        times, left_over = divmod(-coefficient, atom.right)
        if left_over:
            continue
        low, high = _bounds(extent - (atom.left - _atom(atom) * atom.right) * times, remainders - 1)
        ends = (0, times * (atom.right - 1))
        yield low + min(ends), high + max(ends)


def _product_bounds(monomial: Monomial) -> tuple[float, float]:
    least, most = 1.0, 1.0
    for atom in monomial:
        low, high = _atom_bounds(atom)
        corners = [_times(a, b) for a in (least, most) for b in (low, high)]
        least, most = min(corners), max(corners)
    return least, most


def _atom_bounds(atom: Atom) -> tuple[float, float]:
    if isinstance(atom, str):
        return 1, inf
    (low, high), (least, most) = _bounds(atom.left), _bounds(atom.right)
    if atom.operator == "min":
        return min(low, least), min(high, most)
    if atom.operator == "max":
        return max(low, least), max(high, most)
    corners = [_quotient(a, b) for a in (low, high) for b in (least, most)]
    return min(corners), max(corners)


def _times(a: float, b: float) -> float:
    return 0 if a == 0 or b == 0 else a * b


def _quotient(a: float, b: float) -> float:
    if abs(a) == inf:
        return a if b != inf else (0 if a > 0 else a)
    if b == inf:
        return 0 if a >= 0 else -1
    return a // b


def _is_less(a: Extent, b: Extent) -> bool:
    """Return whether ``a < b``."""
    low, high = _bounds(a - b)
    if high < 0:
        return True
    if low >= 0:
        return False
    raise UnknownOrder(f"whether {a} < {b} depends on the call")


def _atom_value(atom: Atom, dimensions: Mapping[str, int]) -> int:
    if isinstance(atom, str):
        if atom not in dimensions:
            raise InvalidArgument(
                f"dimension {atom!r} has no value; there are: {', '.join(dimensions) or 'none'}"
            )
        return dimensions[atom]
    left, right = evaluate(atom.left, dimensions), evaluate(atom.right, dimensions)
    if atom.operator == "//" and right < 1:
        raise InvalidArgument(f"{atom}: the divisor is {right}")
    return {"min": min, "max": max, "//": lambda a, b: a // b}[atom.operator](left, right)


_OPERATIONS = {"//": floor_divide, "min": minimum, "max": maximum}


class _Parser:
    """Recursive descent over ``sum := product (± product)*``, ``product := factor ((* | //) factor)*``."""

    def __init__(self, text: str):
        self._text = text
        self._tokens: list[str] = []
        position = 0
        stripped = text.rstrip()
        while position < len(stripped):
            match = _TOKEN.match(stripped, position)
            if match is None:
                raise self._error()
            self._tokens.append(match.group(match.lastindex or 0))
            position = match.end()
        self._next = 0
        self._depth = 0

    def _error(self) -> InvalidArgument:
        return InvalidArgument(f"{self._text!r} is not an extent")

    def _take(self, *choices: str) -> str | None:
        if self._next < len(self._tokens) and self._tokens[self._next] in choices:
            self._next += 1
            return self._tokens[self._next - 1]
        return None

    def _expect(self, token: str) -> None:
        if self._take(token) is None:
            raise self._error()

    def whole(self) -> Extent:
        value = self._sum()
        if self._next != len(self._tokens):
            raise self._error()
        return value

    def _sum(self) -> Extent:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error()
        value = self._signed()
        while sign := self._take("+", "-"):
            term = self._product()
            value = value + term if sign == "+" else value - term
        self._depth -= 1
        return value

    def _signed(self) -> Extent:
        negative = self._take("-") is not None
        value = self._product()
        return value * -1 if negative else value

    def _product(self) -> Extent:
        value = self._factor()
        while sign := self._take("*", "//"):
            factor = self._factor()
            value = value * factor if sign == "*" else floor_divide(value, factor)
        return value

    def _factor(self) -> Extent:
        if self._take("("):
            value = self._sum()
            self._expect(")")
            return value
        if self._next >= len(self._tokens):
            raise self._error()
        token = self._tokens[self._next]
        self._next += 1
        if token.isdigit():
            return int(token)
        if token in ("min", "max"):
            self._expect("(")
            left = self._sum()
            self._expect(",")
            right = self._sum()
            self._expect(")")
            return _OPERATIONS[token](left, right)
        if _NAME.fullmatch(token):
            return dimension(token)
        raise self._error()
