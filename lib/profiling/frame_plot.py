"""The time of a tracked frame by stage, beside what its products need at the peak."""

from collections.abc import Mapping
from collections.abc import Sequence as Indexed

from matplotlib.figure import Figure

from lib.eval.report.figure import GREY, colour, new_figure, write_head
from lib.profiling.frame import FrameCost

_STAGES = ("patch embedding", "blocks", "score", "head", "network")
_AROUND = "crop, upload, box"  # all other stages, which are thin
_NAMES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def draw_frames(costs: Indexed[FrameCost]) -> Figure:
    """Draw measurements of one run: a bar for each network, and for the first one's products at its format's peak.

    A bar is as long as the median frame, and shared out among the stages as their medians are.
    """
    first = costs[0]
    rows = []
    for cost in [*costs[1:][::-1], first]:
        stretch = cost.frame.median / sum(timing.median for timing in cost.stages.values())
        shares = {stage: timing.median * stretch for stage, timing in cost.stages.items()}
        rows.append((f"{cost.config}, {_NAMES[cost.precision]}, {cost.mode}", shares, cost.frame.median))
    rate = first.limit_seconds / sum(first.flops.values())
    at_peak = {stage: flops * rate for stage, flops in first.flops.items()}
    rows.append((f"its products at the {_NAMES[first.precision]} peak", at_peak, first.limit_seconds))

    figure = new_figure(9.5, 1.9 + 0.42 * len(rows))
    plot = figure.subplots()
    shown: set[str] = set()
    for place, (_, seconds, total) in enumerate(rows):
        left = 0.0
        for stage, share in _merge(seconds).items():
            label = None if stage in shown else stage
            fill = GREY if stage == _AROUND else colour(_STAGES.index(stage))
            plot.barh(place, 1000 * share, left=left, height=0.62, color=fill, label=label)
            shown.add(stage)
            left += 1000 * share
        ratio = f"{total / first.limit_seconds:.1f} x the limit" if total != first.limit_seconds else "the limit"
        plot.annotate(
            f"{1000 * total:.3g} ms, {ratio}", (left, place), xytext=(5, 0), textcoords="offset points", va="center",
            fontsize=9,
        )  # fmt: skip
    plot.axvline(1000 * first.limit_seconds, color="#000000", linewidth=0.9, linestyle=(0, (4, 3)))
    plot.set_yticks(range(len(rows)), [title for title, _, _ in rows])
    plot.invert_yaxis()
    plot.margins(x=0.28)
    plot.set_xlim(left=0)
    plot.set_xlabel("milliseconds a frame (median)")
    plot.grid(visible=False, axis="y")
    plot.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    peaks = ", ".join(f"{rate / 1e12:.2f} in {_NAMES[name]}" for name, rate in first.peaks.items())
    small = f"{first.device}; batch 1, crop to box, in turn; best product, TFLOP/s: {peaks}"
    write_head(plot, "A tracked frame by stage, beside the limit", small)
    return figure


def _merge(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return what is drawn, in order, without what takes no time."""
    merged = {stage: seconds.get(stage, 0.0) for stage in _STAGES}
    merged[_AROUND] = sum(share for stage, share in seconds.items() if stage not in _STAGES)
    return {stage: share for stage, share in merged.items() if share > 0}
