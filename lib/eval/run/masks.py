"""Masks for the boxes of a test: what `tracking/test.py --masks` does once the boxes are there.

The masks never act on the tracker, so they are made afterwards, from the result files: a tracker that is tested without
masks first is not run again for them.
"""

import dataclasses
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.data.images.frames import ImageFiles
from lib.data.images.video import VideoFile
from lib.data.sequence import Sequence, SequenceDataset
from lib.eval.mask_files import MaskRecord, SequenceMasks, claim_masks, masks_folder
from lib.eval.record import code_sha256
from lib.eval.results import ResultFiles, read_boxes
from lib.eval.run.benchmark import RunOptions, worker_devices
from lib.eval.run.ranks import join_ranks
from lib.eval.run.runner import Worker, run_workers
from lib.eval.run.sequence import Outcome
from lib.models.trained import file_sha256
from lib.tracker import TrackerSpec
from lib.tracker.build import choose_device
from lib.tracker.masks import MaskBackend, MaskSpec

CODE = (MaskSpec, ImageFiles, VideoFile)  # what makes masks, with all that these use


@dataclass(frozen=True)
class MaskWorker(Worker):
    """Makes the masks called `name` of the boxes in a result's files."""

    spec: MaskSpec
    dataset: SequenceDataset
    results: Path
    name: str

    def work(self, indices: Iterator[int], advance: Callable[[int], object]) -> Generator[Outcome, None, None]:
        backend = self.spec.build()
        for index in indices:
            yield self._segment(backend, index, advance)

    def _segment(self, backend: MaskBackend, index: int, advance: Callable[[int], object]) -> Outcome:
        """Segment one sequence around its boxes and write the masks; a failure is returned, not raised."""
        name = self.dataset.names[index]
        started = time.perf_counter()
        try:
            sequence = self.dataset[index]
            boxes_file = ResultFiles(self.results, name).boxes
            boxes_xywh = read_boxes(boxes_file)
            if len(boxes_xywh) != len(sequence):
                raise ValueError(f"{boxes_file} has {len(boxes_xywh)} boxes for {len(sequence)} frames")
            SequenceMasks(self.results, self.name, name).write(_masks(backend, sequence, boxes_xywh, advance))
        except Exception:  # as in `sequence`: the other sequences are finished, then the run fails
            return Outcome(name, failure=traceback.format_exc())
        return Outcome(name, len(boxes_xywh), time.perf_counter() - started)


def _masks(
    backend: MaskBackend, sequence: Sequence, boxes_xywh: np.ndarray, advance: Callable[[int], object]
) -> Iterator[np.ndarray]:
    for frame, box_xywh in enumerate(boxes_xywh):
        image = sequence.frames[frame]
        if frame == 0:
            backend.initialize(image, box_xywh)
        yield backend.segment(image, box_xywh)
        advance(1)


def run_masks(spec: TrackerSpec, masks: MaskSpec, options: RunOptions) -> int:
    """Make a mask of every box that the tracker's result files hold; return the exit code, 1 when a sequence failed."""
    dataset, indices = options.open(spec.benchmark)
    results, name = options.results_dir / spec.name / spec.config_name / spec.benchmark, masks.label
    checkpoint = None if masks.checkpoint is None else file_sha256(masks.checkpoint)
    record = MaskRecord(masks.name, checkpoint, masks.threshold, code_sha256(CODE))
    with join_ranks() as ranks:
        remark = ranks.from_main(lambda: claim_masks(results, name, record, options.overwrite))
        if remark and ranks.is_main:
            print(f"note: {remark}", file=sys.stderr)
        share = indices[ranks.rank :: ranks.count]
        lengths: dict[int, int] = {}
        for index in share:
            files = SequenceMasks(results, name, dataset.names[index])
            if options.overwrite:
                files.remove()
            if not files.is_complete(len(dataset[index])):
                lengths[index] = len(dataset[index])
        devices = worker_devices(choose_device(masks.device), options.num_workers, ranks.local_rank)
        specs = [dataclasses.replace(masks, device=device) for device in devices[: len(lengths)]]
        workers = [MaskWorker(spec, dataset, results, name) for spec in specs]
        outcomes: list[Outcome] = []
        if workers:
            title, threads = f"masks {name}", options.num_threads
            outcomes = run_workers(workers, dataset.names, lengths, threads, title=title, show_progress=ranks.is_main)
        parts = ranks.gather((outcomes, len(share) - len(lengths)))
        outcomes = [outcome for part, _ in parts for outcome in part]
        if ranks.is_main:
            _report(outcomes, sum(num_complete for _, num_complete in parts), masks_folder(results, name))
    return 1 if any(outcome.failure for outcome in outcomes) else 0


def _report(outcomes: list[Outcome], num_complete: int, folder: Path) -> None:
    done = [outcome for outcome in outcomes if outcome.failure is None]
    if done:
        rate = sum(outcome.num_frames for outcome in done) / sum(outcome.seconds for outcome in done)
        print(
            f"{len(done)} sequences segmented at {rate:.1f} frames per second and worker (reading and writing included)"
        )
    if num_complete:
        print(f"{num_complete} sequences had complete masks; --overwrite makes them again")
    print(f"masks in {folder}")
    for outcome in outcomes:
        if outcome.failure is not None:
            print(f"\nFAILED {outcome.sequence}\n{outcome.failure}", file=sys.stderr)
    if len(done) < len(outcomes):
        print(f"error: {len(outcomes) - len(done)} sequences have no masks", file=sys.stderr)
