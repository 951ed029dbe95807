"""Checkpoints with PaddleOCR's names and shapes, made here: no real one is at hand."""

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.assets import sha256_of
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.build import build_network
from ocr_pipeline.weights.catalog import RELEASES, released_charset
from ocr_pipeline.weights.source import load_trainable, resolve
from ocr_pipeline.weights.trainable import TrainableModel
from ocr_pipeline.weights.training_checkpoint import load_training_checkpoint

Leaves = dict[str, nn.Layer]
Arrays = dict[str, NDArray[np.float32]]
Pair = tuple[int, int]
CHARS = 30
TOLERANCE = 1e-5


# PaddleOCR's layers by path: what its networks consist of, without their forward pass.


class Affine(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.scale = self.create_parameter([1])
        self.bias = self.create_parameter([1])


def conv(
    in_: int, out: int, kernel: int | Pair, *, groups: int = 1, bias: bool = False
) -> nn.Conv2D:
    return nn.Conv2D(in_, out, kernel, groups=groups, bias_attr=None if bias else False)


def conv_bn(path: str, in_: int, out: int, kernel: int | Pair, *, groups: int = 1) -> Leaves:
    return {
        f"{path}.conv": conv(in_, out, kernel, groups=groups),
        f"{path}.bn": nn.BatchNorm2D(out),
    }


def conv_norm(path: str, in_: int, out: int, kernel: int | Pair) -> Leaves:
    """As backbones have it, but for one name: the necks of recognizers."""
    return {f"{path}.conv": conv(in_, out, kernel), f"{path}.norm": nn.BatchNorm2D(out)}


def squeeze(path: str, channels: int) -> Leaves:
    return {
        f"{path}.conv1": conv(channels, channels // 4, 1, bias=True),
        f"{path}.conv2": conv(channels // 4, channels, 1, bias=True),
    }


V3_REC = {
    2: [(3, 32, 1, False)],
    3: [(3, 64, 1, False), (3, 64, 1, False)],
    4: [(3, 128, (2, 1), False), (3, 128, 1, False)],
    5: [(3, 240, (1, 2), False), *[(5, 240, 1, False)] * 4],
    6: [(5, 480, (2, 1), True), (5, 480, 1, True), (5, 480, (2, 1), False), (5, 480, 1, False)],
}
V3_DET = {
    2: [(3, 32, 1, False)],
    3: [(3, 48, 2, False), (3, 48, 1, False)],
    4: [(3, 96, 2, False), (3, 96, 1, False)],
    5: [(3, 192, 2, False), *[(5, 192, 1, False)] * 4],
    6: [(5, 384, 2, True), (5, 384, 1, True), (5, 384, 1, False), (5, 384, 1, False)],
}
"""Blocks of each stage: kernel, channels, stride, gate."""


def v3_backbone(stages: dict[int, list[tuple[int, int, int | Pair, bool]]]) -> Leaves:
    leaves = conv_bn("backbone.conv1", 3, 16, 3)
    channels = 16
    for stage, blocks in stages.items():
        for i, (kernel, out, stride, gate) in enumerate(blocks):
            path = f"backbone.blocks{stage}.{i}"
            same = stride == 1
            leaves |= rep(f"{path}.dw_conv", channels, channels, kernel, same, groups=channels)
            leaves |= squeeze(f"{path}.se", channels) if gate else {}
            leaves |= rep(f"{path}.pw_conv", channels, out, 1, channels == out)
            channels = out
    return leaves


def rep(
    path: str, in_: int, out: int, kernel: int, has_identity: bool, *, groups: int = 1
) -> Leaves:
    leaves: Leaves = {f"{path}.identity": nn.BatchNorm2D(in_)} if has_identity else {}
    for k in range(4):
        leaves |= conv_bn(f"{path}.conv_kxk.{k}", in_, out, kernel, groups=groups)
    if kernel > 1:
        leaves |= conv_bn(f"{path}.conv_1x1", in_, out, 1, groups=groups)
    return leaves | {f"{path}.lab": Affine(), f"{path}.act.lab": Affine()}


def transformer(path: str, width: int, mlp_ratio: int = 2) -> Leaves:
    return {
        f"{path}.norm1": nn.LayerNorm(width),
        f"{path}.mixer.qkv": nn.Linear(width, 3 * width),
        f"{path}.mixer.proj": nn.Linear(width, width),
        f"{path}.norm2": nn.LayerNorm(width),
        f"{path}.mlp.fc1": nn.Linear(width, mlp_ratio * width),
        f"{path}.mlp.fc2": nn.Linear(mlp_ratio * width, width),
    }


def v4_rec(classes: int = CHARS, *, many_heads: bool = True, nrtr: bool = True) -> Leaves:
    encoder = "head.ctc_encoder.encoder" if many_heads else "neck.encoder"
    leaves = v3_backbone(V3_REC)
    leaves |= conv_norm(f"{encoder}.conv1", 480, 60, (1, 3))
    leaves |= conv_norm(f"{encoder}.conv2", 60, 120, 1)
    leaves |= transformer(f"{encoder}.svtr_block.0", 120)
    leaves |= transformer(f"{encoder}.svtr_block.1", 120)
    leaves |= {f"{encoder}.norm": nn.LayerNorm(120)}
    leaves |= conv_norm(f"{encoder}.conv3", 120, 480, 1)
    leaves |= conv_norm(f"{encoder}.conv4", 960, 60, (1, 3))
    leaves |= conv_norm(f"{encoder}.conv1x1", 60, 120, 1)
    leaves |= {"head.ctc_head.fc" if many_heads else "head.fc": nn.Linear(120, classes)}
    if nrtr:
        leaves["head.before_gtc.1.fc"] = nn.Linear(480, 8, bias_attr=False)
        leaves["head.gtc_head.embedding.embedding"] = nn.Embedding(9, 8)
        leaves["head.gtc_head.decoder.0.norm1"] = nn.LayerNorm(8)
        leaves["head.gtc_head.tgt_word_prj"] = nn.Linear(8, 9, bias_attr=False)
    return leaves


def db_head(path: str, channels: int) -> Leaves:
    quarter = channels // 4
    return {
        f"{path}.conv1": conv(channels, quarter, 3),
        f"{path}.conv_bn1": nn.BatchNorm2D(quarter),
        f"{path}.conv2": nn.Conv2DTranspose(quarter, quarter, 2, stride=2),
        f"{path}.conv_bn2": nn.BatchNorm2D(quarter),
        f"{path}.conv3": nn.Conv2DTranspose(quarter, 1, 2, stride=2),
    }


def laterals(widths: tuple[int, ...], channels: int) -> Leaves:
    leaves: Leaves = {}
    for i, width in enumerate(widths):
        leaves[f"neck.ins_conv.{i}.in_conv"] = conv(width, channels, 1)
        leaves |= squeeze(f"neck.ins_conv.{i}.se_block", channels)
    return leaves


def v4_det(*, thresh: bool = True) -> Leaves:
    leaves = v3_backbone(V3_DET)
    for i, (in_, out) in enumerate([(48, 12), (96, 18), (192, 42), (384, 360)]):
        leaves[f"backbone.layer_list.{i}"] = conv(in_, out, 1, bias=True)
    leaves |= laterals((12, 18, 42, 360), 96)
    for i in range(4):
        leaves[f"neck.inp_conv.{i}.in_conv"] = conv(96, 24, 3)
        leaves |= squeeze(f"neck.inp_conv.{i}.se_block", 24)
    leaves |= db_head("head.binarize", 96)
    return leaves | (db_head("head.thresh", 96) if thresh else {})


def v6_stem(path: str, mid: int, out: int) -> Leaves:
    return {
        **conv_bn(f"{path}.stem1", 3, mid, 3),
        **conv_bn(f"{path}.stem2a", mid, mid // 2, 2),
        **conv_bn(f"{path}.stem2b", mid // 2, mid, 2),
        **conv_bn(f"{path}.stem3", 2 * mid, mid, 3),
        **conv_bn(f"{path}.stem4", mid, out, 1),
    }


def v6_stages(stages: dict[str, list[tuple[int, bool, bool]]], channels: int) -> Leaves:
    leaves: Leaves = {}
    for name, blocks in stages.items():
        for i, (out, down, gate) in enumerate(blocks):
            path = f"backbone.{name}.{i}"
            mixer = f"{path}.token_mixer"
            if channels == out and not down:
                leaves |= conv_bn(f"{mixer}.rep_dw.conv", channels, channels, 3, groups=channels)
                leaves[f"{mixer}.rep_dw.conv1"] = conv(channels, channels, 1, groups=channels)
                leaves[f"{mixer}.rep_dw.bn"] = nn.BatchNorm2D(channels)
            else:
                leaves |= conv_bn(f"{mixer}.dw_conv", channels, channels, 3, groups=channels)
            leaves |= squeeze(f"{mixer}.se", channels) if gate else {}
            leaves |= conv_bn(f"{path}.channel_mixer.expand", channels, 2 * channels, 1)
            leaves |= conv_bn(f"{path}.channel_mixer.compress", 2 * channels, out, 1)
            channels = out
    return leaves


def v6_det_stages(a: int, b: int, c: int, d: int) -> dict[str, list[tuple[int, bool, bool]]]:
    return {
        "blocks_s1": [(a, False, True), (a, False, False)],
        "blocks_s2": [(b, True, False), (b, False, True), (b, False, False)],
        "blocks_s3": [(c, True, False), *[(c, False, True), (c, False, False)] * 2],
        "blocks_s4": [(d, True, False), (d, False, True), (d, False, False)],
    }


def large_kernel(origin: str, channels: int, kernel: int) -> Leaves:
    shapes = {5: [(3, 1), (3, 2)], 7: [(5, 1), (3, 2), (3, 3)], 9: [(5, 1), (5, 2), (3, 3), (3, 4)]}
    leaves: Leaves = {
        f"{origin}.lk_origin": conv(channels, channels, kernel, groups=channels),
        f"{origin}.origin_bn": nn.BatchNorm2D(channels),
    }
    for k, r in shapes[kernel]:
        leaves[f"{origin}.dil_conv_k{k}_{r}"] = conv(channels, channels, k, groups=channels)
        leaves[f"{origin}.dil_bn_k{k}_{r}"] = nn.BatchNorm2D(channels)
    return leaves


def v6_det(
    mid: int, widths: tuple[int, int, int, int], channels: int, kernel: int, *, aux: bool = True
) -> Leaves:
    leaves = v6_stem("backbone.stem", mid, widths[0])
    leaves |= v6_stages(v6_det_stages(*widths), widths[0])
    leaves |= laterals(widths, channels)
    for i in range(4):
        leaves |= large_kernel(f"neck.inp_conv_dw.{i}", channels, kernel)
        leaves[f"neck.inp_conv_pw.{i}"] = conv(channels, channels // 4, 1)
        leaves |= squeeze(f"neck.inp_conv_se.{i}", channels // 4)
    leaves |= db_head("head.binarize", channels) | db_head("head.thresh", channels)
    return leaves | (db_head("head.aux_p4.binarize", channels) if aux else {})


def v6_small_det() -> Leaves:
    return v6_det(24, (48, 96, 192, 384), 96, 7)


def v6_tiny_det() -> Leaves:
    return v6_det(16, (32, 48, 64, 160), 64, 5, aux=False)


def v6_medium_det() -> Leaves:
    widths = (128, 256, 512, 896)
    leaves = v6_stem("backbone.stem", 64, 128) | v6_stages(v6_det_stages(*widths), 128)
    for i, width in enumerate(widths):
        leaves[f"neck.ins_conv.{i}"] = conv(width, 256, 1)
        for unit, in_ in (("inp_conv", 256), ("pan_lat_conv", 64)):
            leaves |= large_kernel(f"neck.{unit}.{i}.dw", in_, 9)
            leaves[f"neck.{unit}.{i}.pw"] = conv(in_, 64, 1)
            leaves[f"neck.{unit}.{i}.bn"] = nn.BatchNorm2D(64)
        if i < 3:
            leaves[f"neck.pan_head_conv.{i}"] = conv(64, 64, 3)
        context = f"neck.incl{i + 1}"
        leaves[f"{context}.conv1x1_reduce_channel"] = conv(64, 32, 1, bias=True)
        leaves[f"{context}.conv1x1_return_channel"] = conv(32, 64, 1, bias=True)
        leaves[f"{context}.bn"] = nn.BatchNorm2D(64)
        for k in (7, 5, 3):
            leaves[f"{context}.c_layer_{k}x{k}"] = conv(32, 32, (k, k), bias=True)
            leaves[f"{context}.v_layer_{k}x1"] = conv(32, 32, (k, 1), bias=True)
            leaves[f"{context}.q_layer_1x{k}"] = conv(32, 32, (1, k), bias=True)
    return leaves | db_head("head.binarize", 256) | db_head("head.thresh", 256)


def light_svtr(in_: int, width: int, mlp_ratio: int, classes: int) -> Leaves:
    encoder = "head.ctc_encoder.encoder"
    return {
        **conv_norm(f"{encoder}.conv_reduce", in_, width, 1),
        **conv_norm(f"{encoder}.skip_conv", in_, width, 1),
        f"{encoder}.local_conv.0": conv(width, width, (1, 7), groups=width),
        f"{encoder}.local_conv.1": nn.BatchNorm2D(width),
        **transformer(f"{encoder}.svtr_block.0", width, mlp_ratio),
        **transformer(f"{encoder}.svtr_block.1", width, mlp_ratio),
        f"{encoder}.norm": nn.LayerNorm(width),
        "head.ctc_head.fc": nn.Linear(width, classes),
    }


def v6_small_rec() -> Leaves:
    stages = {
        "blocks2": [(96, False, True)],
        "blocks3": [(96, False, False)] * 2,
        "blocks4": [(192, True, False), *[(192, False, True), (192, False, False)] * 3],
        "blocks5": [(384, True, False), (384, False, True), (384, False, False)],
    }
    leaves = v6_stem("backbone.conv1", 48, 96) | v6_stages(stages, 96)
    leaves |= light_svtr(384, 120, 2, CHARS)
    return leaves | {"head.gtc_head.embedding.embedding": nn.Embedding(9, 8)}


def v6_medium_rec() -> Leaves:
    stages = {
        "blocks2": [(128, False, True)],
        "blocks3": [(256, False, False), (256, False, False), (256, False, True)],
        "blocks4": [(512, True, False), *[(512, False, True), (512, False, False)] * 3],
        "blocks5": [(768, True, False), (768, False, True), (768, False, False)],
    }
    leaves = v6_stem("backbone.conv1", 64, 128) | v6_stages(stages, 128)
    return leaves | light_svtr(768, 192, 4, CHARS)


def v6_tiny_rec() -> Leaves:
    stages = {"blocks2": [(48, False, True)], "blocks3": [(48, False, False)]}
    leaves = conv_bn("backbone.conv1.0", 3, 24, 3) | conv_bn("backbone.conv1.2", 24, 48, 3)
    return leaves | v6_stages(stages, 48) | {"head.ctc_head.fc": nn.Linear(80, CHARS)}


def tree(leaves: Leaves) -> nn.Layer:
    """Put the layers into one network, at their paths."""
    root = nn.Layer()
    for path, leaf in leaves.items():
        *parents, name = path.split(".")
        layer = root
        for parent in parents:
            if parent not in layer._sub_layers:
                layer.add_sublayer(parent, nn.Layer())
            layer = layer._sub_layers[parent]
        layer.add_sublayer(name, leaf)
    return root


def save(leaves: Leaves, path: Path, seed: int = 7) -> Arrays:
    """Give every tensor values of its own and write what PaddleOCR's training would."""
    random = np.random.default_rng(seed)
    state = tree(leaves).state_dict()
    for name, tensor in state.items():
        if name.endswith("_variance"):
            values = random.uniform(0.5, 1.5, tensor.shape)
        else:
            values = random.normal(0, max(np.prod(tensor.shape[1:]), 9) ** -0.5, tensor.shape)
            values += 1 if ".lab.scale" in name else 0
        tensor.set_value(values.astype(np.float32))
    path.parent.mkdir(parents=True, exist_ok=True)
    paddle.save(state, str(path))
    return {name: tensor.numpy() for name, tensor in state.items()}


def write_dictionary(folder: Path, classes: int = CHARS) -> None:
    lines = [chr(0x4E00 + n) for n in range(classes - 2)]
    (folder / "dictionary.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


class Loaded:
    """A checkpoint, and what became of it."""

    def __init__(self, leaves: Leaves, folder: Path) -> None:
        self.path = folder / "best_accuracy.pdparams"
        self.file = save(leaves, self.path)
        write_dictionary(folder)
        self.model: TrainableModel = load_training_checkpoint(self.path)
        self.network = self.model.network
        self.ours: Arrays = {
            name: tensor.numpy() for name, tensor in self.network.state_dict().items()
        }

    # PaddleOCR's units, computed from the file's tensors alone.

    def __getitem__(self, name: str) -> Tensor:
        return paddle.to_tensor(self.file[name])

    def bn(self, path: str, x: Tensor) -> Tensor:
        mean, variance, weight, bias = (
            self[f"{path}.{n}"].reshape([1, -1, 1, 1])
            for n in ("_mean", "_variance", "weight", "bias")
        )
        return (x - mean) / paddle.sqrt(variance + 1e-5) * weight + bias

    def conv(self, path: str, x: Tensor, **options: object) -> Tensor:
        bias = self[f"{path}.bias"] if f"{path}.bias" in self.file else None
        return F.conv2d(x, self[f"{path}.weight"], bias, **options)

    def conv_bn(self, path: str, x: Tensor, **options: object) -> Tensor:
        return self.bn(f"{path}.bn", self.conv(f"{path}.conv", x, **options))

    def conv_norm(self, path: str, x: Tensor, **options: object) -> Tensor:
        return self.bn(f"{path}.norm", self.conv(f"{path}.conv", x, **options))

    def lab(self, path: str, x: Tensor) -> Tensor:
        return x * self[f"{path}.scale"] + self[f"{path}.bias"]

    def gate(self, path: str, x: Tensor, slope: float) -> Tensor:
        z = F.relu(self.conv(f"{path}.conv1", x.mean(axis=[2, 3], keepdim=True)))
        return x * paddle.clip(slope * self.conv(f"{path}.conv2", z) + 0.5, 0, 1)

    def rep(self, path: str, x: Tensor, kernel: int, stride: int | Pair, groups: int) -> Tensor:
        options = {"stride": stride, "groups": groups}
        out = sum(
            self.conv_bn(f"{path}.conv_kxk.{k}", x, padding=kernel // 2, **options)
            for k in range(4)
        )
        if kernel > 1:
            out = out + self.conv_bn(f"{path}.conv_1x1", x, **options)
        if f"{path}.identity.weight" in self.file:
            out = out + self.bn(f"{path}.identity", x)
        out = self.lab(f"{path}.lab", out)
        if stride == 2:  # the detectors' units of stride 2 skip the activation
            return out
        return self.lab(f"{path}.act.lab", out * paddle.clip(out + 3, 0, 6) / 6)

    def v3_block(self, path: str, x: Tensor, block: tuple[int, int, int | Pair, bool]) -> Tensor:
        kernel, _, stride, gate = block
        x = self.rep(f"{path}.dw_conv", x, kernel, stride, x.shape[1])
        x = self.gate(f"{path}.se", x, 1 / 6) if gate else x
        return self.rep(f"{path}.pw_conv", x, 1, 1, 1)

    def v6_block(self, path: str, x: Tensor, stride: int | Pair) -> Tensor:
        mixer, groups = f"{path}.token_mixer", x.shape[1]
        same = f"{mixer}.rep_dw.conv1.weight" in self.file
        if same:
            wide = self.conv_bn(f"{mixer}.rep_dw.conv", x, padding=1, groups=groups)
            point = self.conv(f"{mixer}.rep_dw.conv1", x, groups=groups)
            x = self.bn(f"{mixer}.rep_dw.bn", wide + point + x)
        else:
            x = self.conv_bn(f"{mixer}.dw_conv", x, padding=1, groups=groups, stride=stride)
        if f"{mixer}.se.conv1.weight" in self.file:
            x = self.gate(f"{mixer}.se", x, 1 / 6)
        out = F.gelu(self.conv_bn(f"{path}.channel_mixer.expand", x))
        out = self.conv_bn(f"{path}.channel_mixer.compress", out)
        return x + out if same else out

    def v6_stem(self, path: str, x: Tensor) -> Tensor:
        same = {"padding": [0, 1, 0, 1]}
        x = F.relu(self.conv_bn(f"{path}.stem1", x, stride=2, padding=1))
        z = F.relu(self.conv_bn(f"{path}.stem2a", x, **same))
        z = F.relu(self.conv_bn(f"{path}.stem2b", z, **same))
        pooled = F.max_pool2d(F.pad(x, [0, 1, 0, 1], value=-1e9), 2, stride=1)
        x = paddle.concat([pooled, z], axis=1)
        x = F.relu(self.conv_bn(f"{path}.stem3", x, stride=2, padding=1))
        return F.relu(self.conv_bn(f"{path}.stem4", x))

    def pyramid(self, maps: list[Tensor], branch: Callable[[int, Tensor], Tensor]) -> Tensor:
        sides = []
        for i, x in enumerate(maps):
            y = self.conv(f"neck.ins_conv.{i}.in_conv", x)
            sides.append(y + self.gate(f"neck.ins_conv.{i}.se_block", y, 0.2))
        for i in (2, 1, 0):
            sides[i] = sides[i] + enlarge(sides[i + 1], 2)
        outs = [enlarge(branch(i, sides[i]), 2**i) for i in range(4)]
        return paddle.concat(outs[::-1], axis=1)

    def v4_branch(self, i: int, x: Tensor) -> Tensor:
        z = self.conv(f"neck.inp_conv.{i}.in_conv", x, padding=1)
        return z + self.gate(f"neck.inp_conv.{i}.se_block", z, 0.2)

    def v6_branch(self, i: int, x: Tensor) -> Tensor:
        path, groups = f"neck.inp_conv_dw.{i}", x.shape[1]
        z = self.conv(f"{path}.lk_origin", x, padding=3, groups=groups)
        z = self.bn(f"{path}.origin_bn", z)
        for k, r in ((5, 1), (3, 2), (3, 3)):
            options = {"padding": r * (k // 2), "dilation": r, "groups": groups}
            side = self.conv(f"{path}.dil_conv_k{k}_{r}", x, **options)
            z = z + self.bn(f"{path}.dil_bn_k{k}_{r}", side)
        z = self.conv(f"neck.inp_conv_pw.{i}", z)
        return z + self.gate(f"neck.inp_conv_se.{i}", z, 0.2)

    def db_head(self, path: str, x: Tensor) -> Tensor:
        x = F.relu(self.bn(f"{path}.conv_bn1", self.conv(f"{path}.conv1", x, padding=1)))
        x = F.conv2d_transpose(
            x, self[f"{path}.conv2.weight"], self[f"{path}.conv2.bias"], stride=2
        )
        x = F.relu(self.bn(f"{path}.conv_bn2", x))
        return F.conv2d_transpose(
            x, self[f"{path}.conv3.weight"], self[f"{path}.conv3.bias"], stride=2
        )

    def linear(self, path: str, x: Tensor) -> Tensor:
        return paddle.matmul(x, self[f"{path}.weight"]) + self[f"{path}.bias"]

    def layer_norm(self, path: str, x: Tensor, epsilon: float) -> Tensor:
        x = x - x.mean(axis=-1, keepdim=True)
        x = x / paddle.sqrt((x * x).mean(axis=-1, keepdim=True) + epsilon)
        return x * self[f"{path}.weight"] + self[f"{path}.bias"]

    def transformer(self, path: str, x: Tensor) -> Tensor:
        n, t, width = x.shape
        qkv = self.linear(f"{path}.mixer.qkv", self.layer_norm(f"{path}.norm1", x, 1e-5))
        q, k, v = qkv.reshape([n, t, 3, 8, width // 8]).transpose([2, 0, 3, 1, 4])
        weights = F.softmax(paddle.matmul(q, k.transpose([0, 1, 3, 2])) * (width // 8) ** -0.5)
        mixed = paddle.matmul(weights, v).transpose([0, 2, 1, 3]).reshape([n, t, width])
        x = x + self.linear(f"{path}.mixer.proj", mixed)
        hidden = self.linear(f"{path}.mlp.fc1", self.layer_norm(f"{path}.norm2", x, 1e-5))
        return x + self.linear(f"{path}.mlp.fc2", F.silu(hidden))

    def svtr(self, encoder: str, x: Tensor) -> Tensor:
        z = F.silu(self.conv_norm(f"{encoder}.conv1", x, padding=[0, 1]))
        z = sequence(F.silu(self.conv_norm(f"{encoder}.conv2", z)))
        z = self.transformer(f"{encoder}.svtr_block.0", z)
        z = self.transformer(f"{encoder}.svtr_block.1", z)
        z = self.layer_norm(f"{encoder}.norm", z, 1e-6).transpose([0, 2, 1]).unsqueeze(2)
        z = F.silu(self.conv_norm(f"{encoder}.conv3", z))
        z = paddle.concat([x, z], axis=1)
        z = F.silu(self.conv_norm(f"{encoder}.conv4", z, padding=[0, 1]))
        return sequence(F.silu(self.conv_norm(f"{encoder}.conv1x1", z)))

    def light_svtr(self, encoder: str, x: Tensor) -> Tensor:
        skip = F.silu(self.conv_norm(f"{encoder}.skip_conv", x))
        z = F.silu(self.conv_norm(f"{encoder}.conv_reduce", x))
        local = self.conv(f"{encoder}.local_conv.0", z, padding=[0, 3], groups=z.shape[1])
        z = sequence(z + F.silu(self.bn(f"{encoder}.local_conv.1", local)))
        z = self.transformer(f"{encoder}.svtr_block.0", z)
        z = self.transformer(f"{encoder}.svtr_block.1", z)
        return self.layer_norm(f"{encoder}.norm", z, 1e-6) + sequence(skip)


def enlarge(x: Tensor, factor: int) -> Tensor:
    return x.repeat_interleave(factor, axis=2).repeat_interleave(factor, axis=3)


def sequence(x: Tensor) -> Tensor:
    return x.squeeze(2).transpose([0, 2, 1])


def check_same(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    size = np.abs(expected.numpy()).max()
    assert size > 1e-3  # there is something to see
    assert np.abs(found.numpy() - expected.numpy()).max() <= TOLERANCE * size


@pytest.fixture(autouse=True)
def in_evaluation() -> Iterator[None]:
    paddle.seed(3)
    with paddle.no_grad():
        yield


@pytest.fixture(scope="module")
def rec4(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(v4_rec(), tmp_path_factory.mktemp("rec4"))


@pytest.fixture(scope="module")
def det4(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(v4_det(), tmp_path_factory.mktemp("det4"))


@pytest.fixture(scope="module")
def det6(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(v6_small_det(), tmp_path_factory.mktemp("det6"))


@pytest.fixture(scope="module")
def rec6(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(v6_small_rec(), tmp_path_factory.mktemp("rec6"))


# What is recognised, and where each tensor goes.


def test_family_size_and_classes_follow_from_the_file(
    rec4: Loaded, det4: Loaded, det6: Loaded, rec6: Loaded
) -> None:
    form = "multi_branch"
    v4 = RecModelSpec(family="ppocrv5", size="mobile", classes=CHARS, form=form)
    assert rec4.model.spec == v4
    training = {"form": form, "threshold": True}
    for model, name in ((det4.model, "ppocrv4_mobile_det"), (det6.model, "ppocrv6_small_det")):
        assert model.spec == RELEASES[name].spec.model_copy(update=training)
    assert rec6.model.spec == RecModelSpec(size="small", classes=CHARS, form=form)
    assert rec4.model.charset is not None
    assert rec4.model.charset.classes == CHARS
    assert det4.model.charset is None
    assert not rec4.network.training
    assert rec4.model.started_from == str(rec4.path)
    assert rec4.model.sha256 == sha256_of(rec4.path)
    assert [g.shape[0] for g in rec4.model.golden] == [48] * 4
    assert len(det4.model.golden) == 2


@pytest.mark.parametrize(
    ("which", "ours", "theirs"),
    [
        ("rec4", "backbone.stem.conv.weight", "backbone.conv1.conv.weight"),
        ("rec4", "backbone.stem.norm._mean", "backbone.conv1.bn._mean"),
        (
            "rec4",
            "backbone.stages.0.0.depthwise.conv.wide.3.norm._variance",
            "backbone.blocks2.0.dw_conv.conv_kxk.3.bn._variance",
        ),
        (
            "rec4",
            "backbone.stages.3.4.depthwise.conv.point.conv.weight",
            "backbone.blocks5.4.dw_conv.conv_1x1.conv.weight",
        ),
        (
            "rec4",
            "backbone.stages.1.1.pointwise.conv.shortcut.bias",
            "backbone.blocks3.1.pw_conv.identity.bias",
        ),
        ("rec4", "backbone.stages.4.1.gate.reduce.bias", "backbone.blocks6.1.se.conv1.bias"),
        (
            "rec4",
            "backbone.stages.2.0.depthwise.before.scale",
            "backbone.blocks4.0.dw_conv.lab.scale",
        ),
        (
            "rec4",
            "backbone.stages.2.0.pointwise.after.bias",
            "backbone.blocks4.0.pw_conv.act.lab.bias",
        ),
        ("rec4", "neck.restore.norm.weight", "head.ctc_encoder.encoder.conv3.norm.weight"),
        ("rec4", "neck.norm.bias", "head.ctc_encoder.encoder.norm.bias"),
        (
            "rec4",
            "neck.blocks.1.norm2.weight",
            "head.ctc_encoder.encoder.svtr_block.1.norm2.weight",
        ),
        (
            "rec4",
            "neck.blocks.0.mlp.narrow.bias",
            "head.ctc_encoder.encoder.svtr_block.0.mlp.fc2.bias",
        ),
        ("rec4", "head.weight", "head.ctc_head.fc.weight"),
        ("det4", "backbone.backbone.stem.norm.bias", "backbone.conv1.bn.bias"),
        ("det4", "backbone.projections.2.bias", "backbone.layer_list.2.bias"),
        ("det4", "neck.laterals.1.gate.expand.bias", "neck.ins_conv.1.se_block.conv2.bias"),
        ("det4", "neck.branches.3.conv.weight", "neck.inp_conv.3.in_conv.weight"),
        ("det4", "head.conv.norm._mean", "head.binarize.conv_bn1._mean"),
        ("det4", "threshold.up1.conv.weight", "head.thresh.conv2.weight"),
        ("det4", "threshold.up2.bias", "head.thresh.conv3.bias"),
        ("det6", "backbone.stem.left.conv.weight", "backbone.stem.stem2a.conv.weight"),
        (
            "det6",
            "backbone.stages.2.2.mix_tokens.norm._mean",
            "backbone.blocks_s3.2.token_mixer.rep_dw.bn._mean",
        ),
        (
            "det6",
            "backbone.stages.3.0.mix_tokens.norm._mean",
            "backbone.blocks_s4.0.token_mixer.dw_conv.bn._mean",
        ),
        (
            "det6",
            "backbone.stages.0.1.mix_tokens.point.weight",
            "backbone.blocks_s1.1.token_mixer.rep_dw.conv1.weight",
        ),
        (
            "det6",
            "neck.branches.2.spread.dilated.2.norm.weight",
            "neck.inp_conv_dw.2.dil_bn_k3_3.weight",
        ),
        ("det6", "neck.branches.1.gate.reduce.weight", "neck.inp_conv_se.1.conv1.weight"),
        ("rec6", "backbone.stem.join.norm.weight", "backbone.conv1.stem3.bn.weight"),
        (
            "rec6",
            "backbone.stages.2.6.narrow.conv.weight",
            "backbone.blocks4.6.channel_mixer.compress.conv.weight",
        ),
        ("rec6", "neck.local.norm._mean", "head.ctc_encoder.encoder.local_conv.1._mean"),
        ("rec6", "neck.skip.norm.bias", "head.ctc_encoder.encoder.skip_conv.norm.bias"),
        ("rec6", "head.bias", "head.ctc_head.fc.bias"),
    ],
)
def test_values_stand_where_they_belong(
    which: str, ours: str, theirs: str, request: pytest.FixtureRequest
) -> None:
    loaded = request.getfixturevalue(which)
    assert np.array_equal(loaded.ours[ours], loaded.file[theirs])


LEFT_OUT = {
    "rec4": ("head.before_gtc.", "head.gtc_head."),
    "det4": tuple(f"backbone.blocks{n}.0.dw_conv.act.lab." for n in (3, 4, 5, 6)),
    "det6": ("head.aux_p4.",),
    "rec6": ("head.gtc_head.",),
}


@pytest.mark.parametrize("which", LEFT_OUT)
def test_every_tensor_is_used_once_and_none_stays_fresh(
    which: str, request: pytest.FixtureRequest
) -> None:
    loaded = request.getfixturevalue(which)
    check_complete(loaded, LEFT_OUT[which])


SHIFTED = r"head\.(binarize|thresh)\.(conv2\.bias|conv_bn2\._mean)"


def check_complete(loaded: Loaded, left_out: tuple[str, ...]) -> None:
    shifted = [name for name in loaded.ours if name.endswith(".up1.norm._mean")]
    ours = sorted(
        (array.shape, array.tobytes()) for name, array in loaded.ours.items() if name not in shifted
    )
    theirs = sorted(
        (array.shape, array.tobytes())
        for name, array in loaded.file.items()
        if not name.startswith(left_out) and not re.fullmatch(SHIFTED, name)
    )
    assert ours == theirs
    for name in shifted:
        head = "head.binarize" if name.startswith("head.") else "head.thresh"
        mean, bias = loaded.file[f"{head}.conv_bn2._mean"], loaded.file[f"{head}.conv2.bias"]
        assert np.array_equal(loaded.ours[name], mean - bias)
    fresh = build_network(loaded.model.spec).state_dict()
    for name, array in loaded.ours.items():
        assert not np.array_equal(array, fresh[name].numpy()), name


# The units against the arithmetic of the file's own tensors.


def test_v4_recognizer_blocks(rec4: Loaded) -> None:
    x = paddle.randn([2, 3, 48, 32])
    expected = rec4.conv_bn("backbone.conv1", x, stride=2, padding=1)
    check_same(rec4.network.backbone.stem(x), expected)
    check_v3_blocks(rec4, rec4.network.backbone, V3_REC)


def test_v4_detector_blocks(det4: Loaded) -> None:
    check_v3_blocks(det4, det4.network.backbone.backbone, V3_DET)
    for i, width in enumerate((48, 96, 192, 384)):
        x = paddle.randn([1, width, 3, 3])
        expected = det4.conv(f"backbone.layer_list.{i}", x)
        check_same(det4.network.backbone.projections[i](x), expected)


def check_v3_blocks(
    loaded: Loaded,
    backbone: nn.Layer,
    stages: dict[int, list[tuple[int, int, int | Pair, bool]]],
) -> None:
    channels = 16
    for stage, blocks in stages.items():
        for i, block in enumerate(blocks):
            x = paddle.randn([1, channels, 6, 8])
            expected = loaded.v3_block(f"backbone.blocks{stage}.{i}", x, block)
            check_same(backbone.stages[stage - 2][i](x), expected)
            channels = block[1]


@pytest.mark.parametrize(
    ("which", "stem", "stage", "low"),
    [("det6", "stem", "blocks_s{}", 2), ("rec6", "conv1", "blocks{}", (2, 1))],
)
def test_v6_backbones(
    which: str, stem: str, stage: str, low: int | Pair, request: pytest.FixtureRequest
) -> None:
    loaded = request.getfixturevalue(which)
    x = paddle.randn([2, 3, 16, 24])
    expected = loaded.v6_stem(f"backbone.{stem}", x)
    check_same(loaded.network.backbone.stem(x), expected)
    first = 1 if which == "det6" else 2
    x = paddle.randn([1, 48 if which == "det6" else 96, 6, 8])
    for n, blocks in enumerate(loaded.network.backbone.stages):
        for i, block in enumerate(blocks):
            found = block(x)
            expected = loaded.v6_block(f"backbone.{stage.format(n + first)}.{i}", x, low)
            check_same(found, expected)
            x = paddle.randn([1, found.shape[1], 6, 8])


@pytest.mark.parametrize(("which", "widths"), [("det4", (12, 18, 42, 360)), ("det6", None)])
def test_detector_necks(
    which: str, widths: tuple[int, ...] | None, request: pytest.FixtureRequest
) -> None:
    loaded = request.getfixturevalue(which)
    maps = [
        paddle.randn([1, width, 16 >> i, 24 >> i])
        for i, width in enumerate(widths or (48, 96, 192, 384))
    ]
    branch = loaded.v4_branch if which == "det4" else loaded.v6_branch
    check_same(loaded.network.neck(maps).fused, loaded.pyramid(maps, branch))


@pytest.mark.parametrize("which", ["det4", "det6"])
def test_detector_heads_with_a_bias_before_the_normalisation(
    which: str, request: pytest.FixtureRequest
) -> None:
    loaded = request.getfixturevalue(which)
    x = paddle.randn([2, 96, 6, 5])
    check_same(loaded.network.head(x), loaded.db_head("head.binarize", x))
    check_same(loaded.network.threshold(x), loaded.db_head("head.thresh", x))


def test_recognizer_necks_and_outputs(rec4: Loaded, rec6: Loaded) -> None:
    encoder = "head.ctc_encoder.encoder"
    x = paddle.randn([2, 480, 1, 9])
    check_same(rec4.network.neck(x), rec4.svtr(encoder, x))
    y = paddle.randn([2, 384, 1, 9])
    check_same(rec6.network.neck(y), rec6.light_svtr(encoder, y))
    z = paddle.randn([2, 9, 120])
    for loaded in (rec4, rec6):
        check_same(loaded.network.head(z), loaded.linear("head.ctc_head.fc", z))


# Other checkpoints of the same networks.


@pytest.mark.parametrize(
    ("leaves", "size"),
    [
        (v6_tiny_det, "tiny"),
        pytest.param(v6_medium_det, "medium", marks=pytest.mark.slow),
        pytest.param(v6_medium_rec, "medium", marks=pytest.mark.slow),
    ],
)
def test_other_sizes_of_v6(leaves: Callable[[], Leaves], size: str, tmp_path: Path) -> None:
    loaded = Loaded(leaves(), tmp_path)
    assert (loaded.model.spec.family, loaded.model.spec.size) == ("ppocrv6", size)
    check_complete(loaded, ())
    if leaves is v6_medium_det:
        check_contexts(loaded)


def check_contexts(loaded: Loaded) -> None:
    for i, unit in enumerate(loaded.network.neck.contexts):
        path, x = f"neck.incl{i + 1}", paddle.randn([1, 64, 9, 8])
        z = loaded.conv(f"{path}.conv1x1_reduce_channel", x)
        for k in (7, 5, 3):
            half = k // 2
            z = (
                loaded.conv(f"{path}.c_layer_{k}x{k}", z, padding=half)
                + loaded.conv(f"{path}.v_layer_{k}x1", z, padding=[half, 0])
                + loaded.conv(f"{path}.q_layer_1x{k}", z, padding=[0, half])
            )
        z = loaded.bn(f"{path}.bn", loaded.conv(f"{path}.conv1x1_return_channel", z))
        check_same(unit(x), x + F.relu(z))


def test_a_recognizer_with_one_head(tmp_path: Path) -> None:
    loaded = Loaded(v4_rec(many_heads=False, nrtr=False), tmp_path)
    check_complete(loaded, ())
    assert np.array_equal(
        loaded.ours["neck.mix.norm.bias"], loaded.file["neck.encoder.conv1x1.norm.bias"]
    )
    assert np.array_equal(loaded.ours["head.weight"], loaded.file["head.fc.weight"])


def test_it_is_a_start_like_any_other(rec4: Loaded) -> None:
    kind, place = resolve(str(rec4.path))
    assert kind == "training"
    assert load_trainable(place).spec == rec4.model.spec


def test_a_detector_in_a_v5_folder_without_threshold(tmp_path: Path) -> None:
    path = tmp_path / "PP-OCRv5_mobile_det" / "latest.pdparams"
    save(v4_det(thresh=False), path)
    rules = "Global:\n  model_name: PP-OCRv5_mobile_det\nPostProcess:\n  thresh: 0.25\n"
    (path.parent / "inference.yml").write_text(rules)
    spec = load_training_checkpoint(path).spec
    assert isinstance(spec, DetModelSpec)
    assert (spec.family, spec.threshold, spec.decode.threshold) == ("ppocrv5", False, 0.25)


def test_the_released_dictionary_is_taken_where_there_is_none(
    tmp_path: Path, released_weights: None
) -> None:
    path = tmp_path / "student.pdparams"
    save(v4_rec(6625, nrtr=False), path)
    model = load_training_checkpoint(path)
    assert model.spec.family == "ppocrv4"
    assert model.charset == released_charset("ppocrv4_mobile_rec")


def test_no_dictionary_for_another_number_of_classes(tmp_path: Path) -> None:
    path = tmp_path / "student.pdparams"
    save(v4_rec(nrtr=False), path)
    with pytest.raises(WeightsError, match=r"no dictionary; expected .* 28 lines .*found: none"):
        load_training_checkpoint(path)


def test_of_a_distillation_the_student_is_taken(
    det4: Loaded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "best.pdparams"
    tensors = {f"Student.{name}": array for name, array in det4.file.items()}
    tensors |= {f"Student2.{name}": array + 1 for name, array in det4.file.items()}
    tensors["Teacher.backbone.conv1_1._conv.weight"] = np.ones([4], np.float32)
    save_arrays(tensors, path)
    with caplog.at_level(logging.WARNING):
        network = load_training_checkpoint(path).network
    for name, tensor in network.state_dict().items():
        assert np.array_equal(tensor.numpy(), det4.ours[name]), name
    count = len(det4.file) + 1
    assert f"tensors left out: {count} of the teacher and other students; 8 that PaddleOCR" in (
        caplog.text
    )
    save_arrays(tensors | {"backbone.conv1.conv.weight": np.ones([4], np.float32)}, path)
    with pytest.raises(
        WeightsError, match=r"1 tensors have no place .*: backbone.conv1.conv.weight"
    ):
        load_training_checkpoint(path)


def save_arrays(tensors: Arrays, path: Path) -> None:
    paddle.save({name: paddle.to_tensor(array) for name, array in tensors.items()}, str(path))


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("rec4", r"left out: 5 of the guiding NRTR decoder$"),
        ("det6", r"left out: 13 of auxiliary heads$"),
    ],
)
def test_what_is_left_out_is_said(
    which: str,
    said: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = request.getfixturevalue(which).path
    with caplog.at_level(logging.WARNING):
        load_training_checkpoint(path)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{path} as ")
    assert re.search(said, caplog.messages[0])


# What does not fit.


def load_changed(loaded: Loaded, path: Path, change: Callable[[Arrays], object]) -> TrainableModel:
    tensors = dict(loaded.file)
    change(tensors)
    save_arrays(tensors, path)
    write_dictionary(path.parent)
    return load_training_checkpoint(path)


def test_a_missing_and_an_extra_tensor_are_named_together(rec4: Loaded, tmp_path: Path) -> None:
    def change(tensors: Arrays) -> None:
        del tensors["backbone.blocks5.2.dw_conv.conv_1x1.bn.bias"]
        for n in range(11):
            tensors[f"backbone.blocks7.{n}.weight"] = np.ones([3], np.float32)

    with pytest.raises(WeightsError) as caught:
        load_changed(rec4, tmp_path / "x.pdparams", change)
    text = str(caught.value)
    assert "x.pdparams as ppocrv5_mobile_rec: 1 tensors are missing: " in text
    assert (
        "backbone.blocks5.2.dw_conv.conv_1x1.bn.bias "
        "(backbone.stages.3.2.depthwise.conv.point.norm.bias)" in text
    )
    assert "11 tensors have no place in the network: backbone.blocks7.0.weight, " in text
    assert "blocks7.9.weight, ..." in text
    assert "blocks7.10" not in text
    assert "exported inference model" in text


@pytest.mark.parametrize(
    ("which", "stranger"),
    [
        ("rec4", "head.sar_head.encoder.weight"),
        ("det4", "head.aux_p4.binarize.conv1.weight"),  # only v6 was trained with such heads
        ("det4", "backbone.blocks2.0.pw_conv.act.lab.shift"),
        ("det6", "head.binarize.conv4.weight"),
        ("det6", "head.cbn_layer.last_1.weight"),  # takes part in the prediction
        ("rec6", "neck.encoder.conv1.conv.weight"),
    ],
)
def test_a_tensor_without_a_place_is_refused(
    which: str, stranger: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    loaded = request.getfixturevalue(which)
    with pytest.raises(WeightsError, match=f"1 tensors have no place in the network: {stranger}"):
        load_changed(
            loaded,
            tmp_path / "x.pdparams",
            lambda tensors: tensors.update({stranger: np.ones([3], np.float32)}),
        )


def test_a_part_may_be_fresh_where_it_is_named(
    det4: Loaded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.pdparams"

    def change(tensors: Arrays) -> None:
        del tensors["head.thresh.conv3.weight"], tensors["head.thresh.conv2.bias"]

    with pytest.raises(WeightsError, match=r"2 tensors are missing: .*\(threshold.up2.weight\)"):
        load_changed(det4, path, change)
    with caplog.at_level(logging.WARNING):
        model = load_training_checkpoint(path, may_be_fresh=["threshold."])
    assert "2 tensors are not in the file and start fresh" in caplog.text
    found = {name: tensor.numpy() for name, tensor in model.network.state_dict().items()}
    assert not np.array_equal(found["threshold.up2.weight"], det4.ours["threshold.up2.weight"])
    assert not found["threshold.up1.norm._mean"].any()
    assert np.array_equal(found["threshold.up2.bias"], det4.ours["threshold.up2.bias"])


def test_a_wrong_shape_is_named(det4: Loaded, tmp_path: Path) -> None:
    name = "neck.inp_conv.0.in_conv.weight"
    with pytest.raises(
        WeightsError,
        match=r"neck.branches.0.conv.weight \[24, 96, 1, 1\] instead of \[24, 96, 3, 3\]",
    ):
        load_changed(
            det4,
            tmp_path / "x.pdparams",
            lambda tensors: tensors.update({name: tensors[name][:, :, :1, :1]}),
        )
    bias = "head.binarize.conv2.bias"  # one value would fit every channel
    with pytest.raises(WeightsError, match=rf"misshapen: {bias} \[1\] instead of \[24\]"):
        load_changed(
            det4,
            tmp_path / "x.pdparams",
            lambda tensors: tensors.update({bias: tensors[bias][:1]}),
        )


def test_a_stem_of_no_known_width_is_refused(det6: Loaded, tmp_path: Path) -> None:
    stem = "backbone.stem.stem1.conv.weight"
    path = tmp_path / "x.pdparams"
    with pytest.raises(WeightsError, match=r"has 20 channels; allowed: 16 \(tiny\), 24 \(small\)"):
        load_changed(det6, path, lambda tensors: tensors.update({stem: tensors[stem][:20]}))
    with pytest.raises(WeightsError, match=rf"{stem}, which tells the size, is missing; allowed"):
        load_changed(det6, path, lambda tensors: tensors.pop(stem))


def test_a_recognizer_without_output_is_refused(rec4: Loaded, tmp_path: Path) -> None:
    output, path = "head.ctc_head.fc.weight", tmp_path / "x.pdparams"
    with pytest.raises(WeightsError, match=rf"{output}, whose width is .*, is missing; allowed"):
        load_changed(rec4, path, lambda tensors: tensors.pop(output))
    with pytest.raises(WeightsError, match=r"has shape \[120, 2\]; allowed: .* 3 columns or more"):
        load_changed(rec4, path, lambda tensors: tensors.update({output: tensors[output][:, :2]}))


def test_the_tiny_recognizer_says_what_to_give_instead(tmp_path: Path) -> None:
    save(v6_tiny_rec(), tmp_path / "x.pdparams")
    with pytest.raises(
        WeightsError, match=r"PP-OCRv6 tiny recognizer, .*names are not known here; export it"
    ):
        load_training_checkpoint(tmp_path / "x.pdparams")


def test_the_state_of_an_optimizer_is_refused(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    adam = paddle.optimizer.Adam(parameters=layer.parameters())
    with paddle.enable_grad():
        layer(paddle.ones([1, 3])).sum().backward()
    adam.step()
    states = {n: t for n, t in adam.state_dict().items() if isinstance(t, Tensor)}
    paddle.save(states, str(tmp_path / "best.pdopt"))
    with pytest.raises(
        WeightsError, match=r"linear_\d+.w_0_moment1_0.*of no known network.*\.pdparams file beside"
    ):
        load_training_checkpoint(tmp_path / "best.pdopt")


def test_another_network_is_refused_with_what_is_known(tmp_path: Path) -> None:
    save(conv_bn("backbone.stages.0.conv1", 3, 4, 3), tmp_path / "x.pdparams")
    with pytest.raises(
        WeightsError,
        match=r"5 tensors \(backbone.stages.0.conv1.conv.weight, .*of no known network; allowed: "
        r"PP-OCRv4 and PP-OCRv5 mobile .*not trained here",
    ):
        load_training_checkpoint(tmp_path / "x.pdparams")


def test_a_truncated_file_is_refused(det4: Loaded, tmp_path: Path) -> None:
    path = tmp_path / "x.pdparams"
    path.write_bytes(det4.path.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="damaged or half-downloaded"):
        load_training_checkpoint(path)
