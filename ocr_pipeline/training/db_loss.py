"""Loss of a DB text detector (Differentiable Binarization, arXiv:1911.08947, section 3.5).

Maps are ``[N, 1, H, W]`` float32, masks the same with 0 where the loss shall not look.
"""

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ocr_pipeline.config.train import DBLossConfig
from ocr_pipeline.models.db_detector import DBMaps

_STEEPNESS = 50.0
"""k of the approximate binarisation 1 / (1 + exp(-k (P - T)))."""
_EPS = 1e-6
_FOCAL_ALPHA = 0.25
_FOCAL_GAMMA = 2.5
_MAX_LOGIT = 13.8
"""Of a probability of 1 - 1e-6."""


def db_loss(out: DBMaps, maps: Tensor, config: DBLossConfig, *, focal: bool) -> dict[str, Tensor]:
    """Weighted sum of the losses of the probability, threshold and approximate binary maps.

    Args:
        out: logits of a detector with its threshold branch.
        maps: ``[N, 4, H, W]``: shrink map, shrink mask, threshold map, threshold mask; see
            :class:`~ocr_pipeline.ops.db_targets.DBTargets`.
        config: weights.
        focal: focal loss beside Dice for the probability and binary maps.

    Returns:
        Scalars: ``prob``, ``threshold`` and ``binary`` unweighted, with auxiliary heads
        ``auxiliary`` (weighted), and ``total``.

    Raises:
        ValueError: the detector has no threshold branch.
    """
    if out.threshold_logits is None:
        raise ValueError("the detector has no threshold branch; build it with threshold=True")
    terms = _terms(out.prob_logits, out.threshold_logits, maps, focal=focal)
    total = _weighted(terms, config)
    if out.auxiliary:
        size = maps.shape[2:]
        parts = [
            weight
            * _weighted(
                _terms(
                    _enlarged(head.prob_logits, size),
                    _enlarged(head.threshold_logits, size),
                    maps,
                    focal=focal,
                ),
                config,
            )
            for head, weight in zip(out.auxiliary, config.auxiliary_weights, strict=True)
        ]
        terms["auxiliary"] = paddle.add_n(parts)
        total = total + terms["auxiliary"]
    return {"total": total, **terms}


def dice_loss(probs: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """``1 - 2 |P T| / (|P| + |T|)`` over the whole batch, 0 to 1 (arXiv:1606.04797)."""
    seen = probs * mask
    both = (seen * truth).sum()
    return 1 - 2 * both / (seen.sum() + (truth * mask).sum() + _EPS)


def focal_loss(logits: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Focal loss (arXiv:1708.02002), alpha 0.25, gamma 2.5: mean where the mask is 1."""
    logits = logits.clip(-_MAX_LOGIT, _MAX_LOGIT)
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probs = F.sigmoid(logits)
    wrong = probs + truth - 2 * probs * truth  # 1 - p where the truth is 1, else p
    balance = truth * _FOCAL_ALPHA + (1 - truth) * (1 - _FOCAL_ALPHA)
    losses = balance * wrong.clip(min=_EPS).pow(_FOCAL_GAMMA) * entropy
    return (losses * mask).sum() / (mask.sum() + _EPS)


def _terms(
    prob_logits: Tensor, threshold_logits: Tensor, maps: Tensor, *, focal: bool
) -> dict[str, Tensor]:
    truth, mask, thresholds, band = (maps[:, i : i + 1] for i in range(4))
    prob_logits = prob_logits.astype("float32")
    probs = F.sigmoid(prob_logits)
    found = F.sigmoid(threshold_logits.astype("float32"))
    binary_logits = _STEEPNESS * (probs - found)
    prob = dice_loss(probs, truth, mask)
    binary = dice_loss(F.sigmoid(binary_logits), truth, mask)
    if focal:
        prob = prob + focal_loss(prob_logits, truth, mask)
        binary = binary + focal_loss(binary_logits, truth, mask)
    threshold = ((found - thresholds).abs() * band).sum() / (band.sum() + _EPS)
    return {"prob": prob, "threshold": threshold, "binary": binary}


def _weighted(terms: dict[str, Tensor], config: DBLossConfig) -> Tensor:
    return (
        config.prob_weight * terms["prob"]
        + config.threshold_weight * terms["threshold"]
        + config.binary_weight * terms["binary"]
    )


def _enlarged(logits: Tensor, size: list[int]) -> Tensor:
    """Bilinear, where the map of a coarser level is smaller than the targets."""
    if list(logits.shape[2:]) == list(size):
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
