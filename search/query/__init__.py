"""`--where`: a small, safe language that picks trials by what was measured and how they were set.

    fid <= 60 and speedup >= 2              quantities by name
    2 <= speedup < 3 or not kid > 0.02      chained comparisons, and / or / not, parentheses
    verifier == "grouped" and window > 8    settings, by full path or by any unambiguous ending
    verifier in ("exact", "grouped")        any of several; not in for none of them
    decoder.verifier.size == missing        what a candidate has not got; null is a value

    where   = and_ { "or" and_ }
    and_    = not_ { "and" not_ }
    not_    = "not" not_ | "(" where ")" | compare
    compare = operand ( op operand )+       op is one of < <= > >= == !=, and = for ==
            | operand [ "not" ] "in" "(" value { "," value } ")"
    operand = value | name
    value   = number | "text" | true | false | null | missing

What a trial does not have is unknown, as in SQL: a comparison with it is neither true nor false,
`not` leaves it unknown, and a trial matches only where the whole condition is true. Comparing with
`missing` is always true or false. Values of unlike kinds are unequal, and do not order.

The text is parsed (`grammar`), its names are looked up (`naming`), and the database decides
(`paretoken.cache.filtering`): nothing is ever handed to `eval`, or put into SQL as text.
"""
