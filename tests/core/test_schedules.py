"""Rates at their ends, between them and past them."""
import pytest

from core.schedules import constant, cosine, drops, inverse_root, linear, polynomial, warmup


@pytest.mark.parametrize(("schedule", "expected"), [
    (constant(3.0), {0: 3, 10: 3, 10**6: 3}),
    (linear(1.0, 3.0, steps=10, start=5), {0: 1, 5: 1, 10: 2, 15: 3, 99: 3}),
    (cosine(2.0, steps=10), {0: 2, 5: 1, 10: 0, 50: 0}),
    (cosine(2.0, steps=10, last=1.0), {0: 2, 5: 1.5, 10: 1, 50: 1}),
    (polynomial(1.0, steps=10, power=2), {0: 1, 5: 0.25, 10: 0, 50: 0}),
    (drops(1.0, at=[20, 10], factor=0.5), {0: 1, 9: 1, 10: 0.5, 19: 0.5, 20: 0.25}),
    (inverse_root(1.0, steps=100), {0: 1, 100: 1, 400: 0.5, 10_000: 0.1}),
    (warmup(constant(1.0), steps=4), {0: 0.25, 1: 0.5, 3: 1, 9: 1}),
    (warmup(constant(1.0), steps=0), {0: 1}),
    (linear(1.0, 3.0, steps=0), {0: 3}),
])
def test_values(schedule, expected):
    assert {step: schedule(step) for step in expected} == pytest.approx(expected)
    assert schedule(7) == schedule(7)
