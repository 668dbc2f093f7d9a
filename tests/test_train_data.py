"""Sources, crops, old film. pytest tests/test_train_data.py"""

import functools
import gzip
import http.server
import tarfile
import threading

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from train_tiny import crops_of, write_folder, write_png, write_tar  # noqa: E402

from edgecolor.color.lab import srgb_to_lab  # noqa: E402
from edgecolor.errors import ConfigError, MediaError  # noqa: E402
from edgecolor.train.config import DataConfig, DegradeConfig, Source  # noqa: E402
from edgecolor.train.dataset import Photographs, motion_in_cells, prefetch  # noqa: E402
from edgecolor.train.degrade import EFFECTS, Degrade, one_effect, through_codec  # noqa: E402
from edgecolor.train.device_data import DeviceCrops  # noqa: E402
from edgecolor.train.pictures import decode_rgb, ends_too_soon, expand, read_pictures, tar_pictures  # noqa: E402
from edgecolor.train.sources import Counts, samples_of, tone_spread  # noqa: E402


@pytest.fixture(scope="module")
def pictures(photograph):
    return crops_of(photograph)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pictures):
    return write_folder(tmp_path_factory.mktemp("data") / "photos", pictures)


def photographs(*sources: Source, **options) -> Photographs:
    pairs, degrade = options.pop("pairs", False), options.pop("degrade", None)
    return Photographs(DataConfig(sources=sources, **{"min_chroma": 0.0, **options}), pairs, degrade)


def test_folder_and_shard_give_the_same_pictures_in_the_same_order(folder, tmp_path, pictures):
    tar = write_tar(tmp_path / "photos-00000.tar", folder)
    for source in (Source(str(folder), "folder"), Source(str(tar)), Source(str(tmp_path / "photos-*.tar"))):
        found = photographs(source).pictures
        assert len(found) == len(pictures)
        assert all((a == b).all() for a, b in zip(found, pictures, strict=True))


def test_shards_are_read_from_a_url_pattern(folder, tmp_path):
    for i in range(2):
        write_tar(tmp_path / f"part-{i:02d}.tar", folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), QuietHandler.at(tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/part-{{00..01}}.tar"
        assert len(photographs(Source(url)).pictures) == 24
        with pytest.raises(MediaError, match=r"part-07\.tar"):
            list(tar_pictures(url.replace("{00..01}", "07")))
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        pass

    @classmethod
    def at(cls, folder):
        return functools.partial(cls, directory=str(folder))


def test_a_counted_pattern_keeps_its_leading_zeros():
    assert expand("http://x/a-{008..010}.tar") == [f"http://x/a-{i:03d}.tar" for i in (8, 9, 10)]


def test_stl10_and_cifar10_binaries_come_out_upright(tmp_path):
    rng = np.random.default_rng(0)
    stl, cifar = rng.integers(0, 256, (2, 96, 96, 3), np.uint8), rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
    stl.transpose(0, 3, 2, 1).tofile(tmp_path / "unlabeled_X.bin")  # channels, then columns, then rows
    rows = np.concatenate([np.full((3, 1), 7, np.uint8), cifar.transpose(0, 3, 1, 2).reshape(3, -1)], axis=1)
    rows.tofile(tmp_path / "data_batch_1.bin")
    for kind, truth in (("stl10", stl), ("cifar10", cifar)):
        found = photographs(Source(str(tmp_path), kind)).pictures
        assert len(found) == len(truth) and all((a == b).all() for a, b in zip(found, truth, strict=True))


def test_a_binary_of_the_wrong_length_is_refused(tmp_path):
    (tmp_path / "train_X.bin").write_bytes(bytes(1000))
    with pytest.raises(ConfigError, match=r"train_X\.bin holds 1000 bytes"):
        photographs(Source(str(tmp_path), "stl10"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory, photograph):
    """24 frames of 96 x 64 over which the camera moves 2 pixels to the right each."""
    import av

    path = tmp_path_factory.mktemp("clip") / "pan.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "bgr0"
        for i in range(24):
            frame = np.ascontiguousarray(photograph[60:124, 60 + 2 * i : 156 + 2 * i])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_clip_gives_pairs_of_neighbouring_frames(clip, photograph):
    found = photographs(Source(str(clip), "video", every=8), pairs=True)
    assert len(found.pictures) == len(found.previous) == 3  # frames 1, 9 and 17, each with the one before
    for i, frame in enumerate((1, 9, 17)):
        assert (found.pictures[i] == photograph[60:124, 60 + 2 * frame : 156 + 2 * frame]).all()
        assert (found.previous[i] == photograph[60:124, 58 + 2 * frame : 154 + 2 * frame]).all()


def test_the_motion_of_a_pan_is_found(clip):
    batch = photographs(Source(str(clip), "video"), pairs=True, zoom=(1.0, 1.0)).batch((0, 0), 64, 4)
    seen = batch.seen > 0.9
    assert seen.float().mean() > 0.5
    dx = batch.motion[..., 0][seen].abs()  # crops may be mirrored
    assert abs(float(dx.median()) - 2 / 4) < 0.1  # 2 pixels are half a cell
    assert float(batch.motion[..., 1][seen].abs().median()) < 0.05


def test_still_frames_have_no_motion_and_are_seen():
    lightness = np.random.default_rng(0).uniform(20, 80, (64, 64)).astype(np.float32)
    motion, seen = motion_in_cells(lightness, lightness, 4)
    assert np.abs(motion).max() < 0.05 and seen.mean() > 0.9


def test_bad_pictures_are_skipped_and_counted(tmp_path, pictures):
    folder = write_folder(tmp_path / "photos", pictures[:4])
    whole = (folder / "photo_00.png").read_bytes()
    (folder / "photo_00.png").write_bytes(whole[:60])
    (folder / "photo_01.png").write_bytes(b"once upon a time")
    (folder / "photo_02.png").write_bytes(b"")
    write_png(folder / "small.png", pictures[0][:20, :20])
    found = photographs(Source(str(folder), "folder"))
    assert len(found.pictures) == 1 and (found.counts.unreadable, found.counts.small) == (3, 1)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_picture_that_breaks_off_is_no_picture(photograph, suffix, share):
    data = cv2.imencode(suffix, photograph[..., ::-1])[1].tobytes()
    assert decode_rgb(data).shape == photograph.shape
    assert decode_rgb(data[: int(len(data) * share)]) is None


def test_a_jpeg_that_breaks_off_is_known_by_its_markers(photograph):
    small, progressive = (
        cv2.imencode(".jpg", p[..., ::-1], (cv2.IMWRITE_JPEG_PROGRESSIVE, mode))[1].tobytes()
        for p, mode in ((photograph[:32, :32], 0), (photograph, 1))
    )
    thumbnail = b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small  # in an APP1 segment, as cameras do
    whole = progressive[:2] + thumbnail + progressive[2:]
    assert not ends_too_soon(whole) and not ends_too_soon(whole + b"trailing bytes")
    assert ends_too_soon(whole[:-2]) and ends_too_soon(whole[: len(thumbnail) + 1000])


def test_files_that_cannot_be_read_are_skipped_and_counted(tmp_path, pictures):
    folder = write_folder(tmp_path / "photos", pictures[:2])
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "folder.png").mkdir()
    found = photographs(Source(str(folder), "folder"))
    assert len(found.pictures) == 2 and found.counts.unreadable == 2
    assert [rgb is None for _, rgb in read_pictures(folder)].count(True) == 2


@pytest.mark.parametrize("damage", [lambda d, at: d[:at], lambda d, at: d[:at] + b"x" * 512 + d[at + 512 :]])
def test_a_shard_that_is_damaged_between_two_pictures_is_used_as_far_as_it_goes(folder, tmp_path, damage):
    tar = write_tar(tmp_path / "photos.tar", folder)
    with tarfile.open(tar) as whole:
        fourth = whole.getmembers()[3].offset
    tar.write_bytes(damage(tar.read_bytes(), fourth))
    found = photographs(Source(str(tar)))
    assert len(found.pictures) == 3 and found.counts.shards == [str(tar)]


def test_a_compressed_shard_that_is_damaged_is_used_as_far_as_it_goes(folder, tmp_path):
    tar = write_tar(tmp_path / "photos.tar", folder).read_bytes()
    packed = bytearray(gzip.compress(tar, 1))
    packed[len(packed) // 2 : len(packed) // 2 + 40] = bytes(40)
    (tmp_path / "photos.tar.gz").write_bytes(packed)
    found = photographs(Source(str(tmp_path / "photos.tar.gz")))
    assert 0 < len(found.pictures) < 12 and found.counts.shards


def test_near_gray_and_toned_photographs_are_dropped(tmp_path, pictures):
    gray = pictures[0].mean(axis=2, keepdims=True)
    sepia = np.clip(gray * [1.0, 0.93, 0.8], 0, 255).astype(np.uint8)
    folder = write_folder(tmp_path / "photos", [pictures[1], np.repeat(gray, 3, 2).astype(np.uint8), sepia])
    found = photographs(Source(str(folder), "folder"), min_chroma=9.0)
    assert found.counts.gray == 1 and len(found.pictures) == 2  # the strong tone is left
    found = photographs(Source(str(folder), "folder"), min_chroma=9.0, min_spread=1.5)
    assert found.counts.gray == 2 and (found.pictures[0] == pictures[1]).all()
    assert tone_spread(sepia) < 0.5 and tone_spread(pictures[1]) > 2


def test_a_truncated_shard_is_used_as_far_as_it_goes(folder, tmp_path):
    tar = write_tar(tmp_path / "photos.tar", folder)
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])
    found = photographs(Source(str(tar)))
    assert 0 < len(found.pictures) < 12 and found.counts.shards == [str(tar)]


def test_sources_with_nothing_in_them_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    write_tar(tmp_path / "empty.tar", tmp_path / "empty")
    (tmp_path / "text.tar").write_text("no tar")
    for kind, name in (("shards", "empty.tar"), ("folder", "empty"), ("shards", "text.tar"), ("shards", "none-*.tar"),
                       ("folder", "none"), ("video", "none.mp4"), ("cifar10", "empty")):  # fmt: skip
        with pytest.raises((ConfigError, MediaError), match=name.replace("*", r"\*").replace(".", r"\.")):
            photographs(Source(str(tmp_path / name), kind))
    with pytest.raises(ConfigError, match=r"data\.sources"):
        photographs()


def test_weights_that_leave_nothing_are_refused(folder):
    with pytest.raises(ConfigError, match="no picture"):
        photographs(Source(str(folder), "folder", weight=0.0))
    with pytest.raises(ConfigError, match="no picture"):
        photographs(Source(str(folder), "folder"), weights={"photo": 0.0})


def test_sources_are_drawn_by_their_weights(tmp_path):
    bright, dark = np.full((40, 40, 3), 200, np.uint8), np.full((40, 40, 3), 20, np.uint8)
    often, seldom = (write_folder(tmp_path / n, [p]) for n, p in (("often", bright), ("seldom", dark)))
    found = photographs(Source(str(often), "folder", weight=3.0), Source(str(seldom), "folder"))
    batch = found.batch((0,), 32, 400)
    assert float((batch.lightness.mean(dim=(1, 2, 3)) > 50).float().mean()) == pytest.approx(0.75, abs=0.06)


def test_a_crop_shows_the_lab_of_its_picture(folder, pictures):
    found = photographs(Source(str(folder), "folder"), zoom=(1.0, 1.0), gamma=0.0)
    batch = found.batch((3,), 64, 2)  # the short side is 64, so nothing is scaled
    draws = [found.draw(rng) for rng in [np.random.default_rng((3,))] for _ in range(2)]
    for i, draw in enumerate(draws):
        part = pictures[draw.picture][:, draw.left : draw.left + 64]
        lab = srgb_to_lab((part[:, ::-1] if draw.flip else part).astype(np.float64) / 255)
        assert np.abs(batch.lightness[i, 0].numpy() - lab[..., 0]).max() < 0.01
        cells = lab[..., 1:].reshape(16, 4, 16, 4, 2).mean(axis=(1, 3))
        assert np.abs(batch.ab[i].numpy() - cells).mean() < 1.0  # averaged as Lab here, as codes there


def test_a_seed_brings_back_its_batch_and_parts_make_up_the_whole(folder):
    found = photographs(Source(str(folder), "folder"), degrade=Degrade(DegradeConfig(grain=1.0, dust=0.5)))
    whole, again, other = (found.batch(seed, 32, 6) for seed in ((0, 5), (0, 5), (0, 6)))
    assert (whole.lightness == again.lightness).all() and not (whole.lightness == other.lightness).all()
    parts = [found.batch((0, 5), 32, 6, part) for part in (slice(0, 3), slice(3, 6))]
    assert (torch.cat([part.lightness for part in parts]) == whole.lightness).all()
    assert (torch.cat([part.ab for part in parts]) == whole.ab).all()


def test_crops_cut_on_the_device_are_those_cut_in_memory(folder):
    found = photographs(Source(str(folder), "folder"))
    ours, truth = DeviceCrops(found, torch.device("cpu")).batch((1,), 32, 8), found.batch((1,), 32, 8)
    assert ours.lightness.shape == truth.lightness.shape and ours.ab.shape == truth.ab.shape
    assert float((ours.lightness - truth.lightness).abs().mean()) < 1.0
    assert float((ours.ab - truth.ab).abs().mean()) < 1.0


@pytest.mark.parametrize("name", EFFECTS)
def test_each_effect_changes_the_picture_within_its_range_and_is_seeded(name, pictures):
    lightness = srgb_to_lab(pictures[0][:64, :64] / 255.0)[..., 0].astype(np.float32)
    effect = one_effect(name)
    first, again, other = (effect([lightness], np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert first.shape == lightness.shape and first.dtype == np.float32
    assert first.min() >= 0 and first.max() <= 100.001 and np.isfinite(first).all()
    assert (first == again).all() and not (first == other).all()
    assert np.abs(first - lightness).mean() > 0.05
    if name not in ("grain", "flicker", "gamma", "fading", "dust", "scratches"):  # what the picture shows stays visible
        assert np.corrcoef(first.ravel(), lightness.ravel())[0, 1] > 0.9


def test_no_effect_leaves_the_picture(pictures):
    lightness = srgb_to_lab(pictures[0] / 255.0)[..., 0].astype(np.float32)
    (same,) = Degrade(DegradeConfig())([lightness], np.random.default_rng(0))
    assert np.abs(same - lightness).max() < 0.05


def test_switching_one_effect_off_leaves_the_others_as_they_were(pictures):
    lightness = srgb_to_lab(pictures[0] / 255.0)[..., 0].astype(np.float32)
    both = Degrade(DegradeConfig(fading=1.0, gamma=1.0))
    one = Degrade(DegradeConfig(gamma=1.0))
    rng = np.random.default_rng
    faded_first = one_effect("fading")([lightness], rng(4))
    assert np.abs(both([lightness], rng(4))[0] - one(faded_first, rng(4))[0]).max() < 0.1


def test_effects_of_a_shot_hold_for_both_frames_and_those_of_a_frame_do_not(pictures):
    lightness = srgb_to_lab(pictures[0] / 255.0)[..., 0].astype(np.float32)
    rng = np.random.default_rng
    for name, same in (("fading", True), ("vignetting", True), ("grain", False), ("flicker", False)):
        now, before = one_effect(name)([lightness, lightness], rng(5))
        assert (now == before).all() == same, name


def test_the_codec_keeps_the_range_of_the_codes():
    ramp = np.tile(np.arange(0, 256, 2, dtype=np.uint8), (64, 1))
    assert np.abs(through_codec(ramp, 4).astype(int) - ramp).mean() < 1.5


def test_batches_come_in_order_and_their_errors_arrive():
    assert list(prefetch(lambda step: step * 10, 3, 9, workers=2)) == [30, 40, 50, 60, 70, 80]

    def fail(step):
        if step == 2:
            raise ConfigError("step 2")
        return step

    batches = prefetch(fail, 0, 5)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(ConfigError, match="step 2"):
        next(batches)


def test_samples_without_pairs_hold_no_previous_frame(clip):
    assert all(s.previous is None for s in samples_of(Source(str(clip), "video"), Counts(), pairs=False))
