"""The calculus of deep learning as a table: for each primitive operation, its local derivative.

One file holds one family; each rule stands beside its formula. `RULES` is all of them.
"""

from gradlab.backprop.rules.activation import ACTIVATION
from gradlab.backprop.rules.arithmetic import ARITHMETIC
from gradlab.backprop.rules.attention import ATTENTION
from gradlab.backprop.rules.backward_kernels import BACKWARD_KERNELS
from gradlab.backprop.rules.borders import BORDERS
from gradlab.backprop.rules.choice import CHOICE
from gradlab.backprop.rules.chunked_loss import CHUNKED_LOSS
from gradlab.backprop.rules.convolution import CONVOLUTION
from gradlab.backprop.rules.decompositions import DECOMPOSITIONS
from gradlab.backprop.rules.distances import DISTANCES
from gradlab.backprop.rules.elementary import ELEMENTARY
from gradlab.backprop.rules.fourier import FOURIER
from gradlab.backprop.rules.grids import GRIDS
from gradlab.backprop.rules.indexing import INDEXING
from gradlab.backprop.rules.layer_kernels import LAYER_KERNELS
from gradlab.backprop.rules.linear_algebra import LINEAR_ALGEBRA
from gradlab.backprop.rules.loss import LOSS
from gradlab.backprop.rules.normalization import NORMALIZATION
from gradlab.backprop.rules.pieces import PIECES
from gradlab.backprop.rules.pooling import POOLING
from gradlab.backprop.rules.quantization import QUANTIZATION
from gradlab.backprop.rules.reduction import REDUCTION
from gradlab.backprop.rules.resampling import RESAMPLING
from gradlab.backprop.rules.scattering import SCATTERING
from gradlab.backprop.rules.selection import SELECTION
from gradlab.backprop.rules.sequences import SEQUENCES
from gradlab.backprop.rules.shape import SHAPE
from gradlab.backprop.rules.solving import SOLVING
from gradlab.backprop.rules.sparse import SPARSE
from gradlab.backprop.rules.special import SPECIAL
from gradlab.backprop.rules.table import Family, Rule, merge

RULES = merge(
    SHAPE,
    PIECES,
    ARITHMETIC,
    ELEMENTARY,
    ACTIVATION,
    CHOICE,
    LINEAR_ALGEBRA,
    SOLVING,
    DECOMPOSITIONS,
    REDUCTION,
    SELECTION,
    LOSS,
    CONVOLUTION,
    POOLING,
    RESAMPLING,
    BORDERS,
    INDEXING,
    NORMALIZATION,
    ATTENTION,
    FOURIER,
    SPECIAL,
    DISTANCES,
    SPARSE,
    GRIDS,
    SCATTERING,
    SEQUENCES,
    CHUNKED_LOSS,
    BACKWARD_KERNELS,
    LAYER_KERNELS,
    QUANTIZATION,
)

__all__ = ["RULES", "Family", "Rule", "merge"]
