"""Track a target by a file of tracking/export.py: python track_onnx.py model.onnx video.mp4 120,80,64,48 > boxes.txt"""

import json
import sys

import cv2
import numpy as np
import onnxruntime

network = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
recipe = json.loads(network.get_modelmeta().custom_metadata_map["mmg"])
if recipe.get("whole_pixels"):
    sys.exit(f"{sys.argv[1]}: its crops are of whole pixels, which this example does not cut")


def cut(frame, box, kind):  # -> crop (1, 3, S, S) uint8 RGB, its corner and side in the frame
    size, side = recipe[f"{kind}_size"], recipe[f"{kind}_factor"] * np.sqrt(box[2] * box[3])
    corner, scale = box[:2] + (box[2:] - side) / 2, side / size
    step = next((step for step in (8, 4, 2) if scale >= step and recipe.get("averaged_pixels")), 1)
    if step > 1:  # of each step x step pixels their mean
        height, width = frame.shape[0] // step, frame.shape[1] // step
        frame = cv2.resize(frame[: height * step, : width * step], (width, height), interpolation=cv2.INTER_AREA)
    scale, (x, y) = scale / step, corner / step
    sample = np.array([[scale, 0, x + scale / 2 - 0.5], [0, scale, y + scale / 2 - 0.5]])
    crop = cv2.warpAffine(frame, sample, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.ascontiguousarray(crop[:, :, ::-1].transpose(2, 0, 1)[None]), corner, side


video, box = cv2.VideoCapture(sys.argv[2]), np.array(sys.argv[3].split(","), dtype=float)  # left, top, width, height
crops, number, best, candidate = {}, 0, recipe["score_threshold"], None
while (frame := video.read()[1]) is not None:
    if not crops:
        crops = dict.fromkeys(("template", "online_template"), cut(frame, box, "template")[0])
    else:
        crops["search"], corner, side = cut(frame, box, "search")
        outputs = network.run(None, {item.name: crops[item.name] for item in network.get_inputs()})
        limit = np.array(frame.shape[1::-1], dtype=float)
        least = np.minimum(max(recipe["clip_margin"], 1.0), limit)  # px of a box that stay inside the frame
        near, far = outputs[0].astype(float).reshape(2, 2) * side + corner
        if (share := recipe.get("size_smoothing", 1.0)) < 1:  # of a change of size that is followed, about the centre
            half = box[2:] * np.clip((far - near) / box[2:], 1 / np.e, np.e) ** share / 2
            near, far = (near + far) / 2 - half, (near + far) / 2 + half
        near, far = np.clip(near, 0, limit - least), np.clip(far, least, limit)
        box = np.concatenate((near, np.maximum(far - near, least)))
        if recipe["update"] == "fixed" or (recipe["update"] == "score" and outputs[1][0] > best):
            best, candidate = outputs[-1][0], cut(frame, box, "template")[0]
        if (number := number + 1) % recipe["update_interval"] == 0 and candidate is not None:
            crops["online_template"], best, candidate = candidate, recipe["score_threshold"], None
    print(",".join(f"{value:.4f}" for value in box), flush=True)
sys.exit(None if crops else f"{sys.argv[2]}: no frame could be read")
