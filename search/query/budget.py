"""`--budget`: how much worse than plain decoding a candidate may be.

fid<=+2%            at most 2 % more than plain decoding's
agreement>=-0.01    at most 0.01 less
speedup>=+50%       at least half as fast again
fid<=60             no change but a bound: the number itself
fid<=+2% and nll<=+1%

budget = bound { ( "and" | "," ) bound }
bound  = quantity op number [ "%" ]      op as in --where; a sign makes the number a change
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from paretoken.cache.condition import SIGNS, Compare, Condition, Every
from paretoken.search.query.grammar import Name, Reader
from paretoken.search.query.naming import Names
from paretoken.search.query.tokens import Source
from paretoken.spaces.records import Quantity


def budget(text: str, names: Names, plain: Mapping[str, Quantity]) -> Condition:
    """The budget as a condition. plain: plain decoding's quantities; raises BadInput.

    A percentage is of the size of plain decoding's number, so that + is always more.
    """
    read = Reader(Source(text, "--budget"))
    bounds = [_bound(read, names, plain)]
    while read.word("and", ","):
        read.take()
        bounds.append(_bound(read, names, plain))
    if read.next.kind != "end":
        read.fail(f"expected 'and' or the end, found {read.next.said}")
    return bounds[0] if len(bounds) == 1 else Every(tuple(bounds))


def _bound(read: Reader, names: Names, plain: Mapping[str, Quantity]) -> Compare:
    token = read.next
    if token.kind != "name":
        read.fail(f"expected a quantity, as in fid<=+2%, found {token.said}")
    read.take()
    number = names.quantity(read.source, Name(token.text, token.column))
    sign = read.next
    if sign.kind != "op" or sign.text not in SIGNS:
        read.fail(f"expected a comparison such as <= or >=, found {sign.said}")
    read.take()
    written = read.next
    if written.kind != "number":
        read.fail(f"expected a number such as +2% or 60, found {written.said}")
    amount, is_change = read.number(), written.text[0] in "+-"
    of_hundred = read.word("%")
    if of_hundred:
        if not is_change:
            read.fail("a percentage is a change from plain decoding: write +2% or -2%")
        read.take()
    if not is_change:
        return Compare(number, sign.text, amount)
    base = plain.get(number.name)
    if base is None or not math.isfinite(base.value):
        read.source.fail(token.column, f"plain decoding has no {number.name!r} to change from")
    change = abs(base.value) * amount / 100 if of_hundred else amount
    return Compare(number, sign.text, base.value + change)
