"""What a config describes, built."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.diffusion import sigma_scale
from ssimbad_jax.stages import components, run
from tests import random_pictures, tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def config(prepared_dir):
    return tiny_run.make_config(prepared_dir)


def test_the_share_of_bad_pictures_is_the_configs(config, tmp_path):
    for number in range(60):
        random_pictures.save(tmp_path / f"{number}.png", random_pictures.pixels(number))
    (tmp_path / "bad.png").write_text("no picture")
    config.data.dir = str(tmp_path)
    with pytest.raises(ValueError, match=r"1 of 61 .* data\.max_bad_fraction = 0\.01"):
        components.data_builder(config)
    config.data.max_bad_fraction = 0.02
    assert components.data_builder(config).info.splits.total_num_examples == 60


def test_steps_take_precedence_over_epochs(config):
    assert components.total_steps(config.train, 1000) == tiny_run.STEPS
    config.train.steps, config.train.epochs = 0, 3
    assert components.total_steps(config.train, 100) == 37  # 300 pictures in batches of 8
    assert components.total_steps(config.train, 1) == 1


def test_the_warm_up_is_one_epoch_unless_given(config):
    assert components.optimizer_settings(config.train, 1000).warmup_steps == 1
    config.train.steps, config.train.warmup_steps = 100, -1
    settings = components.optimizer_settings(config.train, 80)
    assert (settings.warmup_steps, settings.total_steps) == (10, 100)
    assert components.optimizer_settings(config.train, 3).warmup_steps == 1
    assert components.optimizer_settings(config.train, 10**6).warmup_steps == 50


def test_the_network_has_the_sizes_of_the_config(config):
    unet = components.unet(config)
    assert (unet.base_channels, unet.channel_multipliers, unet.num_res_blocks) == (8, (1, 2), 1)
    assert (unet.num_heads, unet.num_groups, unet.cbam) == (2, 4, False)
    config.model.compute_dtype = "bfloat16"
    assert components.unet(config).dtype == jnp.bfloat16
    everywhere = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = components.abstract_params(config, everywhere)
    assert {leaf.dtype for leaf in jax.tree.leaves(abstract)} == {np.dtype(np.float32)}
    assert abstract["conv_in"]["kernel"].shape == (1, 1, 7, 8)
    assert abstract["conv_in"]["kernel"].sharding == everywhere


def test_the_schedule_follows_the_config(config, tmp_path):
    sigma = np.array([0.01, 0.3, 10.0])
    config.calibrate.c = 0.2
    rational = components.noise_schedule(config, tmp_path)
    np.testing.assert_allclose(rational.embed_sigma(sigma), sigma / (sigma + 0.2))
    config.diffusion.schedule = "edm"
    edm = components.noise_schedule(config, tmp_path)
    np.testing.assert_allclose(edm.embed_sigma(sigma), np.log(sigma) / 4, rtol=1e-5)


def test_the_scale_of_a_calibration_needs_one(config, tmp_path):
    config.calibrate.scale = "table"
    with pytest.raises(FileNotFoundError, match="run --stages=calibrate"):
        components.noise_schedule(config, tmp_path)


@pytest.mark.parametrize("choice", ["best", "table"])
def test_the_scale_is_the_one_that_calibration_chose(prepared_dir, tmp_path, choice):
    config = tiny_run.make_config(prepared_dir, calibrate__scale=choice)
    run.run(config, tmp_path, ["calibrate"])
    scale = components.sigma_scale_of_run(config, tmp_path)
    sigma = np.geomspace(0.002, 80.0, 9)
    assert np.abs(scale.forward(sigma) - sigma_scale.rational(0.3).forward(sigma)).max() > 1e-3
    schedule = components.noise_schedule(config, tmp_path)
    grid = schedule.sigma_grid(8)
    u = scale.forward(grid[:-1])
    np.testing.assert_allclose(np.diff(u), np.diff(u).mean(), rtol=1e-3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "calibrate.scale",
            "table",
            r"scale was 'best' and is 'table' now; run --stages=calibrate",
        ),
        ("diffusion.sigma_max", 160.0, r"sigma_max was 80\.0 and is 160\.0 now"),
    ],
)
def test_a_calibration_for_another_config_is_refused(config, tmp_path, field, value, message):
    made_for = {"scale": "best", "sigma_min": 0.002, "sigma_max": 80.0, "seed": 7}
    record = {"request": made_for, "chosen": {"kind": "rational", "c": 0.2}}
    (tmp_path / "calibration.json").write_text(json.dumps(record))
    config.calibrate.scale = "best"
    scale = components.sigma_scale_of_run(config, tmp_path)
    assert scale.forward(0.2) == pytest.approx(0.5)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        components.noise_schedule(config, tmp_path)


def test_weightings_are_the_papers_and_karras(config):
    sigma = jnp.array([0.1, 0.5, 5.0])
    np.testing.assert_array_equal(components.weighting(config)(sigma), 1.0)
    config.train.loss_weighting = "edm"
    # 1 / c_out^2 with sigma_data = 0.5
    expected = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
    np.testing.assert_allclose(components.weighting(config)(sigma), expected, rtol=1e-6)


def test_validation_pictures_come_out_of_the_training_split(config):
    training, held_out = components.training_split(config)
    assert (len(training), len(held_out)) == (36, 4)  # a tenth at most
    config.train.validation_images = 2
    training, held_out = components.training_split(config)
    assert (len(training), len(held_out)) == (38, 2)
    numbers = [int(part[i]["index"]) for part in (training, held_out) for i in range(len(part))]
    assert sorted(numbers) == list(range(40))


def test_calibration_measures_training_pictures_at_the_models_size(config):
    images, fingerprint = components.calibration_pictures(config)
    training, _ = components.training_split(config)
    assert images.shape == (4, 16, 16, 3) and images.dtype == np.uint8
    assert fingerprint == training.fingerprint
    for number, image in enumerate(images):
        stored = PIL.Image.fromarray(training[number]["image"])
        expected = np.asarray(stored.resize((16, 16), PIL.Image.Resampling.BILINEAR))
        assert np.abs(image.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_folder_of_pictures_is_used_where_it_is_given(config, tmp_path, scheme):
    for number in range(8):
        path = tmp_path / ("train" if number < 6 else "test") / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(path)
    config.data.dir = f"{scheme}{tmp_path}"
    config.data.prepared_dir = str(tmp_path / "prepared")
    training, held_out = components.training_split(config)
    assert (len(training), len(held_out)) == (5, 1)
    assert training[0]["image"].shape == (32, 32, 3)
    assert (tmp_path / "prepared").is_dir()


def test_prepared_data_is_kept_where_the_config_says(config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config.data.prepared_dir = "~/faces"
    assert components.prepared_dir(config) == tmp_path / "faces"
    config.data.prepared_dir = ""
    assert components.prepared_dir(config) == tmp_path / ".cache" / "ssimbad_jax"
