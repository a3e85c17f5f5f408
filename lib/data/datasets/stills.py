"""Training without labels: any folder of photographs, made into videos by cutting, moving and pasting.

Objects are cut from photographs, by random outlines or by masks where given, and pasted with motion, scale, rotation,
deformation, illumination and occlusion over other photographs, among look-alikes that are pasted in the same way.
Source of the idea: Li et al., "Crop-Transform-Paste: Self-Supervised Learning for Visual Tracking",
2021, arXiv 2106.10900.
"""

import numpy as np

from lib.data.storage.tree import TreePath
from lib.data.synthetic import Scene, SceneStyle
from lib.data.synthetic.album import Album, list_photographs, name_hash
from lib.data.synthetic.cutout import PhotoLooks
from lib.data.synthetic.record import SPLITS, SceneDataset

# Of ten photographs on average: one for val, one for test, the rest for train.
SHARES = {"test": (0,), "val": (1,), "train": tuple(range(2, 10))}
_FEWEST = 10  # photographs of a folder
_FEWEST_OF_SPLIT = 3
_STREAM = 3  # keeps the seeds apart from those of other data sets

# Towards what 26 excerpts of real video show of pairs of frames: surroundings that stay much the same, little change of
# colour, elongated targets. Pasted objects stand out a little however well they are blended: most scenes have several.
STYLE = SceneStyle(
    target_side=(20.0, 50.0),
    stretch=0.6,
    frame_size=(204, 272),
    distractor_probability=0.75,
    max_distractors=3,
    deformation=0.25,
    camera_motion=0.45,
    scale_change=0.33,
    illumination_change=0.1,
    carrier_probability=0.4,
    following_probability=0.5,
    motion_blur_probability=0.2,
    defocus_probability=0.1,
    noise=4.0,
)


class StillsDataset(SceneDataset):
    """Videos made of the photographs of a folder.

    The frames of sequence i are a function of the split, i and the sorted list of photographs. A photograph belongs
    to one split, by a hash of its name, so that no split shows what another does.
    """

    def __init__(
        self,
        root: TreePath,
        split: str,
        num_sequences: int | None = None,
        num_frames: int = 100,
        style: SceneStyle = STYLE,
    ) -> None:
        """List the photographs; none is opened.

        Args:
            root: folder of photographs, at any depth; masks lie in `root/mask/<name>.png`, any value but 0 on the
                objects.
            split, num_sequences, num_frames, style: as `SceneDataset`'s.
        """
        super().__init__("stills", split, num_sequences, num_frames, style)
        names, masked = list_photographs(root)
        if len(names) < _FEWEST:
            raise ValueError(
                f"{root} holds {len(names)} photographs; at least {_FEWEST} are needed, and a few hundred make a "
                "useful training set: add more, of any kind"
            )
        chosen = tuple(name for name in names if name_hash(name) % 10 in SHARES[split])
        if len(chosen) < _FEWEST_OF_SPLIT:
            raise ValueError(
                f"{len(chosen)} of the {len(names)} photographs in {root} belong to the split {split}, by a hash of "
                f"their names (a tenth each to val and test); at least {_FEWEST_OF_SPLIT} are needed: add more"
            )
        self.album = Album(root, chosen, masked)

    def _open(self, index: int, style: SceneStyle) -> Scene:
        seed = (SPLITS[self._split], index, _STREAM)
        looks = PhotoLooks(self.album, np.random.default_rng((*seed, 1)))
        return Scene.from_seed(seed, style, self._num_frames, looks)
