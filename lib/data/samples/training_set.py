"""Training samples: sample = f(seed, epoch, index), whatever the number of workers and ranks."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lib.config.schema import Crop, Data
from lib.data.crop import CropWindow
from lib.data.crop_cache.cache import CropDataset
from lib.data.images.jpeg import warn_if_slow
from lib.data.samples.augment import flip_crop, flip_crop_box, jitter_box, scale_brightness, to_grayscale
from lib.data.samples.clips import Clip, View, open_clip
from lib.data.samples.mixture import SHARD, MixedSource, Mixture, SkippedFrames
from lib.data.sequence import UnreadableFrameError

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


class TrainingSet(Dataset[Sample]):
    """Random access to samples of a mixture of data sets.

    Index with `sample_id(epoch, index)`; two calls with the same id return the same sample, in any process.
    """

    def __init__(self, sources: Iterable[MixedSource], data: Data, crop: Crop, seed: int) -> None:
        self._mixture = Mixture(sources)
        for source in self._mixture.sources:
            if isinstance(source.dataset, CropDataset):
                source.dataset.require(data, crop)
        self._data = data
        self._crop = crop
        self._seed = seed
        self._skipped = SkippedFrames()
        warn_if_slow()

    @property
    def num_skipped(self) -> int:
        """How many draws met an unreadable frame and were drawn again, in all processes together."""
        return self._skipped.count

    def __getitem__(self, index: int) -> Sample:
        """Draw sample `sample_id(epoch, index)`."""
        epoch, index_in_epoch = divmod(index, SHARD)
        rng = np.random.default_rng((self._seed, epoch, index_in_epoch))
        # Decided once, not per draw: negatives that are hard to find must not become fewer.
        negative = self._data.negatives > 0 and rng.random() < self._data.negatives
        source = None
        for _ in range(self._data.max_redraws):
            # Kept from the first draw: a source of which many draws are not usable still has its share.
            drawn = self._mixture.draw(rng)
            source = source or drawn
            try:
                sample = self._draw(rng, source, epoch + index_in_epoch / self._data.samples_per_epoch, negative)
            except UnreadableFrameError as error:
                self._skip(error)
            else:
                if sample is not None:
                    return sample
        kind = "an absent target, or too few videos" if negative else "a visible target"
        raise ValueError(
            f"no usable training sample after {self._data.max_redraws} draws (epoch {epoch}, index {index_in_epoch}): "
            f"the data sets hold too few frames with {kind}; see data.sources and data.max_redraws"
        )

    def collate(self, samples: list[Sample]) -> Batch:
        """Stack samples."""
        return collate(samples)

    def _draw(self, rng: np.random.Generator, source: MixedSource, progress: float, negative: bool) -> Sample | None:
        """Draw once; None when the draw is not usable. `progress` counts epochs, fractions included."""
        index = int(rng.integers(len(source.dataset)))
        clip = self._open_clip(source, index, progress)
        views = clip.draw_views(rng, self._data)
        if views is None:
            return None
        if negative:
            stranger = self._draw_negative(rng, source, index, clip, progress)
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
        sample = self._augment(crops, search_crop_box_xyxy, rng)
        if negative:
            return sample._replace(search_crop_box_xyxy=np.zeros(4, np.float32), present=np.array(False))
        return sample

    def _open_clip(self, source: MixedSource, index: int, progress: float) -> Clip:
        ramp = self._data.curriculum_epochs
        return open_clip(source.dataset, index, min(1.0, progress / ramp) if ramp > 0 else 1.0)

    def _draw_negative(
        self, rng: np.random.Generator, source: MixedSource, index: int, clip: Clip, progress: float
    ) -> View | None:
        """Draw a search frame without the target: of its own video where that has one, or of another, even chances."""
        if rng.random() < 0.5 and (absent := clip.draw_absent(rng)) is not None:
            return absent
        other_source = self._mixture.draw(rng)
        other = int(rng.integers(len(other_source.dataset)))
        if other_source is source and other == index:
            return None
        return self._open_clip(other_source, other, progress).draw_view(rng)

    def _skip(self, error: UnreadableFrameError) -> None:
        """Stop at what cannot be read, or count it, as the experiment wants."""
        if self._data.on_bad_frame == "raise":
            raise error
        self._skipped.add(str(error))

    def _draw_window(self, box_xywh: np.ndarray, rng: np.random.Generator, is_search: bool) -> CropWindow:
        data, crop = self._data, self._crop
        if is_search:
            jittered = jitter_box(box_xywh, rng, data.search_center_jitter, data.search_scale_jitter)
            return CropWindow.around(jittered, crop.search_factor, crop.search_size)
        jittered = jitter_box(box_xywh, rng, data.template_center_jitter, data.template_scale_jitter)
        return CropWindow.around(jittered, crop.template_factor, crop.template_size)

    def _augment(self, crops: list[np.ndarray], box: np.ndarray, rng: np.random.Generator) -> Sample:
        """Flip and grey jointly (an own flip would mirror one frame against the other), brighten each by itself."""
        if rng.random() < self._data.flip_probability:
            crops, box = [flip_crop(crop) for crop in crops], flip_crop_box(box)
        if rng.random() < self._data.grayscale_probability:
            crops = [to_grayscale(crop) for crop in crops]
        if self._data.brightness > 0:
            factors = rng.uniform(1 - self._data.brightness, 1 + self._data.brightness, size=len(crops))
            crops = [scale_brightness(crop, float(factor)) for crop, factor in zip(crops, factors, strict=True)]
        template, online_template, search = crops
        return Sample(template, online_template, search, box.astype(np.float32), np.array(True))


def collate(samples: list[Sample]) -> Batch:
    """Stack samples; the crops stay uint8 and are viewed with channels first."""
    template, online_template, search, boxes, present = (np.stack(arrays) for arrays in zip(*samples, strict=True))
    return Batch(
        _crops(template), _crops(online_template), _crops(search), torch.from_numpy(boxes), torch.from_numpy(present)
    )


def _crops(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)
