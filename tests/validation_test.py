"""Configs that cannot work are refused, with field, value and remedy."""

import importlib
import pathlib

import ml_collections
import pytest

from ssimbad_jax.configs import edm_ssimbad
from ssimbad_jax.stages import validation


def _config(**fields):
    config = edm_ssimbad.get_config()
    config.update_from_flattened_dict(fields)
    return config


def _leaves():
    """(field, value) of all fields."""

    def walk(config, prefix):
        for name, value in config.items():
            if isinstance(value, ml_collections.ConfigDict):
                yield from walk(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value

    return list(walk(edm_ssimbad.get_config(), ""))


@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize("name", ["edm_ssimbad", "quickstart", "benchmark_s32"])
def test_the_shipped_configs_pass(name, num_devices):
    config = importlib.import_module(f"configs.{name}").get_config()
    validation.check(config, num_devices)


@pytest.mark.parametrize(("field", "value"), _leaves())
def test_wrong_types_are_refused_by_name(field, value):
    wrong = 3 if isinstance(value, str) else "much"
    with pytest.raises((TypeError, ValueError)) as refusal:
        _config(**{field: wrong})
    message = str(refusal.value)
    assert field.rpartition(".")[2] in message and type(value).__name__ in message


@pytest.mark.parametrize("field", validation.CHOICES)
def test_choices_are_listed(field):
    with pytest.raises(validation.ConfigError) as refusal:
        validation.check(_config(**{field: "another"}), 1)
    assert f"{field} is 'another'; choose one of " in str(refusal.value)
    assert all(repr(choice) in str(refusal.value) for choice in validation.CHOICES[field])


@pytest.mark.parametrize("field", validation.AT_LEAST)
def test_small_numbers_are_refused(field):
    value = validation.AT_LEAST[field] - 1
    kind = type(dict(_leaves())[field])
    with pytest.raises(validation.ConfigError) as refusal:
        validation.check(_config(**{field: kind(value)}), 1)
    assert f"{field} is {kind(value)}; set it to {validation.AT_LEAST[field]} or more" in str(
        refusal.value
    )


def _not_positive():
    for field in validation.POSITIVE:
        kind = type(dict(_leaves())[field])
        yield from ((field, kind(value)) for value in (0, -1))
        if kind is float:
            yield from ((field, float(value)) for value in ("nan", "inf"))


@pytest.mark.parametrize(("field", "value"), list(_not_positive()))
def test_numbers_that_are_not_positive_are_refused(field, value):
    with pytest.raises(validation.ConfigError) as refusal:
        validation.check(_config(**{field: value}), 1)
    assert f"{field} is {value}; set it to a positive number" in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"data.image_size": 100},
            "data.image_size is 100, not divisible by 8 for 4 levels "
            "(model.channel_multipliers); set it to 96",
        ),
        ({"data.image_size": 8}, "data.image_size is 8; set it to 11 or more"),
        (
            {"data.image_size": 512},
            "data.image_size is 512, above data.condition_size = 256",
        ),
        ({"model.channel_multipliers": ()}, "model.channel_multipliers is (); give one positive"),
        ({"model.channel_multipliers": (1, 0)}, "model.channel_multipliers is (1, 0); give"),
        ({"model.base_channels": 33, "model.num_groups": 1}, "model.base_channels is 33; "),
        (
            {"model.num_groups": 24},
            "model.num_groups is 24, which does not divide the levels' channels "
            "[64, 128, 256, 512]; choose a divisor of model.base_channels = 64",
        ),
        (
            {"model.num_heads": 3},
            "model.num_heads is 3, which does not divide the 512 channels of the last level",
        ),
        (
            {"model.cbam": True, "model.base_channels": 8, "model.num_groups": 8},
            "model.cbam needs 16 channels or more at each level, but model.base_channels is 8",
        ),
        (
            {"diffusion.sigma_min": 80.0},
            "diffusion.sigma_min is 80.0 and diffusion.sigma_max 80.0; set sigma_min below",
        ),
        ({"eval.grid_steps": 10}, "eval.grid_steps is 10, fewer than eval.sampler_steps = 50"),
        (
            {"train.batch_size": 10},
            "train.batch_size is 10, not divisible by 4 device(s) times train.accumulate = 1; "
            "set it to a multiple of 4",
        ),
        ({"train.accumulate": 32}, "train.accumulate = 32; set it to a multiple of 128"),
        (
            {"eval.batch_size": 6},
            "eval.batch_size is 6, not divisible by 4 device(s); set it to a multiple of 4",
        ),
        ({"train.epochs": 0}, "train.steps and train.epochs are both 0; set one"),
        (
            {"train.final_learning_rate": 1.0},
            "train.final_learning_rate is 1.0, above train.learning_rate = 0.0002; lower it",
        ),
        (
            {"train.steps": 5, "train.warmup_steps": 5},
            "train.warmup_steps is 5, not less than train.steps = 5; lower it",
        ),
        (
            {"data.max_bad_fraction": 1.5},
            "data.max_bad_fraction is 1.5; set it to 1 or less",
        ),
        ({"seed": 2**32}, "seed is 4294967296; set it to 4294967295 or less"),
        (
            {"eval.metrics": ("psnr", "mssim")},
            "eval.metrics has 'mssim'; choose out of 'psnr', 'psnr_mean_aligned', 'ssim'",
        ),
        ({"eval.metrics": ()}, "eval.metrics is (); name at least one, and each once"),
        (
            {"eval.metrics": ("psnr", "psnr")},
            "eval.metrics is ('psnr', 'psnr'); name at least one, and each once",
        ),
        ({"train.drop_sketch": 1.0}, "train.drop_sketch is 1.0; set it below 1"),
        (
            {"eval.guidance.sigma_min": 2.0, "eval.guidance.sigma_max": 2.0},
            "eval.guidance.sigma_min is 2.0 and eval.guidance.sigma_max 2.0; set sigma_min below",
        ),
        (
            {"eval.guidance.reference": 2.0},
            "eval.guidance.reference is 2.0, but train.drop_reference is 0.0: the network does not "
            "know what to do without that condition; set eval.guidance.reference to 1.0, or train "
            "with train.drop_reference = 0.1",
        ),
        (
            {"eval.guidance.sketch": 0.5, "train.drop_reference": 0.1},
            "eval.guidance.sketch is 0.5, but train.drop_sketch is 0.0: ",
        ),
        (
            {"eval.guidance.sketch": 2.0, "train.drop_sketch": 0.1},
            "eval.guidance.sketch is 2.0, but train.drop_reference is 0.0: ",
        ),
        ({"eval.churn": float("nan")}, "eval.churn is nan; set it to 0 or more"),
        (
            {"eval.churn": 1.0, "eval.sampler": "unipc"},
            "eval.churn is 1.0, which 'unipc' does not use; set it to 0, or eval.sampler to "
            "'heun' or 'euler'",
        ),
        ({"eval.eta": 1.0}, "eval.eta is 1.0, which 'heun' does not use; set it to 0, or"),
        ({"eval.eta": 1.5, "eval.sampler": "ddim"}, "eval.eta is 1.5; set it to 1 or less"),
        (
            {"eval.start_sigma": 81.0},
            "eval.start_sigma is 81.0; set it above the smallest noise level, 0.002, and to at "
            "most the largest, 80, or to 0 to start from pure noise",
        ),
        ({"eval.start_sigma": 0.001}, "eval.start_sigma is 0.001; set it above"),
        (
            {"eval.start_sigma": 13.0, "diffusion.schedule": "ddpm"},
            "eval.start_sigma is 13.0; set it above the smallest noise level, 0.001, and to at "
            "most the largest, 12.",
        ),
        (
            {"diffusion.schedule": "ddpm", "eval.sampler_steps": 1000},
            "eval.sampler_steps is 1000, but diffusion.schedule = 'ddpm' has noise levels for 999",
        ),
        (
            {"diffusion.schedule": "single", "eval.sampler_steps": 2},
            "eval.sampler_steps is 2, but diffusion.schedule = 'single' has noise levels for 1",
        ),
        (
            {"eval.sampler": "euler", "eval.clip_denoised": True},
            "eval.clip_denoised is True, which 'euler' does not use; set it to False, or "
            "eval.sampler to 'ddim'",
        ),
        (
            {"refine.sampler": "unipc", "refine.clip_denoised": True},
            "refine.clip_denoised is True, which 'unipc' does not use; set it to False, or "
            "refine.sampler to 'ddim'",
        ),
        ({"diffusion.beta_first": 0.1}, "diffusion.beta_first is 0.1 and diffusion.beta_last 0.01"),
        (
            {"diffusion.beta_first": 0.1, "diffusion.schedule": "ddpm"},
            "diffusion.beta_first is 0.1 and diffusion.beta_last 0.01; set 0 < beta_first <= ",
        ),
        (
            {"diffusion.num_levels": 1, "diffusion.schedule": "ddpm"},
            "diffusion.num_levels is 1; set it to 2 or more",
        ),
        *(
            ({"eval.folder": folder}, f"eval.folder is {folder!r}, where scoring would replace")
            for folder in ("", ".", "..", "a/../../b", "/elsewhere", "checkpoints", "samples/x")
        ),
        ({"data.colour_jitter": -0.1}, "data.colour_jitter is -0.1; set it to 0 or more"),
    ],
    ids=str,
)
def test_impossible_combinations_name_field_value_and_remedy(fields, expected):
    with pytest.raises(validation.ConfigError) as refusal:
        validation.check(_config(**fields), 4)
    assert expected in str(refusal.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"eval.guidance.structure": 0.5},
        {"eval.guidance.reference": 2.0, "train.drop_reference": 0.1},
        {
            "eval.guidance.sketch": 2.0,
            "eval.guidance.reference": 0.0,
            "train.drop_sketch": 0.1,
            "train.drop_reference": 0.1,
        },
    ],
    ids=str,
)
def test_guidance_that_the_network_is_trained_for_passes(fields):
    validation.check(_config(**fields), 1)
    validation.check_model(_config(**fields))


def test_all_problems_are_told_at_once():
    config = _config(**{"eval.sampler": "dpm", "train.batch_size": 7, "calibrate.c": 0.0})
    with pytest.raises(validation.ConfigError) as refusal:
        validation.check(config, 2)
    lines = str(refusal.value).splitlines()
    assert {line.split()[0] for line in lines[1:]} == {
        "eval.sampler",
        "calibrate.c",
        "train.batch_size",
    }


def test_devices_divide_among_hosts():
    with pytest.raises(validation.ConfigError, match="8 devices do not divide among 3 processes"):
        validation.check(_config(), 8, 3)
    with pytest.raises(validation.ConfigError, match=r"refine\.batch_size is 2, not div"):
        validation.check(_config(), 8, 2)
    validation.check(_config(**{"refine.batch_size": 8}), 8, 2)
    validation.check(_config(), 8, 2, refines=False)


def test_a_batch_needs_as_many_built_in_faces():
    batch_size = _config()["train"]["batch_size"]
    faces = batch_size + batch_size // 9  # a tenth is for validation
    validation.check(_config(**{"data.toy_faces_train": faces}), 1)
    few = {"data.toy_faces_train": batch_size}
    with pytest.raises(
        validation.ConfigError,
        match=rf"train is {batch_size}: .* train\.batch_size = {batch_size};",
    ):
        validation.check(_config(**few), 1)
    validation.check(_config(**few, **{"data.dir": "pictures"}), 1)
    refinement = {"refine.batch_size": 2 * batch_size}
    many = {"data.toy_faces_train": faces, **refinement}
    validation.check(_config(**many), 1, refines=False)
    with pytest.raises(validation.ConfigError, match=r"fewer than refine\.batch_size"):
        validation.check(_config(**many), 1)


@pytest.mark.parametrize(
    ("folders", "inside", "outside"),
    [
        ((), ("runs/x", "."), ("../runs",)),
        (("train", "test"), ("train/runs", "test"), ("runs", ".")),
        (("train_data",), ("train_data/sketch/x",), ("runs", "train_data/runs")),
    ],
)
def test_a_workdir_among_the_pictures_is_refused(tmp_path, monkeypatch, folders, inside, outside):
    pictures = tmp_path / "pictures"
    for folder in ("", *folders):
        (pictures / folder).mkdir()
    monkeypatch.chdir(pictures)
    config = _config(**{"data.dir": str(pictures)})
    for name in inside:
        with pytest.raises(validation.ConfigError, match=rf"--workdir={name} lies in {pictures}"):
            validation.check_workdir(config, pathlib.Path(name))
    for name in outside:
        validation.check_workdir(config, pathlib.Path(name))
    validation.check_workdir(_config(), pathlib.Path("."))
