"""What a model has and does: parameters by part, operations of a tracked frame and of a training sample."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from lib.config.schema import Experiment
from lib.models.build import build_model
from lib.models.mmg import MMG, count_parameters
from lib.profiling.training import synthetic_batch


@dataclass(frozen=True)
class ModelSize:
    """Counts of a model; those by part add up to the whole.

    The score module is one of the parts that track where it decides over updates. Multiply-adds of a frame are those of
    the plain network, both templates included; of a training sample, three times those of its forward pass.
    """

    config: str
    parameters: dict[str, int]
    tracking_parameters: int
    frame_multiply_adds: float
    frame_multiply_adds_by_part: dict[str, float]
    sample_multiply_adds: float


def size_model(experiment: Experiment) -> ModelSize:
    """Count the parameters and operations of an experiment's model, without building its weights."""
    with torch.device("meta"):
        sketch = build_model(experiment, pretrained=False).to("meta")
    counts = count_parameters(sketch)
    scores = experiment.track.update == "score"
    frame = _multiply_adds(sketch.without_decoder().eval(), experiment, predict_score=scores)
    return ModelSize(
        experiment.name,
        counts,
        counts["encoder"] + counts["head"] + (counts["score"] if scores else 0),
        sum(frame.values()),
        frame,
        3 * sum(_multiply_adds(sketch.train(), experiment, predict_score=False).values()),
    )


def describe_size(size: ModelSize) -> str:
    """Return the counts as text."""
    rows = {**size.parameters, "in training": sum(size.parameters.values()), "when tracking": size.tracking_parameters}
    lines = [f"{size.config}: parameters"]
    lines += [f"  {part:16s} {count / 1e6:8.2f} M" for part, count in rows.items()]
    lines.append("multiply-adds")
    by_part = ", ".join(f"{part} {count / 1e9:.2f}" for part, count in size.frame_multiply_adds_by_part.items())
    lines.append(f"  {'tracked frame':16s} {size.frame_multiply_adds / 1e9:8.2f} G ({by_part})")
    lines.append(f"  {'training sample':16s} {size.sample_multiply_adds / 1e9:8.2f} G (forward, times three)")
    return "\n".join(lines)


def _multiply_adds(model: MMG, experiment: Experiment, *, predict_score: bool) -> dict[str, float]:
    """Count the multiply-adds of one forward pass by part, with the operations that torch's counter knows."""
    batch = synthetic_batch(experiment, 2, "meta")
    online_template = batch.online_template if experiment.model.online_template else None
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(batch.template, batch.search, online_template, predict_score=predict_score)
    counts = counter.get_flop_counts()
    flops = {part: sum(counts[f"MMG.{part}"].values()) for part, _ in model.named_children() if f"MMG.{part}" in counts}
    assert sum(flops.values()) == counter.get_total_flops(), "every product belongs to a part"
    return {part: count / 2 / 2 for part, count in flops.items()}
