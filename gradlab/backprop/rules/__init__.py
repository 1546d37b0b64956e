"""The calculus of deep learning as a table: for each primitive operation, its local derivative.

One file holds one family; each rule stands beside its formula. `RULES` is all of them.
"""

from gradlab.backprop.rules.pointwise import POINTWISE
from gradlab.backprop.rules.table import Family, Rule, merge

RULES = merge(POINTWISE)

__all__ = ["RULES", "Family", "Rule", "merge"]
