"""A breakdown as Markdown: whole tables, whatever stands in their cells."""

import math

from gradlab.records import Breakdown, Term
from gradlab.sinks.markdown import breakdown_table


def rows(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def cells(row):
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_every_row_has_a_cell_for_every_heading():
    terms = (
        Term("", "abs", "y = |x|", "sign x", (), 1.0, 1.0, 1.0),
        Term("a_b", "mul", "y = a*b", "`b`", (2, 3), math.nan, math.inf, -1.5e-9),
    )
    table = rows(breakdown_table(Breakdown("chain/table", 0, terms)))
    assert len(table) == 2 + len(terms)
    assert {len(cells(row)) for row in table} == {5}
    assert cells(table[2])[0] == "`abs`"
    assert cells(table[2])[3] == "scalar"
    assert cells(table[3])[4] == "nan × −1.5e−09 = **inf**"


def test_entries_of_small_tensors_follow_in_a_second_table():
    term = Term("1", "tanh", "", "", (2,), 1.0, 1.0, 1.0, {"upstream": [0.5, -2.0], "input": [0.25, 0.0]})
    table = rows(breakdown_table(Breakdown("chain/table", 0, (term,))))
    assert [cells(row)[1:] for row in table[-2:]] == [["`upstream`", "`[0.5, −2]`"], ["`input`", "`[0.25, 0]`"]]


def test_a_breakdown_without_terms_is_an_empty_table():
    assert len(rows(breakdown_table(Breakdown("chain/table", 0, ())))) == 2
