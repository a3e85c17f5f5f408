"""Drawn video: scenes whose every frame, box and mask follow from a seed."""

from lib.data.synthetic.scene import DrawnFrame, Label, Scene
from lib.data.synthetic.style import SceneStyle

__all__ = ["DrawnFrame", "Label", "Scene", "SceneStyle"]
