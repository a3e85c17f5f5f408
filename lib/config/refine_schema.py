"""Every knob of an Alpha-Refine experiment (`kind: refine`); read by the same strict loader as a tracker's.

"published" is the recipe of the weights that entered VOT2020 (`ARcm_seg`; Yan et al. 2021).
"""

from dataclasses import dataclass
from typing import Literal

from lib.config.schema import Optimization, Source, knob


@dataclass(frozen=True, kw_only=True)
class RefineCrop:
    """Geometry of the two crops, reference and search, shared by training and tracking."""

    size: int = knob("side of both crops, px, a multiple of 32; published: 384", low=64, high=2048)
    factor: float = knob("crop side / box side, in width and height each; published: 2", low=1)


@dataclass(frozen=True, kw_only=True)
class RefineEncoder:
    """The ResNet."""

    name: Literal["resnet18", "resnet34", "resnet50"] = knob("the ResNet; published: resnet50")
    pretrained: str | None = knob("weights to start from: a file of torchvision, hub:NAME for timm's hub, or null; "
                                  "published: ImageNet", free=True)  # fmt: skip
    channels: tuple[int, ...] | None = knob("widths of the four stages instead of the named ResNet's, for models "
                                            "without pre-training", low=8, high=8192, default=None)  # fmt: skip
    layers: tuple[int, ...] | None = knob("blocks of the four stages instead of the named ResNet's", low=1, high=256,
                                          default=None)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RefineDecoder:
    """The mask decoder."""

    channels: int = knob("width of the mask decoder; published: 64", low=8, high=8192)


@dataclass(frozen=True, kw_only=True)
class RefineModel:
    """The network."""

    encoder: RefineEncoder
    decoder: RefineDecoder


@dataclass(frozen=True, kw_only=True)
class RefineData:
    """Which samples are drawn, and how they are augmented; a sample is two frames and the target's mask in one."""

    sources: tuple[Source, ...] = knob("training data sets, with masks; published: YouTube-VOS, a saliency set, COCO "
                                       "and GOT-10k with masks, 1:1:1:1")  # fmt: skip
    validation: tuple[Source, ...] = knob("data sets of the validation samples; may be empty")
    samples_per_epoch: int = knob("training samples per epoch; published: 512000", low=1)
    validation_samples: int = knob("samples of one validation", low=0)
    max_gap: int = knob("frames between reference and search at most; published: 50", low=1)
    center_jitter: float = knob("centre jitter of the search box, in sqrt(area); published: 0.25", low=0)
    scale_jitter: float = knob("log-normal scale jitter of the search box; published: 0.25", low=0)
    flip_probability: float = knob("horizontal flip, joint over both crops; published: none", low=0, high=1)
    brightness: float = knob("factor drawn from U(1 - b, 1 + b) per image; published: 0.2", low=0, high=1)
    grayscale_probability: float = knob("grey version of both crops; published: 0.05 with boxes", low=0, high=1)
    curriculum_epochs: float = knob("epochs in which the synthetic data grow to full difficulty", low=0, default=0.0)
    max_redraws: int = knob("draws of one sample before giving up with an error", low=1, default=50)
    on_bad_frame: Literal["raise", "skip"] = knob("unreadable: stop, or redraw and count", default="raise", free=True)
    workers: int = knob("loader processes per training process; 0: it loads by itself", low=0, default=4, free=True)


@dataclass(frozen=True, kw_only=True)
class RefineLoss:
    """Weights of the loss terms."""

    cross_entropy: float = knob("weight of the binary cross-entropy of pixels; published: 1", low=0)
    iou: float = knob("weight of 1 - soft IoU of the mask, for it is IoU that is measured; published: 0", low=0)


@dataclass(frozen=True, kw_only=True)
class RefineTrain(Optimization):
    """Optimisation of the mask network."""

    loss: RefineLoss


@dataclass(frozen=True, kw_only=True)
class RefineTrack:
    """Behaviour at test time."""

    threshold: float = knob("least probability of a mask's pixel; published: 0.65 at VOT2020", low=0, high=1, free=True)


@dataclass(frozen=True, kw_only=True)
class RefineExperiment:
    """One experiment file of `kind: refine`, complete and checked. `name` is the file's stem."""

    name: str
    kind: Literal["refine"] = knob("what is trained: refine is Alpha-Refine's mask network; a tracker's experiment has "
                                   "no kind")  # fmt: skip
    crop: RefineCrop
    model: RefineModel
    data: RefineData
    train: RefineTrain
    track: RefineTrack
