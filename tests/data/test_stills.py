"""Photographs made into videos: pure, exact, without overlap of splits, and clear about bad folders."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.config.load import load
from lib.data.datasets import open_dataset
from lib.data.datasets.stills import StillsDataset
from lib.data.sequence import UnreadableFrameError
from lib.data.storage.lmdb_writer import write_lmdb
from lib.data.synthetic.album import Album, list_photographs, name_hash
from lib.data.synthetic.cutout import CutoutRecipe, PhotoLooks

STILLS = Path(__file__).resolve().parents[2] / "shared" / "real" / "stills"
EXPERIMENT = load("mmg_tiny")
COUNT = 60


def write_photograph(path: Path, seed: int, height: int = 150, width: int = 220) -> None:
    """Write smooth blotches of colour, another picture for every seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (8, 11, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stills")
    for number in range(COUNT):
        write_photograph(root / f"{number:03d}.{'png' if number % 4 == 0 else 'jpg'}", number)
    return root


def album_of(root: Path, memory: int = 2**26) -> Album:
    names, masked = list_photographs(root)
    return Album(root, names, masked, memory)


def cut(album: Album, photograph: int = 0, **changes) -> CutoutRecipe:
    recipe = CutoutRecipe(album, photograph, 1, shape_seed=3, place_seed=4, blend_seed=5, width=40, height=30)
    return replace(recipe, **changes)


def test_a_frame_depends_on_nothing_but_split_index_and_time(folder: Path) -> None:
    """Neither on the order of asking, nor on what is in memory."""
    forward, backward = StillsDataset(folder, "train"), StillsDataset(folder, "train")
    backward.album = Album(folder, backward.album.names, frozenset(), memory=1)
    wanted = [(index, frame) for index in (3, 70_000, 11) for frame in (0, 40, 99)]
    first = {key: forward.scene(key[0]).render(key[1]) for key in wanted}
    for key in reversed(wanted):
        again = backward.scene(key[0]).render(key[1])
        np.testing.assert_array_equal(again.image, first[key].image)
        np.testing.assert_array_equal(again.label.box_xywh, first[key].label.box_xywh)
        np.testing.assert_array_equal(again.label.mask, first[key].label.mask)
    assert not np.array_equal(first[3, 0].image, first[11, 0].image)


def test_splits_share_no_photograph_and_keep_theirs_when_others_are_added(folder: Path, tmp_path: Path) -> None:
    names = {split: set(StillsDataset(folder, split).album.names) for split in ("train", "val", "test")}
    assert sum(map(len, names.values())) == COUNT == len(set().union(*names.values()))
    assert len(names["train"]) > 0.6 * COUNT
    for name in [*list_photographs(folder)[0]]:
        (tmp_path / name).symlink_to(folder / name)
    for number in range(8):
        write_photograph(tmp_path / "more" / f"{number}.jpg", number)
    for split, before in names.items():
        after = set(StillsDataset(tmp_path, split).album.names)
        assert before <= after and {name for name in after if not name.startswith("more/")} == before


def test_a_hash_deals_a_tenth_to_val_and_to_test() -> None:
    shares = np.bincount([name_hash(f"folder/IMG_{number}.jpg") % 10 for number in range(5000)]) / 5000
    assert (abs(shares - 0.1) < 0.02).all()


def test_an_object_is_cut_from_another_photograph_than_the_background(folder: Path) -> None:
    album = album_of(folder)
    rng = np.random.default_rng(0)
    for _ in range(300):
        looks = PhotoLooks(album, rng)
        recipe = looks.recipe(rng, 30, 30)
        assert recipe.photograph != recipe.backdrop and 0 <= recipe.photograph < len(album)


def test_a_cut_object_is_premultiplied_soft_and_inside_its_margin(folder: Path) -> None:
    album = album_of(folder)
    for seed in range(30):
        picture = cut(album, seed, shape_seed=seed, place_seed=seed, blend_seed=seed).picture()
        alpha = picture[..., 3]
        assert picture.shape == (36, 46, 4)
        assert (picture[..., :3].max(axis=-1) <= alpha).all()
        assert max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) <= 12
        # No hard edge: between outside and inside there are pixels that are partly covered.
        steps = np.abs(np.diff(alpha.astype(int), axis=1))
        assert alpha.max() > 200 and steps.max() < 200


def test_a_lookalike_has_the_same_outline_perhaps_mirrored_and_another_picture(folder: Path) -> None:
    recipe = cut(album_of(folder))
    own = recipe.picture()
    for seed in range(20):
        other = recipe.lookalike(np.random.default_rng(seed))
        picture = other.picture()
        expected = own[..., 3] if other.mirrored == recipe.mirrored else own[:, ::-1, 3]
        np.testing.assert_array_equal(picture[..., 3], expected)
        assert not np.array_equal(picture, own)


@pytest.fixture
def masked_folder(tmp_path: Path) -> Path:
    """Return a folder whose first photograph shows two magenta ellipses on green, told by its mask; 800 x 1200."""
    for number in range(12):
        write_photograph(tmp_path / f"{number:02d}.jpg", number)
    picture = np.zeros((800, 1200, 3), np.uint8)
    picture[:] = (0, 200, 0)
    mask = np.zeros((800, 1200), np.uint8)
    for centre, axes in (((300, 400), (120, 240)), ((900, 400), (120, 240))):
        cv2.ellipse(picture, centre, axes, 0, 0, 360, (200, 0, 200), cv2.FILLED)
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 7, cv2.FILLED)
    mask[5, 5] = 7  # a speck is no object
    (tmp_path / "mask").mkdir()
    cv2.imwrite(str(tmp_path / "00.jpg"), picture)
    cv2.imwrite(str(tmp_path / "mask" / "00.png"), mask)
    return tmp_path


def test_a_mask_states_the_object(masked_folder: Path) -> None:
    """Decoded at half size and scaled, the mask still lies on its object."""
    album = album_of(masked_folder)
    photograph = album[0]
    assert photograph.picture.shape == (208, 312, 4)
    # 240 x 480 px about (300, 400) and (900, 400), at 208 / 800 of the size.
    expected = np.array([(46.8, 41.6, 62.4, 124.8), (202.8, 41.6, 62.4, 124.8)])
    found = photograph.objects_xywh[np.argsort(photograph.objects_xywh[:, 0])]
    np.testing.assert_allclose(found, expected, atol=1.5)
    assert not len(album[1].objects_xywh)

    picture = cut(album, width=64, height=64).picture()
    solid = picture[..., 3] > 250
    red, green, blue = (picture[..., channel][solid].mean() for channel in range(3))
    assert green < 0.25 * red and green < 0.25 * blue
    rows, columns = np.nonzero(picture[..., 3] >= 128)
    assert np.ptp(rows) + 1 == pytest.approx(64, abs=3) and np.ptp(columns) + 1 == pytest.approx(32, abs=3)


def test_most_objects_are_cut_along_a_mask_where_there_is_one(masked_folder: Path) -> None:
    rng = np.random.default_rng(0)
    looks = PhotoLooks(album_of(masked_folder), rng)
    along_a_mask = [looks.recipe(rng, 40, 30).photograph == 0 for _ in range(400)]
    assert np.mean(along_a_mask) == pytest.approx(0.85, abs=0.06)


def test_masks_that_do_not_fit_are_named(masked_folder: Path) -> None:
    (masked_folder / "mask" / "other.png").write_bytes((masked_folder / "mask" / "00.png").read_bytes())
    with pytest.raises(ValueError, match=r"mask/other\.png belongs to no photograph"):
        StillsDataset(masked_folder, "train")
    (masked_folder / "mask" / "other.png").unlink()
    cv2.imwrite(str(masked_folder / "mask" / "00.png"), np.ones((80, 120), np.uint8))
    with pytest.raises(UnreadableFrameError, match=r"mask/00\.png is 120 x 80 px, unlike its photograph .*00\.jpg"):
        album_of(masked_folder)[0]


def test_large_photographs_are_decoded_reduced_and_look_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8), (1800, 1000), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "large.jpg"), coarse)
    cv2.imwrite(str(tmp_path / "large.png"), coarse)
    reduced, whole = album_of(tmp_path)[0].picture, album_of(tmp_path)[1].picture
    assert reduced.shape == whole.shape == (208, 374, 4)
    assert np.abs(reduced.astype(int) - whole).mean() < 1.5


def test_memory_is_bounded(folder: Path) -> None:
    one = album_of(folder)[0].picture.nbytes
    album = album_of(folder, memory=5 * one)
    for index in range(COUNT):
        album[index]
    assert len(album._kept) <= 5 and album._kept_bytes <= 5 * one
    assert album._kept_bytes == sum(photograph.picture.nbytes for photograph in album._kept.values())
    assert album[COUNT - 1] is album[COUNT - 1]


def test_a_damaged_photograph_is_named(tmp_path: Path) -> None:
    for number in range(40):
        write_photograph(tmp_path / f"{number}.jpg", number)
    dataset = StillsDataset(tmp_path, "train")
    broken = dataset.album.names[0]
    (tmp_path / broken).write_bytes((tmp_path / broken).read_bytes()[:300])
    with pytest.raises(UnreadableFrameError, match=rf"cannot read the photograph .*{broken}.*remove or replace"):
        dataset.album[0]
    (tmp_path / broken).write_text("not a picture")
    with pytest.raises(UnreadableFrameError, match=broken):
        dataset.album[0]


def test_folders_that_cannot_be_used_are_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no photograph in"):
        StillsDataset(tmp_path, "train")
    for number in range(9):
        write_photograph(tmp_path / f"{number}.jpg", number)
    with pytest.raises(ValueError, match=r"holds 9 photographs; at least 10 are needed.*add more"):
        StillsDataset(tmp_path, "train")
    for number in range(9, 12):
        write_photograph(tmp_path / f"{number}.jpg", number)
    assert len(StillsDataset(tmp_path, "train").album) >= 6
    with pytest.raises(ValueError, match=r"of the 12 photographs .* belong to the split (val|test)"):
        for split in ("val", "test"):
            StillsDataset(tmp_path, split)


def test_packed_photographs_give_the_same_videos(masked_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    packed = tmp_path_factory.mktemp("packed")
    write_lmdb(masked_folder, packed)
    from_files, from_pack = open_dataset("stills", "train", masked_folder), open_dataset("stills", "train", packed)
    assert isinstance(from_files, StillsDataset) and isinstance(from_pack, StillsDataset)
    assert from_files.album.names == from_pack.album.names
    for index in range(4):
        np.testing.assert_array_equal(from_files.scene(index).render(9).image, from_pack.scene(index).render(9).image)


def test_easy_scenes_have_a_smooth_background_and_rigid_targets(folder: Path) -> None:
    dataset = StillsDataset(folder, "train")
    looks = PhotoLooks(dataset.album, np.random.default_rng(0))
    sharpness = []
    for detail in (0.0, 0.5, 1.0):
        picture, pixel = looks.plane(np.random.default_rng(1), (204, 272), detail)
        assert picture.shape[0] * pixel >= 204 and picture.shape[1] * pixel >= 272  # it covers the frame
        sharpness.append(cv2.Laplacian(picture[..., 1], cv2.CV_32F).std())
    assert sharpness[0] < sharpness[1] < sharpness[2]
    for index in range(6):
        scene = dataset.scene(index, difficulty=0.0)
        areas = [label.mask.sum() / label.visibility for label in map(scene.label, (0, 50, 99))]
        assert max(areas) / min(areas) < 1.1


@pytest.fixture(scope="module")
def real() -> StillsDataset:
    if not STILLS.is_dir():
        pytest.skip(f"no photographs in {STILLS}")
    return StillsDataset(STILLS, "train")


def test_real_photographs_make_trackable_videos(real: StillsDataset) -> None:
    contrast, visible = [], []
    for index in range(60):
        scene = real.scene(index)
        frame = scene.render(50)
        assert scene.label(0).visibility == 1
        visible.append(frame.label.visible)
        if frame.label.visible:
            contrast.append(frame.image[frame.label.mask].std())
    assert np.mean(visible) > 0.8
    # A target without any texture cannot be told from its look-alikes.
    assert np.median(contrast) > 25 and np.quantile(contrast, 0.1) > 8
