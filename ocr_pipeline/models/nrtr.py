"""NRTR branch (arXiv:1806.00926): a transformer decoder that guides a recognizer in training.

It has no encoder of its own: its memory are the features that the CTC head reads. Nothing of it is
exported.
"""

import math

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.ops.nrtr_tokens import PAD, token_count

_NEVER = -1e4  # added to a score: weight 0 after softmax; within float16


class Attention(nn.Layer):
    """Multi-head attention of one sequence to another (arXiv:1706.03762); no dropout."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_width = width // heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Args:
            x: ``[N, L, width]``.
            memory: ``[N, T, width]``.
            mask: ``[L, T]``, added to the scores.

        Returns:
            ``[N, L, width]``.
        """
        query = self._split(self.query(x)) * self.head_width**-0.5
        scores = paddle.matmul(query, self._split(self.key(memory)), transpose_y=True)
        if mask is not None:
            scores = scores + mask.astype(scores.dtype)  # [N, heads, L, T]
        mixed = paddle.matmul(F.softmax(scores, axis=-1), self._split(self.value(memory)))
        mixed = mixed.transpose([0, 2, 1, 3]).reshape([0, -1, self.heads * self.head_width])
        return self.project(mixed)

    def _split(self, x: Tensor) -> Tensor:
        """``[N, L, width]`` to ``[N, heads, L, head_width]``."""
        return x.reshape([0, -1, self.heads, self.head_width]).transpose([0, 2, 1, 3])


class DecoderLayer(nn.Layer):
    """Attention to earlier tokens, to the memory, and an MLP; each with shortcut, then norm."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.look_back = Attention(width, heads)
        self.look_at = Attention(width, heads)
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)
        self.norm1 = nn.LayerNorm(width, epsilon=1e-5)
        self.norm2 = nn.LayerNorm(width, epsilon=1e-5)
        self.norm3 = nn.LayerNorm(width, epsilon=1e-5)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(x + self.drop(self.look_back(x, x, mask)))
        x = self.norm2(x + self.drop(self.look_at(x, memory)))
        return self.norm3(x + self.drop(self.narrow(F.relu(self.widen(x)))))


class NRTRBranch(nn.Layer):
    """Autoregressive decoder over the features of a CTC recognizer, fed with the true text.

    Linear layers start from Xavier's uniform distribution, the embedding from a normal one of
    deviation ``width ** -0.5``.

    Args:
        in_channels: C of the features.
        classes: K of the CTC head, with blank and space.
        width: of the decoder; divisible by 2 and by ``heads``.
        heads: of each attention.
        hidden: width of the MLPs.
        layers: number of decoder layers.
        dropout: of embeddings and residual branches, in [0, 1).

    Raises:
        ValueError: ``width`` not divisible (given).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        width: int = 384,
        heads: int = 12,
        hidden: int = 1536,
        layers: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width % 2 or width % heads:
            raise ValueError(f"width {width}; it must be divisible by 2 and by {heads} heads")
        self.width = width
        tokens = token_count(classes)
        self.memory = nn.Linear(in_channels, width, bias_attr=False)
        self.embed = nn.Embedding(
            tokens,
            width,
            padding_idx=PAD,
            weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, width**-0.5)),
        )
        self.drop = nn.Dropout(dropout)
        self.layers = nn.LayerList(
            [DecoderLayer(width, heads, hidden, dropout) for _ in range(layers)]
        )
        self.head = nn.Linear(width, tokens, bias_attr=False)

    def forward(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Args:
            features: ``[N, C, 1, T]`` float, the map that the CTC neck reads.
            tokens: ``[N, L]`` int64, inputs of :func:`~ocr_pipeline.ops.nrtr_tokens.encode_tokens`.

        Returns:
            ``[N, L, K']`` logits: at each place of the token that follows.
        """
        memory = self.memory(features.flatten(2).transpose([0, 2, 1]))  # [N, T, width]
        length = tokens.shape[1]
        x = self.embed(tokens) * math.sqrt(self.width)
        x = self.drop(x + positions(length, self.width).astype(x.dtype))
        mask = paddle.triu(paddle.full([length, length], _NEVER), diagonal=1)
        for layer in self.layers:
            x = layer(x, memory, mask)
        return self.head(x)


def positions(length: int, width: int) -> Tensor:
    """Sines, then cosines of the place (arXiv:1706.03762): ``[length, width]`` float32."""
    places = paddle.arange(length, dtype="float32").unsqueeze(1)
    rates = paddle.exp(paddle.arange(0, width, 2, dtype="float32") * (-math.log(1e4) / width))
    angles = places * rates  # [length, width / 2]
    return paddle.concat([paddle.sin(angles), paddle.cos(angles)], axis=1)
