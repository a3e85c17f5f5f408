"""What the values of an experiment must have in common, its stage included."""

from lib.config.refine_schema import RefineExperiment
from lib.config.schema import Experiment


def check_together(experiment: Experiment | RefineExperiment, file: str) -> None:
    """Raise ValueError, naming `file`, for values that are each fine and make no sense together."""
    train = experiment.train
    if not experiment.data.sources or all(source.ratio == 0 for source in experiment.data.sources):
        raise ValueError(f"{file}: data.sources must name at least one data set with a ratio above 0")
    if train.schedule == "step" and train.drop_epoch > train.epochs:
        raise ValueError(f"{file}: train.drop_epoch {train.drop_epoch} lies beyond train.epochs {train.epochs}")
    if train.warmup_epochs > train.epochs:
        raise ValueError(f"{file}: train.warmup_epochs {train.warmup_epochs} is more than train.epochs {train.epochs}: "
                         "the learning rates would never be reached")  # fmt: skip
    if isinstance(experiment, RefineExperiment):
        _check_refine(experiment, file)
    else:
        _check_tracker(experiment, file)


def _check_refine(experiment: RefineExperiment, file: str) -> None:
    crop, encoder, loss = experiment.crop, experiment.model.encoder, experiment.train.loss
    if crop.size % 32:
        raise ValueError(f"{file}: crop.size must be a multiple of 32, got {crop.size}")
    for name, stages in (("channels", encoder.channels), ("layers", encoder.layers)):
        if stages is not None and len(stages) != 4:
            raise ValueError(f"{file}: model.encoder.{name} must have four numbers, one a stage, got {list(stages)}")
    if loss.cross_entropy == 0 and loss.iou == 0:
        raise ValueError(f"{file}: train.loss.cross_entropy and train.loss.iou are both 0: nothing would be learned")


def _check_tracker(experiment: Experiment, file: str) -> None:
    model, crop = experiment.model, experiment.crop
    if not model.online_template and model.decoder.search_to_online:
        raise ValueError(f"{file}: model.decoder.search_to_online needs model.online_template: true")
    if not model.online_template and experiment.track.update != "none":
        raise ValueError(f"{file}: track.update must be none when model.online_template is false, "
                         f"got {experiment.track.update!r}")  # fmt: skip
    if experiment.track.update == "score" and not model.score.enabled:
        raise ValueError(f"{file}: track.update: score needs model.score.enabled: true")
    if crop.search_factor < crop.template_factor:
        raise ValueError(f"{file}: crop.search_factor {crop.search_factor} is smaller than crop.template_factor "
                         f"{crop.template_factor}: the search region must show more than the template")  # fmt: skip


def check_stage(experiment: Experiment) -> None:
    """Refuse an experiment whose sections do not fit its stage.

    Raises:
        ValueError: what does not fit, and the cure.
    """
    train = experiment.train
    if train.stage == "tracker":
        if experiment.data.negatives:
            raise ValueError(f"data.negatives is {experiment.data.negatives}, and train.stage: tracker learns boxes, "
                             "which negatives have not; set it to 0, or train.stage to score")  # fmt: skip
        return
    if not experiment.model.score.enabled:
        raise ValueError("train.stage: score trains the score module, and model.score.enabled is false")
    if not experiment.data.negatives:
        raise ValueError("train.stage: score needs samples without the target: set data.negatives, to 0.5 by custom")
    if train.start_from is None:
        raise ValueError("train.stage: score starts from the weights of a finished first stage: set train.start_from "
                         "to its checkpoint, or to the config whose run in runs/ has it")  # fmt: skip
