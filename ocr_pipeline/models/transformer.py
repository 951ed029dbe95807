"""Pre-norm transformer block of the SVTR-family recognizers (arXiv:2205.00159)."""

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F


class SelfAttention(nn.Layer):
    """Multi-head self-attention over ``[N, T, width]``; dropout only in training."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.head_width = width // heads
        self.qkv = linear(width, 3 * width)
        self.project = linear(width, width)
        self.drop_weights = nn.Dropout(dropout)
        self.drop_out = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        width = self.heads * self.head_width
        qkv = self.qkv(x).reshape([0, -1, 3, self.heads, self.head_width])
        qkv = qkv.transpose([2, 0, 3, 1, 4])  # [3, N, heads, T, head_width]
        # Indexing, not unbind: Paddle Lite corrupts its heap on unbind.
        query, key, value = qkv[0] * self.head_width**-0.5, qkv[1], qkv[2]
        weights = F.softmax(paddle.matmul(query, key, transpose_y=True), axis=-1)
        mixed = paddle.matmul(self.drop_weights(weights), value)  # [N, heads, T, head_width]
        mixed = mixed.transpose([0, 2, 1, 3]).reshape([0, -1, width])
        return self.drop_out(self.project(mixed))


class Mlp(nn.Layer):
    """Two linear layers with swish between."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.widen = linear(width, hidden)
        self.narrow = linear(hidden, width)
        self.drop_hidden = nn.Dropout(dropout)
        self.drop_out = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        # F.silu, not F.swish: the latter loses an attribute that Paddle Lite's converter wants.
        return self.drop_out(self.narrow(self.drop_hidden(F.silu(self.widen(x)))))


class TransformerBlock(nn.Layer):
    """Attention and MLP, each behind a layer normalisation (epsilon 1e-5) and with a shortcut."""

    def __init__(self, width: int, *, heads: int, mlp_ratio: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, epsilon=1e-5)
        self.attention = SelfAttention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width, epsilon=1e-5)
        self.mlp = Mlp(width, mlp_ratio * width, dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def linear(in_width: int, out_width: int) -> nn.Linear:
    """Linear layer with truncated-normal weights (0.02) and zero biases."""
    weights = paddle.ParamAttr(initializer=nn.initializer.TruncatedNormal(std=0.02))
    return nn.Linear(in_width, out_width, weight_attr=weights)
