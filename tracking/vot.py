"""Follow one target for the VOT toolkit, which starts this command and speaks TraX to it."""

import argparse
from pathlib import Path

if __name__ == "__main__":
    import _checkout  # noqa: F401

from lib.config.cli import add_mask_options, command_parser, run
from lib.eval.vot.server import VotTracker, serve

_EXAMPLES = """You do not run this by hand. A workspace tells the toolkit how to; write one, then let the toolkit work:
  python tracking/prepare.py vot-workspace votwork --tracker mmg --config mmg_tiny
  vot evaluate --workspace votwork mmg_tiny
"""


def main(argv: list[str] | None = None) -> int:
    """Answer the toolkit until it has finished; what goes wrong, in the arguments too, is told to it."""
    parser = command_parser(__doc__, _EXAMPLES)
    tracker = "a name of tracking/test.py, or `oracle`, which answers the ground truth"
    parser.add_argument("tracker", type=str.lower, help=tracker)
    parser.add_argument("--config", help="experiment of a trained tracker, by name or path")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights; default: the newest of runs/<config>")
    add_mask_options(parser, "how boxes become masks: box (default) or alpha_refine")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads; default: 1")
    parser.add_argument("--weights-digest", metavar="HEX", help="refuse to track with weights other than these")
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:
        if not stop.code:
            raise
        return serve(_refuse)
    return serve(lambda: _build(arguments))


def _build(arguments: argparse.Namespace) -> VotTracker:
    # Loaded here and not at the top: the toolkit is greeted first, and what fails to load is reported to it.
    from lib.eval.vot.tracker import build_vot_tracker
    from lib.tracker import TrackerSpec
    from lib.tracker.masks import MaskSpec

    tracker = masks = None
    if arguments.tracker != "oracle" or arguments.masks is not None:
        masks = MaskSpec(
            arguments.masks or "box", arguments.refine_checkpoint, arguments.device, arguments.mask_threshold
        )
    if arguments.tracker != "oracle":
        tracker = TrackerSpec(
            arguments.tracker, arguments.config, arguments.checkpoint, arguments.device, "vot2020"
        ).with_weights()
    return build_vot_tracker(tracker, masks, arguments.threads, arguments.weights_digest)


def _refuse() -> VotTracker:
    raise ValueError("tracking/vot.py does not know these arguments; its usage stands in the log")


if __name__ == "__main__":
    run(main)
