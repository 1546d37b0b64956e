"""Data: real and made-up data sets as Lightning data modules, and none at all for surfaces."""

from gradlab.data.batches import Batches, NoBatches
from gradlab.data.none import NoData
from gradlab.data.real import Diabetes, Digits, Iris
from gradlab.data.table import TableData
from gradlab.data.text import Characters
from gradlab.data.toy import Circles, Moons, Sine, Spiral

__all__ = [
    "Batches",
    "Characters",
    "Circles",
    "Diabetes",
    "Digits",
    "Iris",
    "Moons",
    "NoBatches",
    "NoData",
    "Sine",
    "Spiral",
    "TableData",
]
