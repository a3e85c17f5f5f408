"""Trackers on the Hugging Face Hub, or in a folder of the same form: weights in a file, and a page that says whose."""

import re
import tempfile
from pathlib import Path

from lib.tracker.export import export_tracker
from mmg_tracker import Tracker, load_tracker

_WEIGHTS = "model.safetensors"
_PAGE = """---
library_name: mmg-tracker
pipeline_tag: object-detection
tags: [visual-object-tracking, mmg]
---
# {config}

A tracker of one target, given by its box on the first frame, with weights of the experiment `{config}`.

    from mmg_tracker.hub import from_pretrained
    tracker = from_pretrained("{name}")
    tracker.initialize(frame_rgb, (x, y, width, height))
    prediction = tracker.track(next_frame_rgb)
"""


def save_pretrained(
    folder: str | Path, config: str | None = None, checkpoint: Path | None = None, name: str = ""
) -> None:
    """Write weights and a page about them into a folder, as `from_pretrained` reads it.

    Args:
        folder: made when missing.
        config: experiment, whose `track` settings are then written; without `checkpoint`, the newest of its run.
        checkpoint: file of weights.
        name: that the page calls it by; by default the folder.

    Raises:
        FileNotFoundError, ValueError, OSError: as `lib.tracker.export.export_tracker`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    exported = export_tracker(config, checkpoint, folder / _WEIGHTS)
    (folder / "README.md").write_text(_PAGE.format(config=exported.config, name=name or folder), encoding="utf-8")


def push(repository: str, config: str | None = None, checkpoint: Path | None = None, *, private: bool = True) -> str:
    """Upload a tracker as `owner/name`, private unless asked otherwise; return its address.

    Raises:
        ValueError: as `save_pretrained`; or huggingface_hub is not installed.
    """
    hub = _hub()
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(Path(folder), config, checkpoint, repository)
        api = hub.HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder))


def from_pretrained(
    repository: str | Path, device: str = "auto", config: str | None = None, revision: str | None = None
) -> Tracker:
    """Make a tracker from a folder of `save_pretrained`, or fetch one from the Hub by `owner/name`.

    Raises:
        FileNotFoundError: there is no such folder, or it holds no weights.
        ValueError: the weights do not fit, or huggingface_hub is not installed.
    """
    path = Path(repository) / _WEIGHTS
    if not Path(repository).is_dir():
        if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", str(repository)):
            raise FileNotFoundError(f"there is no folder {repository}, and the Hub names trackers owner/name")
        path = Path(_hub().hf_hub_download(str(repository), _WEIGHTS, revision=revision))
    return load_tracker(path, device, config)


def _hub():
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError(f"the Hub needs huggingface_hub ({error}): pip install 'mmg-tracker[hub]'") from error
    return huggingface_hub
