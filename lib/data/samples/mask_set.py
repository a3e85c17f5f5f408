"""Training samples with masks: sample = f(seed, epoch, index), whatever the number of workers and ranks."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.config.refine_schema import RefineCrop, RefineData
from lib.data.crop import StretchedWindow
from lib.data.crop_cache.cache import CropDataset
from lib.data.samples.augment import flip_crop_box, jitter_box
from lib.data.samples.mixture import MixedSource, MixtureSet
from lib.data.sequence import SequenceDataset
from lib.data.synthetic.record import SceneDataset

MIN_MASK_PIXELS = 16  # in the search crop; a smaller target cannot be learned from


class MaskSample(NamedTuple):
    """Two crops of one video and the target's mask in the second; arrays for one sample, tensors for a batch.

    Attributes:
        reference: (S, S, 3) uint8 RGB; batched (B, 3, S, S).
        reference_crop_box_xyxy: (4,) float32 corners in fractions of the reference crop; batched (B, 4).
        search: as `reference`.
        mask: (S, S) bool, True on the target's seen pixels in the search crop; batched (B, S, S).
    """

    reference: np.ndarray
    reference_crop_box_xyxy: np.ndarray
    search: np.ndarray
    mask: np.ndarray


class MaskBatch(NamedTuple):
    """`MaskSample`s stacked, channels before height and width."""

    reference: Tensor
    reference_crop_box_xyxy: Tensor
    search: Tensor
    mask: Tensor

    @property
    def num_samples(self) -> int:
        """B."""
        return len(self.search)

    def to(self, device: torch.device) -> "MaskBatch":
        """Copy to a device without waiting for it."""
        return MaskBatch(*(tensor.to(device, non_blocking=True) for tensor in self))


class MaskedView(NamedTuple):
    """One whole frame with the target's box and mask."""

    image: np.ndarray
    box_xywh: np.ndarray
    mask: np.ndarray


class MaskSet(MixtureSet[MaskSample]):
    """Samples with masks, of drawn scenes and videos with `masks`; videos without are passed over."""

    keeps_source = False

    def __init__(self, sources: Iterable[MixedSource], data: RefineData, crop: RefineCrop, seed: int) -> None:
        super().__init__(sources, data, seed)
        for source in self.sources:
            if isinstance(source.dataset, CropDataset):
                raise ValueError("a data set packed as crops has no masks: name the original in data.sources")
            if not isinstance(source.dataset, SceneDataset) and source.dataset.images_only:
                first = source.dataset[0]
                if first.masks is not None:
                    first.masks[0]  # An index of masks is made now, once, and not by every loader process.
        self._data = data
        self._crop = crop

    def __getitem__(self, index: int) -> MaskSample:
        """Draw sample `sample_id(epoch, index)`."""
        rng, difficulty = self.begin(index)
        wanted = "a visible target and a mask (<sequence>/mask/*.png in own data)"
        return self.redraw(index, rng, lambda source: self._draw(rng, source, difficulty), wanted)

    def collate(self, samples: list[MaskSample]) -> MaskBatch:
        """Stack samples; the crops stay uint8 and are viewed with channels first."""
        reference, boxes, search, mask = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*samples, strict=True))
        return MaskBatch(reference.permute(0, 3, 1, 2), boxes, search.permute(0, 3, 1, 2), mask)

    def _draw(self, rng: np.random.Generator, source: MixedSource, difficulty: float) -> MaskSample | None:
        """Draw once; None when the draw is not usable."""
        views = draw_masked_views(source.dataset, rng, self._data.max_gap, difficulty)
        if views is None:
            return None
        first, second = views
        reference_window = StretchedWindow.around(first.box_xywh, self._crop.factor, self._crop.size)
        jittered_xywh = jitter_box(second.box_xywh, rng, self._data.center_jitter, self._data.scale_jitter)
        search_window = StretchedWindow.around(jittered_xywh, self._crop.factor, self._crop.size)
        mask = search_window.cut_mask(second.mask)
        if mask.sum() < MIN_MASK_PIXELS:
            return None
        crops = [reference_window.cut(first.image), search_window.cut(second.image)]
        (reference, search), flipped = self.augment(crops, rng)
        box = reference_window.to_crop(first.box_xywh)
        if flipped:
            box, mask = flip_crop_box(box), mask[:, ::-1]
        return MaskSample(reference, box.astype(np.float32), search, np.ascontiguousarray(mask))


def draw_masked_views(
    dataset: SequenceDataset, rng: np.random.Generator, max_gap: int, difficulty: float
) -> tuple[MaskedView, MaskedView] | None:
    """Draw reference and search frame of one video, both with a visible target and a mask.

    Args:
        max_gap: frames between the two at most. A photograph serves as both.
        difficulty: of drawn videos, in [0, 1].

    Returns:
        The two, or None when the draw found none; the caller draws again, a bounded number of times.

    Raises:
        UnreadableFrameError: a frame or mask cannot be read.
    """
    index = int(rng.integers(len(dataset)))
    if isinstance(dataset, SceneDataset):
        scene = dataset.scene(index, difficulty=difficulty)
        pair = _draw_pair(np.arange(scene.num_frames), rng, max_gap)
        frames = [scene.render(frame) for frame in pair or ()]
        if not frames or not all(frame.label.visible for frame in frames):
            return None
        first, second = (MaskedView(frame.image, frame.label.box_xywh, frame.label.mask) for frame in frames)
        return first, second
    sequence = dataset[index]
    if sequence.masks is None:
        return None
    visible = np.flatnonzero(sequence.visible)
    pair = (0, 0) if dataset.images_only and len(visible) else _draw_pair(visible, rng, max_gap)
    if pair is None:
        return None
    first, second = (
        MaskedView(sequence.frames.read(frame), sequence.boxes_xywh[frame], sequence.masks.read(frame))
        for frame in pair
    )
    return first, second


def _draw_pair(candidates: np.ndarray, rng: np.random.Generator, max_gap: int) -> tuple[int, int] | None:
    """Draw two different frames of those given, at most `max_gap` apart; None when the first has no such other."""
    if len(candidates) < 2:
        return None
    first = int(rng.choice(candidates))
    near = candidates[(np.abs(candidates - first) <= max_gap) & (candidates != first)]
    return (first, int(rng.choice(near))) if len(near) else None
