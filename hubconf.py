"""For torch.hub: `torch.hub.load("<owner>/<repository>", "load_tracker", "mmg_small")`, or a local folder's path."""

from mmg_tracker import Tracker, load_tracker

__all__ = ["load_tracker", "mmg_small"]

dependencies = ["torch", "torchvision", "timm", "numpy", "cv2", "yaml", "safetensors"]


def mmg_small(device: str = "auto") -> Tracker:
    """Return the tracker that comes with the project."""
    return load_tracker("mmg_small", device)
