"""Extents: canonical form, order, text, and agreement with plain integers on random expressions."""

from __future__ import annotations

import random

import pytest
from thalweg.errors import InvalidArgument, OutOfRange
from thalweg.extents import (
    Expression,
    Extent,
    UnknownOrder,
    broadcast_shapes,
    ceil_divide,
    dimension,
    evaluate,
    is_multiple,
    lower_bound,
    maximum,
    minimum,
    names_in,
    parse,
    substitute,
    upper_bound,
)

TOKENS, HEADS = dimension("tokens"), dimension("heads")


def random_extent(rng: random.Random, depth: int) -> tuple[Extent, str]:
    """Return an extent and the Python expression that it was made from."""
    if depth == 0 or rng.random() < 0.2:
        choice = rng.randrange(3)
        value = rng.randint(-9, 99)
        return [(TOKENS, "tokens"), (HEADS, "heads"), (value, f"({value})")][choice]  # type: ignore[return-value]
    (a, left), (b, right) = random_extent(rng, depth - 1), random_extent(rng, depth - 1)
    divisor = rng.randint(1, 40)
    return rng.choice(
        [
            lambda: (a + b, f"({left} + {right})"),
            lambda: (a - b, f"({left} - {right})"),
            lambda: (a * b, f"({left} * {right})"),
            lambda: (a // divisor, f"({left} // {divisor})"),
            lambda: (a % divisor, f"({left} % {divisor})"),
            lambda: (minimum(a, b), f"min({left}, {right})"),
            lambda: (maximum(a, b), f"max({left}, {right})"),
        ]
    )()


def test_a_polynomial_of_too_many_terms_is_refused_before_it_is_multiplied_out():
    for text in ("*".join(["(a+b+c+d+e+f)"] * 200), "*".join(f"(a{i}+1)" for i in range(300))):
        with pytest.raises(InvalidArgument, match="terms; at most 256 are taken"):
            parse(text)


@pytest.mark.parametrize("seed", range(200))
def test_an_extent_means_what_the_integers_mean(seed: int):
    rng = random.Random(seed)
    extent, source = random_extent(rng, 4)
    for _ in range(5):
        values = {"tokens": rng.randint(1, 600), "heads": rng.randint(1, 20)}
        expected = eval(source, {"min": min, "max": max}, values)
        assert evaluate(extent, values) == expected, f"{source} at {values}, seed {seed}"
        assert substitute(extent, values) == expected
        assert lower_bound(extent) <= expected <= upper_bound(extent)
    assert parse(str(extent)) == extent
    assert hash(parse(str(extent))) == hash(extent)


def test_equal_polynomials_are_one():
    assert (TOKENS + 1) * (TOKENS - 1) == TOKENS * TOKENS - 1
    assert TOKENS - TOKENS == 0 and isinstance(TOKENS - TOKENS, int)
    assert (4 * TOKENS + 8) // 4 == TOKENS + 2
    assert (4 * TOKENS + 3) // 4 == TOKENS
    assert 12 * TOKENS % 4 == 0
    assert str(384 * TOKENS) == "384*tokens"
    assert TOKENS != 1 and TOKENS != HEADS


def test_order_is_told_where_it_is_known():
    assert TOKENS > 0 and TOKENS >= 1 and TOKENS + 5 > 5 and 2 * TOKENS >= TOKENS
    assert minimum(TOKENS, 1) == 1 and maximum(TOKENS, 1) == TOKENS
    assert is_multiple(384 * TOKENS, 16) and not is_multiple(TOKENS, 2)
    with pytest.raises(UnknownOrder, match="5 < tokens depends on the call"):
        bool(TOKENS > 5)
    with pytest.raises(UnknownOrder, match="a number is needed"):
        range(TOKENS)  # type: ignore[arg-type]


def test_names():
    assert names_in([TOKENS * HEADS, 3, ceil_divide(dimension("batch"), 8)]) == ("batch", "heads", "tokens")
    for bad in ("", "2x", "a-b", "min"):
        with pytest.raises(InvalidArgument, match="cannot name a dimension"):
            dimension(bad)


def test_broadcasting():
    assert broadcast_shapes([(1, TOKENS, 1), (12, 1, 1, 7)]) == (12, 1, TOKENS, 7)
    with pytest.raises(InvalidArgument, match="tokens against heads"):
        broadcast_shapes([(TOKENS,), (HEADS,)])


@pytest.mark.parametrize(
    "text", ["", "1+", "(tokens", "a b", "tokens/2", "1//0", "tokens//0", "min(1)", "é", "+1"]
)
def test_what_is_no_extent_is_refused(text: str):
    with pytest.raises(InvalidArgument):
        parse(text)


def test_long_and_deep_text_is_refused():
    with pytest.raises(InvalidArgument, match="characters"):
        parse("1+" * 5000 + "1")
    with pytest.raises(InvalidArgument, match="not an extent"):
        parse("(" * 100 + "1" + ")" * 100)


def test_values_are_bounded():
    with pytest.raises(OutOfRange, match="beyond"):
        evaluate(TOKENS * TOKENS, {"tokens": 2**40})
    with pytest.raises(InvalidArgument, match="'tokens' has no value"):
        evaluate(TOKENS, {"heads": 1})
    assert isinstance(TOKENS, Expression)


def test_a_polynomial_that_divides_another_is_taken_out():
    assert (HEADS * TOKENS * 12) // (HEADS * 4) == TOKENS * 3
    rows = (TOKENS - 1) // 2 + 1
    assert (HEADS * rows * (TOKENS + 3)) // (rows * HEADS) == TOKENS + 3
    assert (HEADS * TOKENS + HEADS) // (TOKENS + 1) == HEADS
    inexact = (HEADS * TOKENS + 1) // HEADS
    assert evaluate(inexact, {"heads": 4, "tokens": 5}) == 5
    assert evaluate((TOKENS * 3) // (TOKENS * 2), {"tokens": 5}) == 1


def test_a_remainder_is_known_to_be_less_than_its_divisor():
    remainder = TOKENS % 8
    assert (lower_bound(remainder), upper_bound(remainder)) == (0, 7)
    missing = (8 - remainder) % 8
    assert (lower_bound(missing), upper_bound(missing)) == (0, 7)
    assert [evaluate(missing, {"tokens": n}) for n in (1, 7, 8, 9)] == [7, 1, 0, 7]
    assert lower_bound(HEADS + 3 - 2 * remainder) == 1 + 3 - 14
