"""Drawn video: scenes whose every frame, box and mask follow from a seed."""

from lib.data.synthetic.scene import Label, RenderedFrame, Scene
from lib.data.synthetic.style import SceneStyle

__all__ = ["Label", "RenderedFrame", "Scene", "SceneStyle"]
