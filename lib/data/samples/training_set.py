"""Training samples: sample = f(seed, epoch, index), whatever the number of workers and ranks."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.config.schema import Crop, Data
from lib.data.crop import CropWindow
from lib.data.crop_cache.cache import CropDataset
from lib.data.images.jpeg import warn_if_slow
from lib.data.samples.augment import flip_crop_box, jitter_box
from lib.data.samples.clips import Clip, View, open_clip
from lib.data.samples.mixture import MixedSource, MixtureSet

MIN_TARGET_SIDE = 1.0  # px in the crop; a smaller target cannot be learned from


class Sample(NamedTuple):
    """Three crops and the target in the last; arrays for one sample, tensors for a batch.

    The crops are of one video, unless the sample is a negative: then the target is not in the search region.

    Attributes:
        template: (T, T, 3) uint8 RGB; batched (B, 3, T, T).
        online_template: as `template`.
        search: (S, S, 3) uint8 RGB; batched (B, 3, S, S).
        search_crop_box_xyxy: (4,) float32 corners in fractions of the search crop, 0 in a negative; batched (B, 4).
        present: () bool, False in a negative; batched (B,).
    """

    template: np.ndarray
    online_template: np.ndarray
    search: np.ndarray
    search_crop_box_xyxy: np.ndarray
    present: np.ndarray


class Batch(NamedTuple):
    """`Sample`s stacked, channels before height and width."""

    template: Tensor
    online_template: Tensor
    search: Tensor
    search_crop_box_xyxy: Tensor
    present: Tensor

    @property
    def num_samples(self) -> int:
        """B."""
        return len(self.template)

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device without waiting for it."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


class TrainingSet(MixtureSet[Sample]):
    """Samples with boxes."""

    def __init__(self, sources: Iterable[MixedSource], data: Data, crop: Crop, seed: int) -> None:
        super().__init__(sources, data, seed)
        for source in self.sources:
            if isinstance(source.dataset, CropDataset):
                source.dataset.require(data, crop)
        self._data = data
        self._crop = crop
        warn_if_slow()

    def __getitem__(self, index: int) -> Sample:
        """Draw sample `sample_id(epoch, index)`."""
        rng, difficulty = self.begin(index)
        # Decided once, not per draw: negatives that are hard to find must not become fewer.
        negative = self._data.negatives > 0 and rng.random() < self._data.negatives
        wanted = "an absent target, or too few videos" if negative else "a visible target"
        return self.redraw(index, rng, lambda source: self._draw(rng, source, difficulty, negative), wanted)

    @staticmethod
    def collate(samples: list[Sample]) -> Batch:
        """Stack samples; the crops stay uint8 and are viewed with channels first."""
        stacked = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*samples, strict=True))
        return Batch(*(arrays.permute(0, 3, 1, 2) if arrays.ndim == 4 else arrays for arrays in stacked))

    def _draw(self, rng: np.random.Generator, source: MixedSource, difficulty: float, negative: bool) -> Sample | None:
        """Draw once; None when the draw is not usable."""
        index = int(rng.integers(len(source.dataset)))
        clip = open_clip(source.dataset, index, difficulty)
        views = clip.draw_views(rng, self._data)
        if views is None:
            return None
        if negative:
            stranger = self._draw_negative(rng, source, index, clip, difficulty)
            if stranger is None:
                return None
            views = [*views[:2], stranger]
        crops = []
        search_crop_box_xyxy = np.empty(4)
        for view, is_search in zip(views, (False, False, True), strict=True):
            window = self._draw_window(view.box_xywh, rng, is_search)
            if is_search:
                search_crop_box_xyxy = window.to_crop(view.box_xywh)
                left, top, right, bottom = search_crop_box_xyxy.tolist()
                if min(right - left, bottom - top) * window.size < MIN_TARGET_SIDE:
                    return None
                # The jitter may push a part of the target out of the crop, never its centre.
                if not (0 < (left + right) / 2 < 1 and 0 < (top + bottom) / 2 < 1):
                    return None
            crop = view.frames.read_crop(view.frame, window)
            if crop is None:
                return None
            crops.append(crop)
        (template, online_template, search), flipped = self.augment(crops, rng)
        if negative:
            search_crop_box_xyxy = np.zeros(4)
        elif flipped:
            search_crop_box_xyxy = flip_crop_box(search_crop_box_xyxy)
        box = search_crop_box_xyxy.astype(np.float32)
        return Sample(template, online_template, search, box, np.array(not negative))

    def _draw_negative(
        self, rng: np.random.Generator, source: MixedSource, index: int, clip: Clip, difficulty: float
    ) -> View | None:
        """Draw a search frame without the target: of its own video where that has one, or of another, even chances."""
        if rng.random() < 0.5 and (absent := clip.draw_absent(rng)) is not None:
            return absent
        other_source = self.draw_source(rng)
        other = int(rng.integers(len(other_source.dataset)))
        if other_source is source and other == index:
            return None
        return open_clip(other_source.dataset, other, difficulty).draw_view(rng)

    def _draw_window(self, box_xywh: np.ndarray, rng: np.random.Generator, is_search: bool) -> CropWindow:
        data, crop = self._data, self._crop
        if is_search:
            jittered = jitter_box(box_xywh, rng, data.search_center_jitter, data.search_scale_jitter)
            return CropWindow.around(jittered, crop.search_factor, crop.search_size)
        jittered = jitter_box(box_xywh, rng, data.template_center_jitter, data.template_scale_jitter)
        return CropWindow.around(jittered, crop.template_factor, crop.template_size)
