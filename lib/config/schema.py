"""Every knob of an experiment, with its unit and source; `load` fills these from YAML.

A knob whose value the paper or the field fixes has no default here: the YAML file states the recipe in full. Defaults
are left to what does not change results (how often to log) and to options that the paper does not use (off).
"""

from dataclasses import MISSING, dataclass, field
from typing import Any, Literal


def knob(
    about: str, *, low: float | None = None, high: float | None = None, default: Any = MISSING, free: bool = False
) -> Any:
    """Declare one knob: what it is, its closed range, and a default only where the module docstring allows one.

    A free one changes nothing that is computed from given weights: a run may be continued, and weights be used, with
    another value of it. What two knobs must have in common is in `lib.config.consistency`.
    """
    metadata = {"about": about, "low": low, "high": high, "free": free}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Geometry of the two kinds of crop, shared by training, the model and tracking."""

    template_size: int = knob("side of both templates, px; paper III-A: 128", low=16, high=2048)
    template_factor: float = knob("template crop side / sqrt(target area); family: 2", low=1)
    search_size: int = knob("side of the search region, px; paper III-A: 256", low=16, high=2048)
    search_factor: float = knob("search crop side / sqrt(target area); family: 4", low=1)


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """The joint encoder: a plain ViT of timm."""

    name: str = knob("a plain ViT of timm; paper: vit_base_patch16_224")
    pretrained: str | None = knob("weights to start from: a file such as pretrained_models/mae_pretrain_vit_base.pth, "
                                  "hub:NAME for timm's hub, or null; paper: MAE", free=True)  # fmt: skip
    drop_path: float = knob("stochastic depth of the last block, growing linearly; family: 0.1", low=0, high=0.9)
    position: Literal["learned", "sincos", "sincos_mae"] = knob("position embedding; learned tables start from the "
                                                                "pre-trained one; sincos_mae: a fixed one in the order "
                                                                "of channels of MAE's weights")  # fmt: skip
    token_type: bool = knob("add a learned embedding per image kind; paper: no")
    dim: int | None = knob("width instead of the named ViT's, for models without pre-training", low=8, high=8192,
                           default=None)  # fmt: skip
    depth: int | None = knob("number of blocks instead of the named ViT's", low=1, high=256, default=None)
    num_heads: int | None = knob("attention heads instead of the named ViT's", low=1, default=None)
    patch_size: int | None = knob("patch side in px instead of the named ViT's", low=1, default=None)
    stem: str | None = knob("a CNN of timm whose first stages make the tokens, such as tf_efficientnet_lite0; "
                            "`pretrained` is then its file, or that of a tracker with such a stem. Not in the paper",
                            default=None)  # fmt: skip
    stem_strides: tuple[int, ...] = knob("strides of the stem's feature maps that make tokens, px; the largest is the "
                                         "patch side", low=1, default=(16,))  # fmt: skip
    eliminate_at: tuple[int, ...] = knob("blocks, from 0, behind which search tokens that the target's does not attend "
                                         "to are dropped, outside training; OSTrack: 3, 6, 9", low=0,
                                         default=())  # fmt: skip
    keep_ratio: float = knob("share of search tokens that each of eliminate_at keeps; OSTrack: 0.7", low=0.01, high=1,
                             default=0.7)  # fmt: skip
    checkpoint_activations: bool = knob("recompute in the backward pass, to save memory", default=False, free=True)


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """The masked mutual guidance decoders, training only. All three switches off: not built."""

    self_decoder: bool = knob("rebuild each masked frame from itself (coarse); Table IV")
    online_to_search: bool = knob("guide the search frame by the online template (fine); Table IV. Without an online "
                                  "template: by the template alone")  # fmt: skip
    search_to_online: bool = knob("guide the online template by the search frame (fine); Table IV")
    dim: int = knob("decoder width; CTTrack, MAE: 512", low=8, high=8192)
    self_depth: int = knob("blocks of the self-decoder; paper: 8", low=1, high=256)
    guided_depth: int = knob("blocks of the guided decoder; paper: 8", low=1, high=256)
    num_heads: int = knob("attention heads; CTTrack, MAE: 16", low=1)
    mlp_ratio: float = knob("hidden width / width of the feed-forward layers; MAE: 4", low=0.25, high=64)
    mask_ratio: float = knob("share of tokens replaced by the mask token; paper: 0.75, Table V", low=0, high=0.99)
    guided_self_attention: bool = knob("self-attention inside guided blocks; Eq. 4 shows none")
    share_directions: bool = knob("one guided decoder for both directions; paper: one function f_g")
    normalize_target: bool = knob("rebuild per-patch normalised pixels as MAE does; paper: the original image")

    @property
    def active(self) -> bool:
        """True when any part of the decoder is switched on."""
        return self.self_decoder or self.online_to_search or self.search_to_online


@dataclass(frozen=True, kw_only=True)
class Head:
    """What finds the box in the search tokens."""

    kind: Literal["corner", "center"] = knob("two maps of corners, as in the paper; or OSTrack's maps of centre, size "
                                             "and offset, under a Hann window in tracking",
                                             default="corner")  # fmt: skip
    channels: int = knob("channels of the first convolution; family: 384, OSTrack: 256", low=8, high=8192)


@dataclass(frozen=True, kw_only=True)
class Score:
    """The score module beside the encoder; its training is the second stage."""

    enabled: bool = knob("build the score module; paper: yes")
    kind: Literal["region", "box"] = knob("what is rated: the search region, as in the paper, or the predicted box",
                                          default="region")  # fmt: skip
    depth: int = knob("of region: ViT blocks over cls, template and search tokens; 2", low=1, high=256)


@dataclass(frozen=True, kw_only=True)
class Model:
    """The networks."""

    online_template: bool = knob("a third input, the online template; paper: yes. False gives a two-image tracker")
    encoder: Encoder
    decoder: Decoder
    head: Head
    score: Score


@dataclass(frozen=True, kw_only=True)
class Source:
    """One data set among those a sampler draws from."""

    dataset: str = knob("a name of lib.data.datasets.DATASETS")
    split: str = knob("a split of that data set")
    ratio: float = knob("share of samples, relative to the other sources'", low=0)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which samples are drawn, and how they are augmented."""

    sources: tuple[Source, ...] = knob("training data sets; paper: COCO, LaSOT, GOT-10k, TrackingNet, 1:1:1:1")
    validation: tuple[Source, ...] = knob("data sets of the validation samples; may be empty")
    samples_per_epoch: int = knob("training samples per epoch; paper: 60000", low=1)
    validation_samples: int = knob("samples of one validation", low=0)
    sampler: Literal["trident", "ordered", "causal"] = knob("how the three frames are drawn; family: trident")
    max_gap: int = knob("frames between online template and search at most; family: 200", low=1)
    template_center_jitter: float = knob("centre jitter of both template crops, in sqrt(area); family: 0", low=0)
    template_scale_jitter: float = knob("log-normal scale jitter of both template crops; family: 0", low=0)
    search_center_jitter: float = knob("centre jitter of the search crop, in sqrt(area); family: 3", low=0)
    search_scale_jitter: float = knob("log-normal scale jitter of the search crop; family: 0.25", low=0)
    flip_probability: float = knob("horizontal flip, joint over the three crops; paper: flip", low=0, high=1)
    brightness: float = knob("factor drawn from U(1 - b, 1 + b) per image; paper: jitter, 0.2", low=0, high=1)
    grayscale_probability: float = knob("grey version of all three crops; family: 0.05", low=0, high=1)
    curriculum_epochs: float = knob("epochs in which the synthetic data grow to full difficulty", low=0, default=0.0)
    negatives: float = knob("share of samples whose search region does not show the target; the second stage's, 0.5",
                            low=0, high=1, default=0.0)  # fmt: skip
    max_redraws: int = knob("draws of one sample before giving up with an error", low=1, default=50)
    on_bad_frame: Literal["raise", "skip"] = knob("unreadable: stop, or redraw and count", default="raise", free=True)
    workers: int = knob("loader processes per training process; 0: it loads by itself", low=0, default=4, free=True)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Weights of the loss terms, Eq. (5)."""

    reconstruction: float = knob("weight of the masked reconstruction; paper: 1", low=0)
    l1: float = knob("weight of L1 over corners in fractions of the crop; paper: 5", low=0)
    complete_iou: float = knob("weight of CIoU; paper: 5", low=0)
    focal: float = knob("weight of the focal loss of a centre head's scores; OSTrack: 1", low=0, default=1.0)


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """Optimisation of any network."""

    epochs: int = knob("epochs; paper: 500", low=1)
    batch_size: int = knob("samples per process and step; paper: 20 on each of 4 GPUs", low=1, high=2**20)
    total_batch: int = knob("samples per step, all processes together, that lr was set for; paper: 80", low=1)
    lr: float = knob("learning rate of everything but the encoder; paper: 1e-4", low=0)
    encoder_lr: float = knob("learning rate of the encoder; paper: 1e-5", low=0)
    stem_lr: float = knob("learning rate of the encoder's stem; 0: it stays as it is", low=0, default=0.0)
    weight_decay: float = knob("AdamW's; paper: 1e-4", low=0)
    schedule: Literal["step", "cosine"] = knob("step: times drop_factor at drop_epoch; cosine: to zero. Paper: step")
    drop_epoch: int = knob("epoch at which a step schedule drops; paper: 400", low=0)
    drop_factor: float = knob("what a step schedule multiplies by; paper: 0.1", low=0, high=1)
    warmup_epochs: float = knob("epochs of linear warm-up; paper: none", low=0, default=0.0)
    clip_norm: float = knob("largest gradient norm; family: 0.1", low=1e-6)
    precision: Literal["fp32", "bf16", "fp16", "auto"] = knob("auto: bf16 where the device has matrix units for it, "
                                                              "else fp32; fp16: with a gradient scaler")  # fmt: skip
    accumulate_to: int | None = knob("samples per step, reached by several passes of batch_size; null: one pass. Not "
                                     "in the paper", low=1, default=None, free=True)  # fmt: skip
    scale_lr: bool = knob("multiply both learning rates by samples per step / total_batch", default=False)
    ema_decay: float = knob("keep a running average of the weights, which validation and tests then use; 0: none. "
                            "Not in the paper", low=0, high=0.99999, default=0.0)  # fmt: skip
    compile: bool = knob("compile the blocks by torch.compile: a minute or more at the start, faster steps",
                         default=False, free=True)  # fmt: skip
    on_nonfinite: Literal["stop", "skip"] = knob("a loss or gradient that is not finite: stop, or leave the step out",
                                                 default="stop", free=True)  # fmt: skip
    max_nonfinite: int = knob("steps that on_nonfinite: skip may leave out", low=1, default=10, free=True)
    timeout_minutes: float = knob("time after which a process that does not move ends all of them", low=0.01,
                                  default=30.0, free=True)  # fmt: skip
    seed: int = knob("seed of samples, masks and initial weights", low=0, high=2**31)
    validate_every: int = knob("epochs between validations", low=1, default=1, free=True)
    checkpoint_every: int = knob("epochs between checkpoints; the last is always saved", low=1, default=1, free=True)
    keep_checkpoints: int = knob("newest checkpoints to keep", low=1, default=3, free=True)
    keep_every: int = knob("epochs between checkpoints that are kept for ever; 0: none", low=0, default=0, free=True)
    log_every: int = knob("steps between log lines", low=1, default=50, free=True)
    picture_every: int = knob("epochs between pictures in TensorBoard; 0 for none", low=0, default=1, free=True)


@dataclass(frozen=True, kw_only=True)
class Train(Optimization):
    """Optimisation of a tracker."""

    stage: Literal["tracker", "score"] = knob("what learns. tracker: all but the score module; score: the score module "
                                              "alone, the second stage", default="tracker")  # fmt: skip
    start_from: str | None = knob("weights to start from, which the second stage needs: a checkpoint's file, or the "
                                  "config whose run in runs/ has it; or OSTrack's published file, for its encoder",
                                  default=None)  # fmt: skip
    loss: Loss


@dataclass(frozen=True, kw_only=True)
class Track:
    """Behaviour at test time."""

    update: Literal["none", "fixed", "score"] = knob("how the online template is replaced; paper: score", free=True)
    update_interval: int = knob("frames between replacements; paper: 100", low=1, free=True)
    update_intervals: dict[str, int] = knob("intervals of particular benchmarks, by name", low=1, free=True)
    score_threshold: float = knob("least score of a remembered crop; paper: 0.5", low=0, high=1, free=True)
    clip_margin: float = knob("px of a box that stay inside the frame; family: 10", low=0, free=True)
    size_smoothing: float = knob("share of a predicted change of size that is followed, in the logarithm; 1: all of "
                                 "it. Not in the paper", low=0, high=1, default=1.0, free=True)  # fmt: skip
    whole_pixels: bool = knob("cut crops of whole pixels, as OSTrack does, whose published weights expect them; else "
                              "crops are exact", default=False, free=True)  # fmt: skip
    averaged_pixels: bool = knob("average the frame's pixels where a crop has less than half of them, as training does "
                                 "that reads JPEG files, instead of skipping some. Not in the paper",
                                 default=False, free=True)  # fmt: skip
    precision: Literal["auto", "fp32", "bf16", "fp16"] = knob("number format of matrix products; auto: bf16 where the "
                                                              "device has matrix units for it, else fp32, and fp32 "
                                                              "for networks narrower than 192",
                                                              default="auto", free=True)  # fmt: skip
    compile: bool = knob("compile the network by torch.compile, which needs a C++ compiler: half a minute or more "
                         "before the first frame, then faster frames", default=False, free=True)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment file, complete and checked. `name` is the file's stem."""

    name: str
    crop: Crop
    model: Model
    data: Data
    train: Train
    track: Track
