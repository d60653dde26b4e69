"""Which config official weights belong to, by what their file tells."""

import numpy as np
import pytest

from ssimbad_jax.diffusion import schedule, sigma_scale
from ssimbad_jax.stages import official_config, official_file
from tests import official_weights


@pytest.fixture(scope="module")
def weights(golden):
    return official_weights.unet_weights(golden)


def make_file(weights, prefix="state_dict.model.denoise_fn.", **fields):
    return official_file.OfficialFile(weights, prefix, **fields)


def config_of(file, **overrides):
    method, _ = official_config.method_of(file)
    names = {name.replace("__", "."): value for name, value in overrides.items()}
    return official_config.config_of(file, method, names)


def gammas(count=1000, beta_last=1e-2):
    betas = np.linspace(1e-6 * 1000 / count, beta_last, count, dtype=np.float32)
    return np.cumprod(1 - betas, dtype=np.float32)


def edm_levels(steps=18):
    return schedule.edm().sigma_grid(steps).astype(np.float32)


@pytest.mark.parametrize(
    ("fields", "method"),
    [
        ({"gammas": gammas()}, "anime_diffusion"),
        ({"settings": {"c": 0.3}}, "ssimbad"),
        ({"settings": {"rho": 7.0}}, "edm"),
        ({"noise_levels": official_weights.noise_levels(50)}, "ssimbad"),
        ({"noise_levels": edm_levels()}, "edm"),
        ({}, "ssimbad"),
        ({"prefix": "module.denoise_fn."}, "anime_diffusion"),
        ({"prefix": ""}, "anime_diffusion"),
    ],
)
def test_the_method_is_found(weights, fields, method):
    assert official_config.method_of(make_file(weights, **fields))[0] == method


def test_options_of_the_official_command_are_taken_over(weights):
    options = {"c": 0.2, "sigma_min": 0.01, "sigma_max": 50, "sigma_data": 0.4, "size": 32}
    config = config_of(make_file(weights, settings=options | {"attention_head": 2}))
    assert (config.calibrate.c, config.diffusion.sigma_min) == (0.2, 0.01)
    assert (config.diffusion.sigma_max, config.diffusion.sigma_data) == (50.0, 0.4)
    assert (config.data.image_size, config.model.num_heads) == (32, 2)
    assert (config.model.base_channels, config.model.channel_multipliers) == (32, (1, 2))


@pytest.mark.parametrize("value", ["0.3", None, -1.0, float("nan"), float("inf"), [0.3]])
def test_options_that_are_no_positive_numbers_are_left_out(weights, value):
    config = config_of(make_file(weights, settings={"c": value, "sigma_max": value}))
    assert (config.calibrate.c, config.diffusion.sigma_max) == (0.3, 80.0)


def test_what_the_user_sets_comes_last(weights):
    file = make_file(weights, settings={"c": 0.2, "attention_head": 2})
    config = config_of(file, calibrate__c=0.4, model__num_heads=8, data__image_size=512)
    assert (config.calibrate.c, config.model.num_heads) == (0.4, 8)
    assert (config.data.image_size, config.data.condition_size) == (512, 512)


@pytest.mark.parametrize("steps", [3, 12, 50, 500])
@pytest.mark.parametrize(("c", "sigma_min", "sigma_max"), [(0.3, 0.002, 80.0), (1.5, 0.02, 50.0)])
def test_scale_and_range_follow_from_the_noise_levels(weights, steps, c, sigma_min, sigma_max):
    levels = official_weights.noise_levels(steps, c, sigma_min, sigma_max)
    file = make_file(weights, noise_levels=levels)
    config = config_of(file)
    assert config.calibrate.c == pytest.approx(c, rel=2e-3)
    assert config.diffusion.sigma_min == pytest.approx(sigma_min, rel=2e-3)
    assert config.diffusion.sigma_max == pytest.approx(sigma_max, rel=2e-3)
    scale = sigma_scale.rational(config.calibrate.c)
    official_config.check(file, schedule.ssimbad(scale, sigma_min, sigma_max))
    with pytest.raises(ValueError, match=r"not those that this run would have, from 80 to 0\.002"):
        official_config.check(file, schedule.edm())


@pytest.mark.parametrize(("count", "beta_last"), [(1000, 1e-2), (500, 2e-2), (1000, 2e-2)])
def test_betas_follow_from_the_gammas(weights, count, beta_last):
    file = make_file(weights, gammas=gammas(count, beta_last))
    diffusion = config_of(file).diffusion
    assert (diffusion.num_levels, diffusion.schedule) == (count, "ddpm")
    assert diffusion.beta_last == pytest.approx(beta_last, rel=2e-3)
    official_config.check(file, schedule.ddpm(count, diffusion.beta_first, diffusion.beta_last))
    with pytest.raises(ValueError, match="noise levels are not those"):
        official_config.check(file, schedule.ddpm(count, 1e-4, beta_last))


def test_other_tables_of_betas_are_refused(weights):
    cosine = np.cos(np.linspace(0, 1.5, 1000)) ** 2
    file = make_file(weights, gammas=cosine.astype(np.float32))
    diffusion = config_of(file).diffusion
    with pytest.raises(ValueError, match="noise levels are not those"):
        official_config.check(file, schedule.ddpm(1000, diffusion.beta_first, diffusion.beta_last))


@pytest.mark.parametrize("levels", [np.zeros(5), np.ones((3, 3)), np.arange(5.0), np.ones(2)])
def test_numbers_that_are_no_noise_levels_are_refused(weights, levels):
    with pytest.raises(ValueError, match="do not fall"):
        config_of(make_file(weights, noise_levels=levels.astype(np.float32)))
    with pytest.raises(ValueError, match="do not fall"):
        config_of(make_file(weights, gammas=levels.astype(np.float32)))


def test_refined_weights_bring_their_solver(weights):
    levels = official_weights.noise_levels(500)
    settings = {"c": 0.3, "finetuning_inference_time_step": 25}
    refine = config_of(
        make_file(weights, noise_levels=levels, settings=settings, is_refined=True)
    ).refine
    assert (refine.sampler, refine.sampler_steps, refine.grid_steps) == ("euler", 25, 500)
    refine = config_of(make_file(weights, is_refined=True)).refine
    assert (refine.sampler, refine.sampler_steps, refine.grid_steps) == ("euler", 50, 50)
