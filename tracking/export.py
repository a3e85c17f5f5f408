"""Write a trained tracker as an ONNX file, or its weights as a safetensors file."""

from pathlib import Path

if __name__ == "__main__":
    import _checkout  # noqa: F401

from lib.config.cli import command_parser, run
from lib.eval.results import check_writable
from lib.tracker.export import export_tracker

_EXAMPLES = """examples:
  python tracking/export.py --config mmg_vitb_score --out model.onnx        the newest weights of runs/mmg_vitb_score
  python tracking/export.py --checkpoint runs/mmg_tiny/latest.pth --out model.onnx
  python tracking/export.py --config mmg_vitb_score --out model.safetensors

An ONNX file holds the test-time network in float32, normalisation included, and in its metadata how to track with it;
it is run beside PyTorch before it appears, on drawn videos, and not written when the two differ by more than 1e-4.
docs/track_onnx.py shows all that a program needs to track with it; tracking/test.py and tracking/demo.py take it by
--onnx. A safetensors file holds all weights and the config, and is taken wherever a --checkpoint is.
"""


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, export, say what was written."""
    parser = command_parser(__doc__, _EXAMPLES)
    parser.add_argument("--config", help="experiment, by name or path, whose `track` settings are then written")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights; default: the newest of runs/<config>")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="ends in .onnx or .safetensors")
    parser.add_argument("--half", action="store_true", help="store weights in half precision, for half the file")
    arguments = parser.parse_args(argv)

    check_writable({"--out": arguments.out}, {})
    exported = export_tracker(arguments.config, arguments.checkpoint, arguments.out, half=arguments.half)
    print(f"{exported.config} in {arguments.out}: {exported.size / 1e6:.1f} MB; {exported.about}")
    return 0


if __name__ == "__main__":
    run(main)
