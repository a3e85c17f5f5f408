"""How hard and how varied drawn scenes are."""

from dataclasses import dataclass, replace

SHAKE = 2.0  # px that the camera's tremble moves the picture at most
# What a lower difficulty takes from, in proportion.
_SCALED = (
    "rotation",
    "scale_change",
    "aspect_change",
    "deformation",
    "illumination_change",
    "camera_motion",
    "background_detail",
    "distractor_probability",
    "occlusion_probability",
    "leaving_probability",
    "motion_blur_probability",
    "defocus_probability",
    "spin_probability",
    "carrier_probability",
)


@dataclass(frozen=True)
class SceneStyle:
    """The knobs of a drawn scene. Lengths are in pixels of the frame, times in frames.

    Attributes:
        frame_size: (height, width) of the picture.
        target_side: smallest and largest side of the target, sqrt(width * height) of its outline's rectangle.
        stretch: log of width / side of the most elongated object, in either direction.
        speed: smallest and largest typical step between two frames, as a share of the target's side.
        rotation: largest swing of the target in radians; a spinning one turns without limit.
        scale_change: largest change of log size to either side.
        aspect_change: largest change of log aspect ratio to either side.
        deformation: largest slide of a row or column of an object's pixels, as a share of half its side; 0: rigid.
        illumination_change: largest change of the whole frame's brightness to either side, as a share.
        camera_motion: strength of pan, zoom and roll of the background; 1 is a hand-held camera following the target.
        background_detail: contrast of the background's fine texture and clutter; 0 leaves a smooth picture.
        distractor_probability: share of scenes with other objects, some of which look like the target.
        max_distractors: most of them in one scene.
        occlusion_probability: share of scenes in which another object crosses in front of the target.
        leaving_probability: share of scenes in which the target leaves the frame and comes back.
        motion_blur_probability, defocus_probability: share of scenes with either blur.
        spin_probability: share of targets that keep turning.
        carrier_probability: share of targets that are part of a larger object, which moves, turns and grows with them.
        following_probability: share of scenes whose background moves with the target, most or all of the way: things
            at rest before a moving camera, and what a camera follows.
        noise: amplitude of the sensor's noise in grey levels.
        difficulty: 0 (slow, rigid, unoccluded, alone, on a smooth background) to 1 (everything above in full).
    """

    frame_size: tuple[int, int] = (192, 256)
    target_side: tuple[float, float] = (18.0, 64.0)
    stretch: float = 0.4
    speed: tuple[float, float] = (0.02, 0.14)
    rotation: float = 0.5
    scale_change: float = 0.35
    aspect_change: float = 0.2
    deformation: float = 0.0
    illumination_change: float = 0.3
    camera_motion: float = 1.0
    background_detail: float = 1.0
    distractor_probability: float = 0.35
    max_distractors: int = 4
    occlusion_probability: float = 0.25
    leaving_probability: float = 0.125
    motion_blur_probability: float = 0.3
    defocus_probability: float = 0.2
    spin_probability: float = 0.1
    carrier_probability: float = 0.0
    following_probability: float = 0.0
    noise: float = 6.0
    difficulty: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.difficulty <= 1:
            raise ValueError(f"scene style: difficulty = {self.difficulty} must lie in [0, 1]")

    def scaled(self) -> "SceneStyle":
        """Return the style with `difficulty` multiplied in, so that the result reads as what will be drawn."""
        share = self.difficulty
        if share == 1:
            return self
        slowest, fastest = self.speed
        return replace(
            self,
            speed=(slowest, slowest + (fastest - slowest) * share),
            **{name: self.__dict__[name] * share for name in _SCALED},
            difficulty=1.0,
        )
