"""Make folded weights trainable: give each normalisation the statistics that it really sees."""

from collections.abc import Iterable

import paddle
from paddle import Tensor, nn

from ocr_pipeline.models.layers import ConvNorm, conv_norms


def calibrate(network: nn.Layer, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of every normalisation from the pictures themselves.

    The function in evaluation mode stays what it was. Without this, the first training step
    normalises by statistics that the weights never knew, and accuracy collapses.

    Args:
        network: trainable form.
        batches: images ``[N, 3, H, W]`` float32; a few suffice.
    """
    sums: dict[int, list[Tensor]] = {}
    units = list(conv_norms(network))

    def watch(unit: ConvNorm) -> None:
        def record(_layer: nn.Layer, _inputs: tuple[Tensor, ...], out: Tensor) -> None:
            moments = [out.mean(axis=[0, 2, 3]), (out * out).mean(axis=[0, 2, 3])]
            seen = sums.get(id(unit))
            sums[id(unit)] = (
                [*moments, paddle.ones([1])]
                if seen is None
                else [a + b for a, b in zip(seen, [*moments, paddle.ones([1])], strict=True)]
            )

        hooks.append(unit.conv.register_forward_post_hook(record))

    hooks: list[nn.layer.layers.HookRemoveHelper] = []
    for unit in units:
        watch(unit)
    was_training = network.training
    network.eval()
    with paddle.no_grad():
        for images in batches:
            network(images)
        for unit in units:
            first, second, count = sums[id(unit)]
            mean = first / count
            unit.set_statistics(mean, paddle.clip(second / count - mean * mean, min=0.0))
    for hook in hooks:
        hook.remove()
    if was_training:
        network.train()
