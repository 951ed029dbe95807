"""Loss of the NRTR branch: cross-entropy with label smoothing (arXiv:1512.00567, section 7)."""

import paddle
from paddle import Tensor

from ocr_pipeline.ops.nrtr_tokens import PAD


def nrtr_loss(logits: Tensor, targets: Tensor, *, smoothing: float = 0.1) -> Tensor:
    """Mean over the tokens that are not padding.

    The target gives ``1 - smoothing`` to the right token, and shares ``smoothing`` among all K'.

    Args:
        logits: ``[N, L, K']`` float; computed in float32 whatever their dtype.
        targets: ``[N, L]`` int64, of :func:`~ocr_pipeline.ops.nrtr_tokens.encode_tokens`: at least
            one token (the end) is not padding.
        smoothing: in [0, 1).

    Returns:
        Scalar float32, nats a token.
    """
    logits = logits.astype("float32")
    right = paddle.take_along_axis(logits, targets.unsqueeze(2), axis=2).squeeze(2)  # [N, L]
    expected = (1 - smoothing) * right + smoothing * logits.mean(axis=2)
    losses = paddle.logsumexp(logits, axis=2) - expected
    counted = (targets != PAD).astype("float32")
    return (losses * counted).sum() / counted.sum()
