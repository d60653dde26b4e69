"""Which scores results get, and that each compares the right pictures."""

import jax
import numpy as np
import pytest

from ssimbad_jax.metrics import colour, frechet, kernel_distance
from ssimbad_jax.models import inception
from ssimbad_jax.stages import scores
from ssimbad_jax.training import sharding

pytestmark = pytest.mark.usefixtures("quick_compilation")

COUNT = 6


@pytest.fixture(scope="module")
def pixels():
    """Results, targets and references: uint8 [6, 16, 16, 3] each."""
    return np.random.default_rng(0).integers(0, 256, (3, COUNT, 16, 16, 3), np.uint8)


def make_scorer(metrics, targets, devices=1, batch_size=4, **options):
    mesh = sharding.data_mesh(jax.devices()[:devices])
    return scores.Scorer(metrics, targets, mesh=mesh, batch_size=batch_size, seed=0, **options)


class SmallInception:
    """Stands for the network: mean colours as features."""

    def apply(self, variables, images):
        return {inception.NUM_FEATURES: variables * images.mean(axis=(1, 2))}


def test_every_metric_is_described_and_computed_somewhere():
    computed = {*scores._PICTURE_SCORES, *scores._SET_SCORES}
    assert set(scores.METRICS) == computed
    described = scores.descriptions(list(scores.METRICS), 64, has_inception=False)
    assert described["ms_ssim"]["label"] == "MS-SSIM (3 scales)"
    assert all({"label", "unit", "higher_is_better", "note"} <= set(d) for d in described.values())
    assert "inception_weights=" in described["fid"]["note"]
    with_weights = scores.descriptions(["fid"], 64, has_inception=True)
    assert "inception_weights" not in with_weights["fid"]["note"]
    better = [name for name, d in described.items() if d["higher_is_better"]]
    assert better == ["psnr", "psnr_mean_aligned", "ssim", "ms_ssim"]


def test_devices_and_batches_change_nothing(pixels):
    results, targets, references = pixels
    metrics = ("psnr", "ssim", "ms_ssim", "palette_to_reference", "frechet_vgg16")
    first = make_scorer(metrics, targets).score([results], references)
    second = make_scorer(metrics, targets, devices=8, batch_size=8).score([results], references)
    assert list(first.of_pictures) == list(metrics[:4])
    for name, values in first.of_pictures.items():
        assert values.shape == (1, COUNT)
        np.testing.assert_allclose(values, second.of_pictures[name], rtol=1e-5)
    assert first.of_sets["frechet_vgg16"] == pytest.approx(
        second.of_sets["frechet_vgg16"], rel=1e-4
    )


def test_colours_are_compared_with_target_and_reference(pixels):
    results, targets, references = pixels
    scorer = make_scorer(("colour_distance", "palette_to_reference"), targets)
    found = scorer.score([results], references).of_pictures
    as_floats = [x / np.float32(255) for x in pixels]
    expected = colour.colour_distance(as_floats[0], as_floats[1])
    np.testing.assert_allclose(found["colour_distance"][0], expected, rtol=1e-4)
    expected = colour.palette_distance(as_floats[0], as_floats[2])
    np.testing.assert_allclose(found["palette_to_reference"][0], expected, rtol=1e-4)
    obedient = scorer.score([references], references).of_pictures
    np.testing.assert_array_equal(obedient["palette_to_reference"], 0)
    assert (obedient["colour_distance"] > 1).all()


def test_sets_are_compared_for_each_seed_and_bootstrapped_together(pixels, monkeypatch):
    monkeypatch.setattr(inception, "Inception", SmallInception)
    results, targets, references = pixels
    scorer = make_scorer(("fid",), targets, inception_variables=np.float32(10))
    found = scorer.score([results, targets, references], references)
    features = [10 * np.mean(x / 255, axis=(1, 2)) for x in (results, targets, references)]
    expected = [frechet.frechet_distance(x, features[1]) for x in features]
    np.testing.assert_allclose(found.of_sets["fid"], expected, atol=1e-4)
    assert found.of_sets["fid"][1] == pytest.approx(0, abs=1e-4)
    low, high = found.intervals["fid"]
    assert low < np.mean(expected) < high


def test_kernel_and_frechet_distance_look_at_the_same_features(pixels, monkeypatch):
    monkeypatch.setattr(scores.perceptual, "vgg16_features", lambda x: x.mean(axis=(1, 2)))
    results, targets, references = pixels
    scorer = make_scorer(("frechet_vgg16", "kernel_vgg16"), targets)
    found = scorer.score([results], references).of_sets
    a, b = (np.mean(x / 255, axis=(1, 2)) for x in (results, targets))
    assert found["frechet_vgg16"][0] == pytest.approx(frechet.frechet_distance(a, b), rel=1e-3)
    expected = kernel_distance.kernel_distance(a, b)
    assert found["kernel_vgg16"][0] == pytest.approx(expected, rel=1e-3)


def test_what_cannot_be_computed_is_left_out_and_said(pixels):
    results, targets, references = pixels
    scorer = make_scorer(("psnr", "fid"), targets)
    found = scorer.score([results], references)
    assert list(found.of_pictures) == ["psnr"] and found.of_sets == {}
    notes = " ".join(scores.notes(["psnr", "fid"], COUNT, 1, has_inception=False))
    assert "weights-inception-2015-12-05" in notes and "--config.eval.inception_weights=" in notes
    assert "inception" not in " ".join(scores.notes(["fid"], COUNT, 1, has_inception=True))
    alone = make_scorer(("frechet_vgg16",), targets[:1]).score([results[:1]], references[:1])
    assert alone.of_sets == {} and alone.intervals == {}
    assert "two pictures" in " ".join(scores.notes(["frechet_vgg16"], 1, 1, has_inception=False))
    assert "3 seeds" in " ".join(scores.notes(["psnr"], COUNT, 3, has_inception=False))
