"""The last minute against a plain list of everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgekit.runtime.web.minute import BIN_NS, BINS, Minute


@given(st.lists(st.tuples(st.integers(0, 20 * BIN_NS), st.floats(0, 1e4)), max_size=60), st.integers(0, 300 * BIN_NS))
def test_it_is_what_a_list_of_everything_says(steps, later):
    minute, all_of_them, now = Minute(), [], 10**12
    for step, age in steps:
        now += step
        minute.add(now, age)
        all_of_them.append((now // BIN_NS, age))
    now += later
    last = now // BIN_NS
    bins = range(last - 119, last + 1)
    wanted = [max((age for number, age in all_of_them if number == each), default=None) for each in bins]
    assert minute.oldest_ms(now) == wanted
    assert minute.rate(now) == sum(last - 4 <= number < last for number, _ in all_of_them) / 2
    assert BINS * BIN_NS == 60 * 10**9
