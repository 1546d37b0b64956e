"""Studies: what asks one question of a loss, a model, or several runs, and answers with numbers and a picture.

A study is chosen in a config by ``study._target_``, gets a `Setting` and returns `Findings`. Whatever it computes it
has checked by a second witness, so that the lab sheet that quotes it can be trusted.
"""

from gradlab.studies.base import Findings, Finished, Setting, Study
from gradlab.studies.comparison import Comparison

__all__ = ["Comparison", "Findings", "Finished", "Setting", "Study"]
