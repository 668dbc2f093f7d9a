"""Every metric against another implementation or a case worked by hand. pytest tests/test_evaluate_metrics.py"""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="evaluation needs torch")
pytest.importorskip("skimage", reason="compared with scikit-image")

from skimage.color import deltaE_ciede2000, rgb2lab  # noqa: E402
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity  # noqa: E402

from edgecolor.errors import ShapeError  # noqa: E402
from edgecolor.train import evaluate, metrics  # noqa: E402
from edgecolor.train.classifier import classifier_crop, classify  # noqa: E402
from edgecolor.train.clip_metrics import ColorDistributionConsistency, WarpError, jensen_shannon  # noqa: E402
from edgecolor.train.distances import frechet_distance, kernel_distance, kernel_distance_interval  # noqa: E402

# L*, a*, b* of both colors and their difference, from the table of Sharma, Wu and Dalal (2005): the cases that catch
# wrong mean hues, a missing rotation and wrong quadrants.
SHARMA = (
    (50.0, 2.6772, -79.7751, 50.0, 0.0, -82.7485, 2.0425),
    (50.0, -1.3802, -84.2814, 50.0, 0.0, -82.7485, 1.0),
    (50.0, 2.49, -0.001, 50.0, -2.49, 0.0009, 7.1792),
    (50.0, 2.49, -0.001, 50.0, -2.49, 0.0011, 7.2195),
    (50.0, 0.0, 0.0, 50.0, -1.0, 2.0, 2.3669),
    (50.0, 2.5, 0.0, 73.0, 25.0, -18.0, 27.1492),
    (50.0, 2.5, 0.0, 50.0, 0.0, -2.5, 4.3065),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (22.7233, 20.0904, -46.694, 23.0331, 14.973, -42.5619, 2.0373),
    (2.0776, 0.0795, -1.135, 0.9033, -0.0636, -0.5514, 0.9082),
)


def torchmetrics(module: str):
    """A module of torchmetrics, which looks at torchvision too; the test is skipped where it is not installed."""
    from torchvision_ops import declare_torchvision_ops

    declare_torchvision_ops()
    return pytest.importorskip(module, reason="needs torchmetrics")


@pytest.fixture(scope="module")
def pair(photograph) -> tuple[np.ndarray, np.ndarray]:
    """A photograph, and itself with its colors turned and noise: (128, 160, 3) uint8 each."""
    original = np.ascontiguousarray(photograph[40:168, 100:260])
    noise = np.random.default_rng(0).integers(-30, 31, original.shape)
    return np.clip(original[..., [1, 2, 0]].astype(int) + noise, 0, 255).astype(np.uint8), original


@pytest.mark.parametrize("case", SHARMA)
def test_ciede2000_gives_the_published_test_data(case):
    lab, reference = (np.array(values, dtype=np.float64) for values in (case[:3], case[3:6]))
    assert float(metrics.ciede2000(lab, reference)) == pytest.approx(case[6], abs=5e-5)
    assert float(metrics.ciede2000(reference, lab)) == pytest.approx(case[6], abs=5e-5)


def test_ciede2000_in_float32_equals_scikit_image_on_photographs(pair):
    lab, reference = map(metrics.rgb8_to_lab, pair)
    expected = deltaE_ciede2000(lab.astype(np.float64), reference.astype(np.float64))
    assert np.abs(metrics.ciede2000(lab, reference) - expected).max() < 1e-3
    assert metrics.mean_ciede2000(lab, reference) == pytest.approx(expected.mean(), abs=1e-4)


def test_fast_lab_is_scikit_images_up_to_its_rounded_constants(pair):
    assert np.abs(metrics.rgb8_to_lab(pair[1]) - rgb2lab(pair[1])).max() < 0.02


def test_psnr_equals_scikit_image_and_is_infinite_for_equal_pictures(pair):
    ours, original = pair
    expected = peak_signal_noise_ratio(original, ours, data_range=255)
    assert metrics.psnr(ours, original) == pytest.approx(expected, abs=1e-5)
    assert metrics.psnr(original, original) == float("inf")


def test_ssim_equals_scikit_image_with_the_windows_of_the_paper(pair):
    ours, original = pair
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(ours, original, channel_axis=2, data_range=255, **options)
    assert metrics.ssim(ours, original) == pytest.approx(expected, abs=1e-5)


def test_ssim_refuses_pictures_smaller_than_its_window():
    tiny = np.zeros((10, 40, 3), np.uint8)
    with pytest.raises(ShapeError, match="window"):
        metrics.ssim(tiny, tiny)


def test_psnr_and_ssim_equal_torchmetrics(pair):
    functional = torchmetrics("torchmetrics.functional.image")
    ours, original = (torch.from_numpy(p).permute(2, 0, 1)[None].double() for p in pair)
    psnr = functional.peak_signal_noise_ratio(ours, original, data_range=255.0)
    assert metrics.psnr(*pair) == pytest.approx(float(psnr), abs=1e-4)
    ssim = functional.structural_similarity_index_measure(ours, original, sigma=1.5, kernel_size=11, data_range=255.0)
    assert metrics.ssim(*pair) == pytest.approx(float(ssim), abs=2e-3)  # it mirrors at the border, ours leaves it out


def test_colorfulness_of_two_colors_is_what_the_formula_gives_by_hand():
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0] = (200, 100, 50)  # rg 100, yb 100
    picture[1] = (100, 200, 50)  # rg -100, yb 100
    # signed: rg has mean 0 and deviation 100, yb mean 100 and deviation 0
    assert metrics.colorfulness(picture) == pytest.approx(100 + 0.3 * 100)
    # absolute: both have mean 100 and deviation 0
    assert metrics.colorfulness_abs(picture) == pytest.approx(0.3 * np.hypot(100, 100))


def test_gray_has_no_color():
    gray = np.repeat(np.arange(0, 240, dtype=np.uint8).reshape(12, 20, 1), 3, axis=2)
    assert metrics.colorfulness(gray) == metrics.colorfulness_abs(gray) == 0
    assert metrics.mean_chroma(metrics.rgb8_to_lab(gray)) < 1e-4


def test_auc_is_the_area_under_the_curve_of_errors():
    rng = np.random.default_rng(1)
    lab, reference = np.zeros((40, 40, 3)), np.zeros((40, 40, 3))
    lab[..., 1:] = rng.uniform(-120, 120, (40, 40, 2))
    error = np.hypot(lab[..., 1], lab[..., 2])
    thresholds = np.linspace(0, 150, 3001)
    curve = [(error <= t).mean() for t in thresholds]
    assert metrics.ab_error_auc(lab, reference) == pytest.approx(np.trapezoid(curve, thresholds) / 150, abs=1e-3)
    assert metrics.ab_error_auc(reference, reference) == 1


def test_pictures_of_different_sizes_are_refused():
    with pytest.raises(ShapeError, match="one size"):
        metrics.psnr(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 21, 3), np.uint8))
    with pytest.raises(ShapeError, match="uint8"):
        metrics.psnr(np.zeros((20, 20)), np.zeros((20, 20)))


def test_the_figures_of_a_picture_equal_scikit_image_and_numpy(pair):
    ours, original = pair
    figures = metrics.picture_metrics(ours, original)
    lab, reference = (rgb2lab(picture) for picture in pair)
    ab_error = lab[..., 1:] - reference[..., 1:]
    rgb_error = ours / 255 - original / 255
    assert figures["l1_ab"] == pytest.approx(np.abs(ab_error).mean(), abs=0.02)
    assert figures["l2_ab"] == pytest.approx((ab_error**2).mean(), rel=1e-3)
    assert figures["l1_rgb"] == pytest.approx(np.abs(rgb_error).mean(), rel=1e-5)
    assert figures["l2_rgb"] == pytest.approx(mean_squared_error(ours / 255, original / 255), rel=1e-5)
    assert figures["ciede2000"] == pytest.approx(deltaE_ciede2000(lab, reference).mean(), abs=0.01)
    assert figures["chroma"] == pytest.approx(np.hypot(lab[..., 1], lab[..., 2]).mean(), abs=0.02)
    assert figures["chroma_original"] == pytest.approx(np.hypot(reference[..., 1], reference[..., 2]).mean(), abs=0.02)
    assert figures["psnr"] == pytest.approx(peak_signal_noise_ratio(original, ours), abs=1e-4)
    share = np.minimum(np.hypot(ab_error[..., 0], ab_error[..., 1]), 150).mean() / 150
    assert figures["auc_ab"] == pytest.approx(1 - share, abs=1e-3)
    assert (figures["colorfulness"], figures["colorfulness_original"]) == tuple(map(metrics.colorfulness, pair))
    assert figures["colorfulness_abs_original"] == metrics.colorfulness_abs(original)


def test_l1_and_l2_in_rgb_equal_torchmetrics(pair):
    regression = torchmetrics("torchmetrics.functional.regression")
    a, b = (torch.from_numpy(picture).double().flatten() / 255 for picture in pair)
    figures = metrics.picture_metrics(*pair)
    assert figures["l1_rgb"] == pytest.approx(float(regression.mean_absolute_error(a, b)), rel=1e-5)
    assert figures["l2_rgb"] == pytest.approx(float(regression.mean_squared_error(a, b)), rel=1e-5)


def test_the_summary_of_two_pictures_is_what_they_give_by_hand():
    row = dict.fromkeys(metrics.picture_metrics(np.zeros((12, 12, 3), np.uint8), np.zeros((12, 12, 3), np.uint8)), 0.0)
    first = row | {"psnr": 20.0, "ssim": float("nan"), "chroma": 6, "chroma_original": 10}
    first |= {"colorfulness": 30, "colorfulness_original": 50, "colorfulness_abs": 10, "colorfulness_abs_original": 20}
    second = row | {"psnr": float("inf"), "ssim": 0.5, "chroma": 3, "chroma_original": 2}
    second |= {"colorfulness": 40, "colorfulness_original": 30, "colorfulness_abs": 50, "colorfulness_abs_original": 20}
    means = evaluate.summarize([first, second])
    assert means["psnr"] == 60  # a picture equal to its original counts as 100 dB
    assert means["ssim"] == 0.5  # a picture too small for the window does not count
    assert (means["colorfulness"], means["colorfulness_original"]) == (35, 40)
    assert means["colorfulness_percent"] == pytest.approx(87.5)
    assert means["delta_colorfulness"] == pytest.approx(5) and means["delta_colorfulness_per_picture"] == 15
    assert (means["colorfulness_abs_percent"], means["delta_colorfulness_abs"]) == (150, 10)
    assert means["chroma_ratio"] == pytest.approx(4.5 / 6)


def test_recognition_counts_the_pictures_whose_class_stays_and_compares_their_features(monkeypatch):
    labels = {10: 3, 11: 3, 20: 5, 21: 6, 30: 7, 31: 7}  # first code of a crop -> class; colored x0, original x1
    features = np.random.default_rng(6).random((40, 8)).astype(np.float32)

    def look(classifier, crops):
        codes = crops[:, 0, 0, 0].tolist()
        return np.array([labels[code] for code in codes]), features[codes]

    monkeypatch.setattr(evaluate, "classify", look)
    recognition = evaluate.Recognition(None)
    for code in (10, 20, 30):
        recognition.add(*(np.full((256, 256, 3), c, np.uint8) for c in (code, code + 1)))
    figures = recognition.metrics()
    assert figures["recognition_agreement"] == pytest.approx(2 / 3)
    expected = 1000 * kernel_distance(features[[10, 20, 30]], features[[11, 21, 31]])
    assert figures["kernel_distance_x1000"] == pytest.approx(expected)
    assert figures["kernel_distance_x1000_low"] <= expected <= figures["kernel_distance_x1000_high"]


def test_the_classifier_sees_the_center_of_the_picture_whose_short_side_was_made_256(photograph):
    image = pytest.importorskip("PIL.Image", reason="compared with Pillow")
    picture = np.repeat(np.repeat(photograph, 2, axis=0), 2, axis=1)  # 512 x 768
    crop = classifier_crop(picture)
    shrunk = np.asarray(image.fromarray(picture).resize((384, 256), image.Resampling.BOX))
    assert crop.shape == (224, 224, 3)
    assert np.abs(crop.astype(int) - shrunk[16:240, 80:304]).max() <= 1


def test_the_classifier_gets_rgb_between_minus_one_and_one():
    class Spy(torch.nn.Linear):
        def forward(self, rgb):
            self.seen = rgb
            return torch.zeros(len(rgb), 3), torch.zeros(len(rgb), 2)

    spy = Spy(1, 1)
    crops = np.zeros((2, 4, 4, 3), np.uint8)
    crops[1] = (255, 0, 51)
    classify(spy, crops)
    assert spy.seen.shape == (2, 3, 4, 4) and float(spy.seen[0].max()) == -1
    assert spy.seen[1, :, 0, 0].tolist() == pytest.approx([1, -1, -0.6])


def test_kernel_distance_is_the_mean_over_pairs_of_different_pictures():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(7, 5)), rng.normal(0.5, 1, size=(7, 5))

    def k(a, b):
        return (a @ b / 5 + 1) ** 3

    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    expected = np.mean([k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(y[i], x[j]) for i, j in pairs])
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert kernel_distance(x, x) == pytest.approx(0, abs=1e-9)
    low, high = kernel_distance_interval(x, y)
    assert low < expected < high


def test_the_interval_is_that_of_a_plain_bootstrap_over_different_pictures(monkeypatch):
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(12, 4)), rng.normal(0.6, 1, size=(12, 4))

    def k(a, b):
        return (a @ b / 4 + 1) ** 3

    estimates = []
    for _ in range(600):
        drawn = rng.integers(0, 12, 12)
        pairs = [(i, j) for i in drawn for j in drawn if i != j]  # a picture drawn twice is no pair
        h = [k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(y[i], x[j]) for i, j in pairs]
        estimates.append(np.mean(h))
    low, high = np.percentile(estimates, (2.5, 97.5))
    width = high - low
    assert kernel_distance_interval(x, y) == pytest.approx((low, high), abs=0.12 * width)
    assert kernel_distance_interval(x, y) == kernel_distance_interval(x, y)  # seeded


def test_kernel_distance_equals_torchmetrics_but_for_pictures_paired_with_their_own_originals():
    module = torchmetrics("torchmetrics.image.kid")
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(30, 16)), rng.normal(0.2, 1.1, size=(30, 16))
    theirs = float(module.poly_mmd(torch.from_numpy(x), torch.from_numpy(y), degree=3, gamma=None, coef=1.0))
    kernel = (x @ y.T / 16 + 1) ** 3
    own = 2 * (kernel.mean() - (kernel.sum() - np.trace(kernel)) / (30 * 29))
    assert kernel_distance(x, y) == pytest.approx(theirs + own, rel=1e-6)


def test_frechet_distance_equals_the_formula_with_scipys_matrix_root():
    linalg = pytest.importorskip("scipy.linalg", reason="compared with scipy")
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(60, 6)), rng.normal(0.3, 1.5, size=(50, 6)) @ rng.normal(size=(6, 6))
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * np.real(linalg.sqrtm(a @ b)))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


def test_fid_is_the_frechet_distance_of_the_features_of_squashed_pictures(pair):
    seen = []

    def features(pictures):
        seen.append(pictures.shape[1:])
        return pictures.reshape(len(pictures), -1)[:, ::40001].astype(np.float32)

    frechet = evaluate.Frechet(features)
    pictures = [
        (np.roll(ours, i, axis=1), np.roll(original, 2 * i, axis=0)) for i in range(9) for ours, original in [pair]
    ]
    for ours, original in pictures:
        frechet.add(ours, original)
    squashed = [
        np.stack([cv2.resize(p[i], (299, 299), interpolation=cv2.INTER_AREA) for p in pictures]) for i in (0, 1)
    ]
    assert frechet.value() == pytest.approx(frechet_distance(*map(features, squashed)), rel=1e-6)
    assert set(seen) == {(299, 299, 3)}


def test_jensen_shannon_equals_scipy_and_is_ln_2_for_disjoint_histograms():
    distance = pytest.importorskip("scipy.spatial.distance", reason="compared with scipy")
    rng = np.random.default_rng(5)
    p, q = (values / values.sum() for values in rng.random((2, 256)))
    p[:20] = 0
    p /= p.sum()
    assert jensen_shannon(p, q) == pytest.approx(distance.jensenshannon(p, q) ** 2, rel=1e-9)
    assert jensen_shannon(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(np.log(2))


def test_cdc_of_a_clip_that_alternates_counts_only_the_odd_distance():
    dark, bright = np.full((8, 8, 3), 10, np.uint8), np.full((8, 8, 3), 200, np.uint8)
    cdc = ColorDistributionConsistency()
    for i in range(8):
        cdc.add(bright if i % 2 else dark)
    assert cdc.value() == pytest.approx(np.log(2) / 3)  # frames 1 apart are disjoint, 2 and 4 apart are equal


def test_cdc_of_fewer_than_five_frames_is_not_a_number():
    cdc = ColorDistributionConsistency()
    for _ in range(4):
        cdc.add(np.zeros((4, 4, 3), np.uint8))
    assert np.isnan(cdc.value())


def test_warp_error_follows_motion_and_counts_flicker(photograph):
    frames = [np.ascontiguousarray(photograph[20:148, 40 + 3 * i : 200 + 3 * i]) for i in range(4)]
    flickering = [np.clip(f.astype(int) + (20 if i % 2 else 0), 0, 255).astype(np.uint8) for i, f in enumerate(frames)]
    warp = WarpError()
    for frame, other in zip(frames, flickering, strict=True):
        warp.add(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), frame, other)
    steady, unsteady = warp.values()
    assert steady < 2e-4  # brought to its place, the frame before is the frame
    assert unsteady == pytest.approx((20 / 255) ** 2, rel=0.1)
