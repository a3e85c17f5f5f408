"""Trackers without a network: a box that never moves, and OpenCV's classical ones."""

import cv2
import numpy as np

from lib.tracker.base import Prediction, checked_box

# Names of the classes in the cv2 module. MIL is in every build; the others need the contributed modules.
_OPENCV_CLASSES = {"MIL": "TrackerMIL", "CSRT": "TrackerCSRT", "KCF": "TrackerKCF"}
