"""One training sample of a detector: the changed page and its targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.det_augment import DBTargetConfig, DetAugmentConfig
from ocr_pipeline.config.image import DetImageSpec
from ocr_pipeline.ops.db_targets import MAPS, DBTargets, db_targets
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.det_augment import RegionLike, augment_page
from ocr_pipeline.ops.resize import normalise_page


@dataclass(frozen=True)
class DetItem:
    """One training sample.

    Attributes:
        image: ``[3, S, S]`` float32, normalised as ``DetImageSpec`` says.
        targets: its maps, ``[4, S, S]`` float32 in ``targets.maps``.
    """

    image: NDArray[np.float32]
    targets: DBTargets


def det_training_item(
    image: BGRImage,
    regions: Sequence[RegionLike],
    *,
    augment: DetAugmentConfig,
    targets: DBTargetConfig,
    spec: DetImageSpec,
    shrink_ratio: float,
    random: np.random.Generator,
    donors: Sequence[BGRImage] = (),
    out: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> DetItem:
    """Change a page, normalise it, and draw its targets.

    Args:
        image: ``[H, W, 3]`` uint8 BGR; left as it is.
        regions: its regions; outlines in px of ``image``.
        augment: changes, and the size S of the input.
        targets: limits and levels of the maps.
        spec: input rule of the network.
        shrink_ratio: see ``ops.db_targets.shrink_ratio_at``.
        random: all chance comes from here.
        donors: texts of another page, see ``ops.det_copy_paste.cut_donors``.
        out: ``[3, S, S]`` and ``[4, S, S]`` float32 to write into, e.g. rows of a batch; None: new.

    Raises:
        ValueError: ``out`` of another size or type.
    """
    side = augment.size
    pixels, maps = out or (
        np.empty((3, side, side), dtype=np.float32),
        np.empty((MAPS, side, side), dtype=np.float32),
    )
    page = augment_page(image, regions, augment, random, donors)
    normalise_page(page.image, spec, out=pixels)
    drawn = db_targets(page.points, page.ignore, (side, side), targets, shrink_ratio, out=maps)
    return DetItem(pixels, drawn)
