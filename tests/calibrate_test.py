import json

import jax
import ml_collections
import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.diffusion import sigma_scale
from ssimbad_jax.metrics import noise_ssim
from ssimbad_jax.stages import calibrate
from ssimbad_jax.training import sharding


def make_config(**calibration):
    return ml_collections.ConfigDict(
        {
            "seed": 0,
            "data": {"dir": "faces"},
            "diffusion": {"sigma_min": 0.002, "sigma_max": 80.0},
            "calibrate": {
                "scale": "rational",
                "c": 0.3,
                "num_images": 4,
                "num_sigmas": 24,
                "num_draws": 2,
                "max_memory_mb": 16,
                **calibration,
            },
        }
    )


@pytest.fixture(scope="module")
def images():
    """Five pictures of shaded stripes: uint8 [5, 24, 24, 3]."""
    y, x = np.mgrid[0:24, 0:24]
    stripes = [127 + 100 * np.sin((x + k * y) / (2 + k)) + 20 * (y > 12) for k in range(5)]
    return np.stack(stripes)[..., None].repeat(3, axis=-1).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """A folder with a finished calibration."""
    workdir = tmp_path_factory.mktemp("calibrated")
    calibrate.calibrate(make_config(), workdir, images, "stripes")
    return workdir


@pytest.fixture
def workdir(finished, tmp_path):
    """A copy of it that a test may change."""
    for path in finished.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def read(workdir):
    return json.loads((workdir / "calibration.json").read_text(encoding="utf-8"))


def test_everything_to_reproduce_it_is_written(finished):
    assert {path.name for path in finished.iterdir()} == {
        "calibration.json",
        "calibration.png",
        "noise_levels.png",
    }
    record = read(finished)
    request = record["request"]
    assert request["data"] == "stripes" and len(request["pictures_sha256"]) == 64
    assert (request["num_images"], request["num_sigmas"], request["num_draws"]) == (4, 24, 2)
    assert request["image_size"] == [24, 24] and request["seed"] == 0
    assert (request["sigma_min"], request["sigma_max"]) == (0.002, 80.0)
    assert "7x7" in request["ssim"] and "50 points" in request["r2"]
    assert {row["name"] for row in record["candidates"]} == sigma_scale.CANDIDATES.keys()
    r2 = [row["r2"] for row in record["candidates"]]
    assert r2 == sorted(r2, reverse=True)
    for row in (*record["candidates"], record["best"], record["table"], record["chosen"]):
        assert 0 <= row["r2"] <= 1 and 0 <= row["r2_of_mean_curve"] <= 1
        assert row["r2_standard_error_over_pictures"] > 0
        assert row["r2_standard_error_over_draws"] > 0
    assert record["best"]["r2"] >= max(
        row["r2"] for row in record["candidates"] if row["name"].startswith("σ / (σ + ")
    )
    assert record["table"]["r2_of_mean_curve"] > 0.999
    assert len(record["sigma"]) == len(record["mean_ssim"]) == 24


def known_ssim(sigma):
    """SSIM of two draws of three pictures, as a formula: [2, 3, S]."""
    c = np.array([[0.1, 0.2, 0.6], [0.3, 0.25, 0.5]])[..., None]
    return c / (sigma + c)


@pytest.fixture(scope="module")
def of_known_ssim(images, tmp_path_factory):
    """The calibration that follows from it, and the options it was asked for with."""
    asked = {}

    def stand_in(key, pictures, sigma, **options):
        asked.update(options)
        return known_ssim(sigma)

    workdir = tmp_path_factory.mktemp("known")
    config = make_config(num_images=3, num_sigmas=128)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise_ssim, "noise_ssim", stand_in)
        calibrate.calibrate(config, workdir, images, "stripes")
    return read(workdir), asked


def known_r2(phi, inverse, ssim):
    """R^2 of SSIM, a function of sigma, at 50 noise levels even in u."""
    u = np.linspace(phi(0.002), phi(80.0), 50)
    return np.apply_along_axis(lambda s: np.corrcoef(u, s)[0, 1] ** 2, -1, ssim(inverse(u)))


def known_standard_error(values):
    squares = np.sum((values - np.mean(values, axis=0)) ** 2, axis=0)
    return np.sqrt(squares / (len(values) - 1) / len(values))


@pytest.mark.parametrize(
    ("name", "phi", "inverse"),
    [
        ("σ / (σ + 0.3)", lambda sigma: sigma / (sigma + 0.3), lambda u: 0.3 * u / (1 - u)),
        ("log(σ)", np.log, np.exp),
        ("arcsinh(σ)", np.arcsinh, np.sinh),
        ("1/σ", lambda sigma: 1 / sigma, lambda u: 1 / u),
    ],
    ids=["rational", "logarithm", "arcsinh", "reciprocal"],
)
def test_r2_and_its_standard_errors_are_those_of_the_definition(name, phi, inverse, of_known_ssim):
    record, _ = of_known_ssim
    (row,) = [row for row in record["candidates"] if row["name"] == name]
    r2 = known_r2(phi, inverse, known_ssim)
    mean_curve = known_r2(phi, inverse, lambda sigma: known_ssim(sigma).mean(axis=(0, 1)))
    expected = {
        "r2": r2.mean(),
        "r2_standard_error_over_pictures": known_standard_error(r2.mean(axis=0)),
        "r2_standard_error_over_draws": known_standard_error(r2.mean(axis=1)),
        "r2_of_mean_curve": mean_curve,
    }
    assert row == {"name": name} | {k: pytest.approx(v, abs=1e-5) for k, v in expected.items()}
    if name == record["chosen"]["name"]:
        assert row.items() <= record["chosen"].items()


def test_mean_ssim_and_its_standard_error_are_over_pictures(of_known_ssim):
    record, _ = of_known_ssim
    of_pictures = known_ssim(np.array(record["sigma"])).mean(axis=0)
    np.testing.assert_allclose(record["mean_ssim"], of_pictures.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(
        record["ssim_standard_error"], known_standard_error(of_pictures), rtol=1e-9
    )


def test_draws_and_memory_are_those_of_the_config(of_known_ssim):
    _, asked = of_known_ssim
    assert asked["num_draws"] == 2 and asked["max_memory_bytes"] == 16 * 2**20


@pytest.mark.parametrize("choice", ["rational", "best", "table"])
def test_later_stages_read_the_scale_that_was_chosen(choice, images, tmp_path, capsys):
    made = calibrate.calibrate(make_config(scale=choice), tmp_path, images, "stripes")
    assert str(tmp_path / "calibration.json") in capsys.readouterr().out.splitlines()[-1]
    read_back = calibrate.scale_from_json(tmp_path / "calibration.json")
    sigma = np.geomspace(0.002, 80.0, 33)
    np.testing.assert_array_equal(read_back.forward(sigma), made.forward(sigma))
    np.testing.assert_allclose(read_back.inverse(read_back.forward(sigma)), sigma, rtol=1e-9)
    record = read(tmp_path)
    if choice == "rational":
        np.testing.assert_array_equal(made.forward(sigma), sigma / (sigma + 0.3))
    elif choice == "best":
        c = record["best"]["c"]
        np.testing.assert_array_equal(made.forward(sigma), sigma / (sigma + c))
    else:
        np.testing.assert_allclose(
            made.forward(record["table"]["sigma"]), record["table"]["u"], atol=1e-5
        )


def test_a_calibration_that_fits_is_kept(workdir, images, capsys):
    before = (workdir / "calibration.json").stat().st_mtime_ns
    calibrate.calibrate(make_config(max_memory_mb=1), workdir, images, "stripes")
    assert "kept" in capsys.readouterr().out
    assert (workdir / "calibration.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"c": 0.2}, "c was 0.3 and is 0.2 now"),
        ({"scale": "best"}, "scale was 'rational' and is 'best' now"),
        ({"num_draws": 1}, "num_draws was 2 and is 1 now"),
        ({"num_images": 3}, "pictures_sha256 was"),
    ],
)
def test_other_settings_are_measured_anew(change, reason, workdir, images, capsys):
    calibrate.calibrate(make_config(**change), workdir, images, "stripes")
    assert f"measuring, because {reason}" in capsys.readouterr().out
    calibrate.calibrate(make_config(**change), workdir, images, "stripes")
    assert "kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"scale": "table"}, {"scale": "best"}, "scale was 'table' and is 'best' now"),
        ({"scale": "table"}, {"scale": "table", "num_draws": 1}, "num_draws was 2 and is 1 now"),
        ({"scale": "rational"}, {"scale": "best"}, "scale was 'rational' and is 'best' now"),
    ],
)
def test_the_scale_of_a_trained_network_is_not_replaced(before, after, reason, images, tmp_path):
    calibrate.calibrate(make_config(**before), tmp_path, images, "stripes")
    written = (tmp_path / calibrate.RESULT).read_bytes()
    with pytest.raises(ValueError, match=f"was trained with, and {reason}. Use the old value"):
        calibrate.calibrate(make_config(**after), tmp_path, images, "stripes", is_trained_with=True)
    assert (tmp_path / calibrate.RESULT).read_bytes() == written
    calibrate.calibrate(make_config(**before), tmp_path, images, "stripes", is_trained_with=True)


def test_with_c_of_the_config_only_the_pictures_are_drawn_anew(images, tmp_path, capsys):
    for draws in (2, 1):
        config = make_config(num_draws=draws)
        calibrate.calibrate(config, tmp_path, images, "stripes", is_trained_with=True)
    assert "num_draws was 2 and is 1 now" in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["faces", ""])
def test_a_trained_network_keeps_the_calibration_of_its_own_pictures(images, tmp_path, folder):
    """The built-in faces have another fingerprint where only those for tests are other ones."""
    config = make_config()
    config.data.dir = folder
    calibrate.calibrate(config, tmp_path, images, "stripes")
    written = (tmp_path / calibrate.RESULT).read_bytes()
    if folder:
        with pytest.raises(ValueError, match="data was 'stripes' and is 'dots' now"):
            calibrate.calibrate(config, tmp_path, images, "dots", is_trained_with=True)
    else:
        calibrate.calibrate(config, tmp_path, images, "dots", is_trained_with=True)
    assert ((tmp_path / calibrate.RESULT).read_bytes() == written) == bool(folder)


def test_no_host_goes_on_before_the_calibration_is_written(images, tmp_path, monkeypatch):
    """Which the training of another host reads at once."""
    waited = []
    monkeypatch.setattr(
        sharding,
        "wait_for_all",
        lambda what: waited.append((what, (tmp_path / calibrate.RESULT).is_file())),
    )
    calibrate.calibrate(make_config(scale="table"), tmp_path, images, "stripes")
    assert waited == [("calibration", True)]


def test_other_data_is_measured_anew(workdir, images, capsys):
    calibrate.calibrate(make_config(), workdir, images, "dots")
    assert "data was 'stripes' and is 'dots' now" in capsys.readouterr().out
    calibrate.calibrate(make_config(), workdir, images[::-1], "dots")
    assert "pictures_sha256 was" in capsys.readouterr().out


def test_missing_and_spoilt_results_are_made_anew(workdir, images, capsys):
    (workdir / "noise_levels.png").unlink()
    calibrate.calibrate(make_config(), workdir, images, "stripes")
    assert "noise_levels.png is missing" in capsys.readouterr().out
    (workdir / "calibration.json").write_text('{"request": ')
    calibrate.calibrate(make_config(), workdir, images, "stripes")
    assert "is no calibration: Expecting value" in capsys.readouterr().out
    calibrate.scale_from_json(workdir / "calibration.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nonsense", "is no calibration: Expecting value"),
        ("[]", "has no object 'request'"),
        ('{"request": {}}', "has no object 'chosen'"),
        ('{"request": {}, "chosen": {"kind": "cubic"}}', "of kind 'cubic'"),
        ('{"request": {}, "chosen": {"kind": "rational"}}', "'c'"),
        ('{"request": {}, "chosen": {"kind": "rational", "c": -1}}', "positive finite"),
        ('{"request": {}, "chosen": {"kind": "rational", "c": "0.3"}}', "rational"),
        ('{"request": {}, "chosen": {"kind": "table", "sigma": [1, 2], "u": [1]}}', "shapes"),
    ],
)
def test_spoilt_files_are_refused(content, message, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as refusal:
        calibrate.scale_from_json(path)
    assert str(path) in str(refusal.value)


def test_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="run --stages=calibrate first"):
        calibrate.scale_from_json(tmp_path / "calibration.json")


def test_bad_requests_are_refused(images, tmp_path):
    with pytest.raises(ValueError, match=r"calibrate\.scale is 'cubic'; choose"):
        calibrate.calibrate(make_config(scale="cubic"), tmp_path, images, "stripes")
    with pytest.raises(ValueError, match="uint8"):
        calibrate.calibrate(make_config(), tmp_path, images / 255, "stripes")
    assert not (tmp_path / "calibration.json").exists()


def test_one_picture_and_one_draw_have_no_standard_error(images, tmp_path):
    calibrate.calibrate(make_config(num_images=1, num_draws=1), tmp_path, images, "stripes")
    row = read(tmp_path)["candidates"][0]
    assert row["r2_standard_error_over_pictures"] is None
    assert row["r2_standard_error_over_draws"] is None


def test_one_device_and_eight_agree(finished, images, tmp_path, monkeypatch):
    one = sharding.data_mesh(jax.devices()[:1])
    assert jax.device_count() == 8
    monkeypatch.setattr(sharding, "data_mesh", lambda: one)
    calibrate.calibrate(make_config(), tmp_path, images, "stripes")
    on_one, on_eight = read(tmp_path), read(finished)
    np.testing.assert_allclose(on_one["mean_ssim"], on_eight["mean_ssim"], atol=1e-5)
    assert on_one["best"]["c"] == pytest.approx(on_eight["best"]["c"], rel=1e-3)


def test_official_r2_on_the_official_pictures(shared, golden, tmp_path):
    official = json.loads((golden / "calibration.json").read_text())
    paths = sorted((shared / "data" / "anime_faces" / "train").iterdir())[: official["n_images"]]
    size = (official["size"],) * 2
    faces = np.stack(
        [
            np.asarray(PIL.Image.open(p).convert("RGB").resize(size, PIL.Image.BILINEAR))
            for p in paths
        ]
    )
    config = make_config(num_images=len(faces), num_sigmas=128, num_draws=1)
    calibrate.calibrate(config, tmp_path, faces, "faces")
    record = read(tmp_path)
    r2 = {row["name"]: row["r2"] for row in record["candidates"]}
    expected = {row["scale"]: row["mean_r2"] for row in official["r2"]}
    assert r2.keys() == expected.keys()
    for name, value in expected.items():
        assert r2[name] == pytest.approx(value, abs=0.01), name
    assert list(r2)[:6] == list(expected)[:6]
    assert 0.15 < record["best"]["c"] < 0.25

    # The curves behind them, at each scale's own noise levels.
    for row in official["r2"]:
        scale = sigma_scale.CANDIDATES[row["scale"]]
        sigma = scale.inverse(np.linspace(scale.forward(0.002), scale.forward(80.0), 50))
        curve = np.interp(np.log(sigma), np.log(record["sigma"]), record["mean_ssim"])
        np.testing.assert_allclose(curve, row["mean_ssim_curve"], atol=0.01)
