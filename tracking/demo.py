"""Track targets through a video, pictures, a camera or a stream; writes an annotated mp4 and the boxes."""

import argparse
import functools
import sys
from pathlib import Path

if __name__ == "__main__":
    import _checkout  # noqa: F401

from lib.config.cli import add_mask_options, answer_habits, command_parser, run
from lib.draw import save_picture
from lib.tracker import TRACKERS, TrackerSpec
from lib.tracker.batch import build_for_several
from lib.tracker.live import (
    LiveFrames,
    has_display,
    join_boxes,
    open_any,
    parse_box,
    require_display,
    select_box,
    show,
    track_video,
)
from lib.tracker.masks import MASK_BACKENDS, MaskSpec
from mmg_tracker.page import Studio, open_server

_HABITS = {
    "optional_box": "it is --box X,Y,WIDTH,HEIGHT, or --select to draw it",
    "save_results": "boxes are always saved, to --out DIR",
    "debug": "what is seen is in the mp4",
}
EPILOG = """examples:
  python tracking/demo.py video.mp4 --box 120,80,64,48             the weights that are there, see below
  python tracking/demo.py video.mp4 --box 120,80,64,48 --config mmg_tiny
  python tracking/demo.py frames/ --box 120,80,64,48 --checkpoint runs/mmg_tiny/latest.pth
  python tracking/demo.py video.mp4 --box 120,80,64,48 --config mmg_tiny --masks alpha_refine \\
      --refine-checkpoint runs/refine_tiny/latest.pth              a mask in each box
  python tracking/demo.py video.mp4 --box 120,80,64,48 --onnx model.onnx       a file of tracking/export.py
  python tracking/demo.py video.mp4 --box 120,80,64,48 --box 300,90,40,60 --config mmg_tiny     two targets at once
  python tracking/demo.py video.mp4 --select --tracker csrt        draw the box, on a machine with a screen
  python tracking/demo.py video.mp4 --first-frame first.png        the picture to read a box off
  python tracking/demo.py 0 --select                               camera 0, or a stream rtsp://..., live until q
  python tracking/demo.py video.mp4 --page                         draw boxes and watch in a browser

Without --config and --checkpoint: the newest finished run of mmg_vitb_score, else of mmg_vitb, else the weights that
come with the project; a line says which.
The box is left, top, width and height on the first frame, in pixels (write --box=-5,3,40,30 when it starts with a
minus). The files are DIR/<name>.mp4 and DIR/<name>.txt, the latter with one x,y,w,h per frame; of several targets,
which share each pass of the network and have a colour each, DIR/<name>_1.txt, DIR/<name>_2.txt and so on."""


def port(text: str) -> int:
    """Read a port's number, for argparse's `type`."""
    return range(65536).index(int(text))


def main(argv: list[str] | None = None) -> int:
    parser = command_parser(__doc__, EPILOG)
    parser.add_argument("video", metavar="VIDEO", help="a video, a folder of pictures, a camera's number, a URL")
    parser.add_argument("more", nargs="*", help=argparse.SUPPRESS)  # words that have no place here
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--box", action="append", metavar="X,Y,W,H", help="the target on the first frame; again for another target"
    )
    where.add_argument("--select", action="store_true", help="draw the box with the mouse")
    where.add_argument("--first-frame", type=Path, metavar="PNG", help="only save the picture to choose a box on")
    where.add_argument("--page", action="store_true", help="serve a page to draw boxes on, to this machine alone")
    parser.add_argument("--host", default="127.0.0.1", help="of --page; 0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=port, default=8765, metavar="N", help="of --page; default: 8765")
    parser.add_argument("--tracker", default="mmg", type=str.lower, help=f"{', '.join(TRACKERS)} (default: mmg)")
    parser.add_argument("--config", help="experiment of the weights; without --checkpoint, those in runs/<config>")
    parser.add_argument("--checkpoint", type=Path, help="file of weights")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="instead: a file of tracking/export.py")
    networks = "ONNX files of vit (one) or nano (two)"
    parser.add_argument("--weights", type=Path, nargs="+", default=[], metavar="FILE", help=networks)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), metavar="DIR", help="default: demo_output")
    parser.add_argument("--show", action="store_true", help="also show the video while it is tracked; q stops")
    add_mask_options(parser, f"draw masks, too: one of {', '.join(MASK_BACKENDS)}")
    answer_habits(argv, _HABITS)
    arguments = parser.parse_args(join_boxes(sys.argv[1:] if argv is None else argv))
    if arguments.more:
        raise ValueError(f"{arguments.more[0]!r} has no place here: one video, then options such as --config NAME")
    if arguments.select or arguments.show:
        require_display()
    boxes_xywh = [parse_box(text) for text in arguments.box or []]
    if len({tuple(box_xywh) for box_xywh in boxes_xywh}) < len(boxes_xywh):
        raise ValueError("two --box are the same: each has to be another target")
    spec = TrackerSpec(
        arguments.tracker,
        arguments.config,
        arguments.checkpoint,
        arguments.device,
        onnx=arguments.onnx,
        weights=tuple(arguments.weights),
    )
    if arguments.page:
        return _serve(arguments, spec.with_weights())
    frames, rate = open_any(arguments.video)
    if arguments.first_frame is not None:
        save_picture(arguments.first_frame, frames[0])
        print(f"{arguments.first_frame}: {frames[0].shape[1]} x {frames[0].shape[0]} pixels")
        return 0
    tracker = build_for_several(spec.with_weights(), max(len(boxes_xywh), 1))
    masks = MaskSpec.from_options(
        arguments.masks, arguments.refine_checkpoint, arguments.device, arguments.mask_threshold
    )
    boxes_xywh = boxes_xywh or [select_box(frames[0])]
    name = f"{_name(arguments.video)}_{arguments.tracker}"
    if (video := arguments.out / f"{name}.mp4").exists():
        print(f"note: {video} is replaced, and the boxes beside it; --out DIR keeps them", file=sys.stderr)
    result = track_video(
        tracker,
        frames,
        boxes_xywh,
        arguments.out,
        name=name,
        label=arguments.tracker,
        rate=rate,
        watch=show if arguments.show or (isinstance(frames, LiveFrames) and has_display()) else None,
        masks=[] if masks is None else [masks.build() for _ in boxes_xywh],
    )
    print(f"{result.num_frames} frames, {result.fps:.1f} per second (tracker alone)")
    print(f"video  {result.video}")
    for path in result.boxes:
        print(f"boxes  {path}")
    if result.num_non_finite:
        odd = f"{result.num_non_finite} frames; they repeat the last box"
        print(f"error: the tracker's output was not finite on {odd}", file=sys.stderr)
        return 1
    return 0


def _name(video: str) -> str:
    """Return a folder's name, or a file's without what says its kind; of a camera or stream, that it is one."""
    path = Path(video).resolve()
    if not path.exists():
        return "live"
    if path.name == "img":  # as the field's data sets call every video's pictures
        return path.parent.name
    return path.name if path.is_dir() else path.stem


def _serve(arguments: argparse.Namespace, spec: TrackerSpec) -> int:
    """Serve the page until Ctrl-C."""
    spec.build()  # weights that do not fit are found before anybody draws
    studio = Studio(Path(arguments.video), functools.partial(build_for_several, spec), arguments.out, spec.name)
    with open_server(studio, arguments.host, arguments.port) as server:
        print(f"open http://{arguments.host}:{server.server_address[1]} in a browser; Ctrl-C ends")
        server.serve_forever()
    return 0


if __name__ == "__main__":
    run(main)
