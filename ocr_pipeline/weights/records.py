"""A released model's weights as a flat list, in the order in which the graph uses them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["conv", "conv_transpose", "batch_norm", "layer_norm", "linear"]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Record:
    """The tensors of one layer.

    Attributes:
        kind: what layer it is.
        node: name of the node in the file, for messages.
        weight: convolution ``[out, in/groups, kh, kw]``, transposed ``[in, out/groups, kh, kw]``,
            linear ``[in, out]``, normalisation scale ``[C]``.
        bias: ``[out]``; None where the file has none.
        mean, variance: ``[C]``, batch normalisation only.
    """

    kind: Kind
    node: str
    weight: Array
    bias: Array | None = None
    mean: Array | None = None
    variance: Array | None = None
