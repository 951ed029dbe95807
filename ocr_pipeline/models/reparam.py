"""Convolutions that are several branches in training and one convolution when served.

Each can be built from its parts, or from a released (folded) kernel: then one branch carries the
kernel and the others start silent.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from paddle import Tensor, nn

from ocr_pipeline.models.layers import (
    ConvNorm,
    FoldableConv,
    Kernel,
    Pair,
    affine,
    batch_norm,
    set_identity,
    set_silent,
)

Form = Literal["calibrated", "multi_branch"]
"""``calibrated``: one convolution and one normalisation a unit. ``multi_branch``: as the released
networks were trained."""
_REP_BRANCHES = 4
_DILATED: dict[int, tuple[Pair, ...]] = {
    5: ((3, 1), (3, 2)),
    7: ((5, 1), (3, 2), (3, 3)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
}
"""Large kernel: (kernel, dilation) of each branch beside it."""


class BranchedConv(FoldableConv):
    """What the multi-branch units share: after :meth:`fold`, ``deploy`` is all that is left."""

    def __init__(self, channels: Pair, kernel: int, stride: Pair, groups: int) -> None:
        super().__init__()
        in_channels, out_channels = channels
        self.kernel_shape = [out_channels, in_channels // groups, kernel, kernel]
        self.deploy: nn.Conv2D | None = None
        self._stride = stride
        self._groups = groups

    def fold(self) -> None:
        if self.deploy is not None:
            return
        weight, bias = self.folded()
        for name, _ in list(self.named_children()):
            delattr(self, name)
        out_channels, in_channels, kernel, _ = self.kernel_shape
        self.deploy = nn.Conv2D(
            in_channels * self._groups,
            out_channels,
            kernel,
            self._stride,
            padding=kernel // 2,
            groups=self._groups,
        )
        self.deploy.weight.set_value(weight.astype(np.float32))
        self.deploy.bias.set_value(bias.astype(np.float32))


class TokenConv(BranchedConv):
    """Depthwise 3x3 of PP-OCRv6: ``norm(norm(dw3x3 x) + dw1x1 x + x)``."""

    def __init__(self, channels: int) -> None:
        super().__init__((channels, channels), 3, (1, 1), channels)
        self.wide = ConvNorm(channels, channels, groups=channels)
        self.point = nn.Conv2D(channels, channels, 1, groups=channels, bias_attr=False)
        self.norm = batch_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.deploy is not None:
            return self.deploy(x)
        return self.norm(self.wide(x) + self.point(x) + x)

    def folded(self) -> tuple[Kernel, Kernel]:
        weight, bias = self.wide.folded()
        weight[:, :, 1, 1] += self.point.weight.numpy()[:, :, 0, 0].astype(np.float64) + 1
        scale, shift = affine(self.norm)
        return weight * scale.reshape([-1, 1, 1, 1]), bias * scale + shift

    def set_folded(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        rest = weight.copy()
        rest[:, :, 1, 1] -= 1  # the bare shortcut
        self.wide.conv.weight.set_value(rest)
        set_identity(self.wide.norm)
        self.point.weight.set_value(np.zeros(self.point.weight.shape, np.float32))
        set_identity(self.norm, bias)


class LargeKernelConv(BranchedConv):
    """Depthwise k x k beside smaller dilated ones (UniRepLKNet, arXiv:2311.15599), summed.

    Args:
        channels: C.
        kernel: k: 5, 7 or 9.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__((channels, channels), kernel, (1, 1), channels)
        self.large = ConvNorm(channels, channels, kernel=(kernel, kernel), groups=channels)
        self.dilated = nn.LayerList(
            [
                ConvNorm(channels, channels, kernel=(k, k), groups=channels, dilation=dilation)
                for k, dilation in _DILATED[kernel]
            ]
        )
        self._spread = _DILATED[kernel]

    def forward(self, x: Tensor) -> Tensor:
        if self.deploy is not None:
            return self.deploy(x)
        out = self.large(x)
        for branch in self.dilated:
            out = out + branch(x)
        return out

    def folded(self) -> tuple[Kernel, Kernel]:
        weight, bias = self.large.folded()
        centre = self.kernel_shape[2] // 2
        for branch, (kernel, dilation) in zip(self.dilated, self._spread, strict=True):
            small, shift = branch.folded()
            reach = dilation * (kernel // 2)
            taps = slice(centre - reach, centre + reach + 1, dilation)
            weight[:, :, taps, taps] += small
            bias = bias + shift
        return weight, bias

    def set_folded(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self.large.set_folded(weight, bias)
        for branch in self.dilated:
            set_silent(branch.norm)


class RepConv(BranchedConv):
    """k x k of PP-OCRv4 and v5: four k x k, one 1x1 and a normalised shortcut, summed.

    The 1x1 is there for k > 1, the shortcut where input and output have one shape.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: int, stride: Pair, groups: int
    ) -> None:
        super().__init__((in_channels, out_channels), kernel, stride, groups)
        size = (kernel, kernel)
        self.wide = nn.LayerList(
            [
                ConvNorm(in_channels, out_channels, kernel=size, stride=stride, groups=groups)
                for _ in range(_REP_BRANCHES)
            ]
        )
        self.point = (
            ConvNorm(in_channels, out_channels, kernel=(1, 1), stride=stride, groups=groups)
            if kernel > 1
            else None
        )
        keeps_shape = in_channels == out_channels and stride == (1, 1)
        self.shortcut = batch_norm(in_channels) if keeps_shape else None

    def forward(self, x: Tensor) -> Tensor:
        if self.deploy is not None:
            return self.deploy(x)
        out = self.wide[0](x)
        for branch in self.wide[1:]:
            out = out + branch(x)
        if self.point is not None:
            out = out + self.point(x)
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        return out

    def folded(self) -> tuple[Kernel, Kernel]:
        parts = [branch.folded() for branch in self.wide]
        weight, bias = sum(w for w, _ in parts), sum(b for _, b in parts)
        centre = self.kernel_shape[2] // 2
        if self.point is not None:
            small, shift = self.point.folded()
            weight[:, :, centre, centre] += small[:, :, 0, 0]
            bias = bias + shift
        if self.shortcut is not None:
            scale, shift = affine(self.shortcut)
            rows = np.arange(len(scale))
            weight[rows, rows % self.kernel_shape[1], centre, centre] += scale
            bias = bias + shift
        return weight, bias

    def set_folded(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        # The silent branches keep their random kernels: zero ones would divide by sqrt(epsilon).
        for branch in self.wide:
            set_silent(branch.norm)
        if self.point is not None:
            set_silent(self.point.norm)
        if self.shortcut is not None:
            set_silent(self.shortcut)
        self.wide[0].set_folded(weight, bias)


def token_conv(channels: int, *, form: Form) -> FoldableConv:
    """Depthwise 3x3 at stride 1 of PP-OCRv6, in the wanted training form."""
    if form == "multi_branch":
        return TokenConv(channels)
    return ConvNorm(channels, channels, groups=channels)


def large_kernel_conv(channels: int, kernel: int, *, form: Form) -> FoldableConv:
    """Depthwise k x k of PP-OCRv6's detectors, in the wanted training form."""
    if form == "multi_branch":
        return LargeKernelConv(channels, kernel)
    return ConvNorm(channels, channels, kernel=(kernel, kernel), groups=channels)


def rep_conv(
    in_channels: int, out_channels: int, *, kernel: int, stride: Pair, groups: int, form: Form
) -> FoldableConv:
    """Convolution of PP-OCRv4 and v5, in the wanted training form."""
    if form == "multi_branch":
        return RepConv(in_channels, out_channels, kernel=kernel, stride=stride, groups=groups)
    size = (kernel, kernel)
    return ConvNorm(in_channels, out_channels, kernel=size, stride=stride, groups=groups)
