"""What a first reader broke, and must not break again."""

import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import SMALL

from lib.config.load import experiment_from_dict, experiment_to_dict, load
from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.pack import pack_folder
from lib.eval.film import open_film
from lib.eval.session import run_test
from lib.tracker import TrackerSpec
from lib.train.distributed import choose_device
from lib.train.loading import leave_signals_to_the_trainer
from lib.train.session import open_trainer


def write_sequence(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.jpg"), np.zeros((48, 64, 3), np.uint8))
    (folder / "groundtruth.txt").write_text("10,10,20,20\n10,10,20,20\n", encoding="utf-8")


def test_sequences_that_would_share_result_files_are_refused(tmp_path):
    write_sequence(tmp_path / "data" / "car")
    write_sequence(tmp_path / "data" / "car_time")
    with pytest.raises(ValueError, match="'car' and car_time would share"):
        run_test(TrackerSpec("static", benchmark="folder"), root=tmp_path / "data", results_dir=tmp_path / "results")


def test_an_unknown_sequence_of_a_drawn_data_set_is_named_with_a_suggestion():
    with pytest.raises(ValueError, match=r"no sequence 'test-00003'.*did you mean 'test-0003'.*test-0000, test-0001"):
        open_film(SyntheticDataset("test"), "test-00003", [])


@pytest.mark.parametrize("name", ["cudaa", "", "mps", "meta", "cuda:99"])
def test_a_device_that_is_not_here_is_an_error(name):
    with pytest.raises(ValueError, match="device"):
        choose_device(name)


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden"])
def test_a_stored_name_cannot_lead_out_of_the_results(name):
    stored = {**experiment_to_dict(load("mmg_tiny")), "name": name}
    with pytest.raises(ValueError, match="name"):
        experiment_from_dict(stored, "stored")
    with pytest.raises(ValueError, match="named by its file"):
        load("mmg_tiny", ["name=other"])


def test_a_batch_that_the_learning_rates_were_not_set_for_is_said(small_experiment, tmp_path):
    with pytest.warns(UserWarning, match=r"1 x 2 samples make 2 a step.*total_batch: 4"):
        open_trainer(small_experiment("train.batch_size=2"), tmp_path, device="cpu")
    assert "train.total_batch=4" in SMALL


def test_loaders_leave_an_interrupt_to_the_trainer():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        leave_signals_to_the_trainer(0)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_data_set_is_not_packed_into_itself(tmp_path):
    write_sequence(tmp_path / "data" / "car")
    for out in (tmp_path / "data", tmp_path / "data" / "packed"):
        with pytest.raises(ValueError, match="choose a folder outside"):
            pack_folder(tmp_path / "data", out, progress=False)
