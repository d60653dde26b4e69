"""Colouring one's own sketches with a tiny run: what is made, what is not, and what is said."""

import json
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.data import conditions, line_art, picture_file, sketch_pairs
from ssimbad_jax.stages import (
    colorize,
    colorize_files,
    colorize_jobs,
    components,
    run,
    solvers,
    validation,
    weights,
)
from ssimbad_jax.streams import Stream
from ssimbad_jax.training import sharding
from tests import drawings, program, random_pictures, tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZES = {"a": (120, 160), "b": (90, 60), "sub/c": (100, 100)}


def _make_inputs(folder):
    for name, size in SIZES.items():
        path = folder / "sketches" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawings.face(*size).save(path)
    (folder / "references").mkdir()
    PIL.Image.fromarray(random_pictures.pixels(0)).save(folder / "references" / "r.png")
    return folder


@pytest.fixture
def inputs(tmp_path):
    """A folder with `sketches` and `references`."""
    return _make_inputs(tmp_path)


def _items(inputs, out, sketches="sketches", references="references"):
    items, _ = sketch_pairs.find([str(inputs / sketches)], [str(inputs / references)], out)
    return items


def _colorize(workdir, inputs, out, sketches="sketches", **settings):
    """Returns (status, result pixels) of each name."""
    settings = colorize_jobs.Settings(**settings)
    report = colorize.colorize(workdir, _items(inputs, out, sketches), out, settings)
    return {item["name"]: item for item in report["items"]}


def _pixels(path):
    return np.asarray(PIL.Image.open(path), int)


def _size(path):
    with PIL.Image.open(path) as picture:
        return picture.size


@pytest.fixture
def grey_paint(monkeypatch):
    """Saves the time of a network where its colours do not matter."""

    def compile_nothing(config, *_):
        size = config.data.image_size
        return lambda seeds, *_: np.full((len(seeds), size, size, 3), 128, np.uint8)

    monkeypatch.setattr(colorize, "_compile", compile_nothing)
    used = weights.Weights("pretrain", tiny_run.STEPS, None, {})
    monkeypatch.setattr(weights, "load", lambda *_: used)


@pytest.fixture(scope="module")
def coloured(finished_run, tmp_path_factory):
    """(inputs, results) of a folder coloured in two variants."""
    inputs = _make_inputs(tmp_path_factory.mktemp("coloured"))
    out = inputs / "out"
    items = _colorize(finished_run.workdir, inputs, out, variants=2)
    assert {item["status"] for item in items.values()} == {"done"}
    return inputs, out


def test_results_have_the_sketches_own_size_and_lines(coloured):
    inputs, out = coloured
    for name, size in SIZES.items():
        result = _pixels(out / f"{name}.png")
        assert result.shape == (size[1], size[0], 3)
        drawn = np.asarray(PIL.Image.open(inputs / "sketches" / f"{name}.png"))
        assert result[drawn == 0].max() <= 30


def test_variants_differ(coloured):
    _, out = coloured
    for name in SIZES:
        difference = np.abs(_pixels(out / f"{name}.png") - _pixels(out / f"{name}.2.png"))
        # In the mean more than two pictures from the same noise do in any pixel, see below.
        assert difference.mean() > 2


def test_a_sketch_alone_gets_the_colours_it_gets_in_a_folder(finished_run, coloured, tmp_path):
    """Batch, devices and the other sketches do not matter, nor does the sketch's name."""
    inputs, out = coloured
    shutil.copy(inputs / "sketches" / "b.png", tmp_path / "renamed.png")
    item = sketch_pairs.Item("renamed", tmp_path / "renamed.png", inputs / "references" / "r.png")
    settings = colorize_jobs.Settings()
    colorize.colorize(finished_run.workdir, [item], tmp_path / "alone", settings)
    difference = _pixels(tmp_path / "alone" / "renamed.png") - _pixels(out / "b.png")
    assert np.abs(difference).max() <= 2


def test_the_model_is_shown_the_cleaned_sketch_the_reference_and_each_variants_noise(
    finished_run, inputs, tmp_path
):
    """The results can be made again by hand."""
    config, workdir = finished_run
    (inputs / "sketches" / "b.png").unlink()
    shutil.rmtree(inputs / "sketches" / "sub")
    _colorize(workdir, inputs, tmp_path / "out", lines="model", seed=3, variants=2)
    path = inputs / "sketches" / "a.png"
    flat = line_art.flatten(picture_file.read_rgb(path))
    sketch = line_art.model_sketch(flat, config.data.condition_size, config.data.image_size)
    reference = picture_file.read_rgb(inputs / "references" / "r.png")
    square = np.asarray(reference.resize((32, 32), PIL.Image.Resampling.LANCZOS))
    square = conditions.resize(conditions.from_uint8(jax.numpy.asarray(square))[None], 16)
    condition = np.concatenate([sketch[None], square], axis=-1)
    key = jax.random.fold_in(jax.random.key(3), int(colorize_files.digest(path)[:8], 16))
    params = weights.load(config, workdir, sharding.data_mesh(jax.devices()[:1])).params
    sample = jax.jit(solvers.sample(config, components.noise_schedule(config, workdir)))
    for variant, name in enumerate(("a.png", "a.2.png")):
        noise_key = jax.random.fold_in(jax.random.fold_in(key, variant), Stream.NOISE)
        noise = jax.random.normal(noise_key, (1, 16, 16, 3))
        expected = np.asarray(conditions.to_uint8(sample(params, noise, condition, noise_key)))[0]
        enlarged = PIL.Image.fromarray(expected).resize((160, 160), PIL.Image.Resampling.BICUBIC)
        difference = _pixels(tmp_path / "out" / name) - np.asarray(enlarged, int)[:, 20:140]
        # The box is cut before it is enlarged, which matters at its edges.
        assert np.abs(difference[:, 10:-10]).max() <= 2


@pytest.mark.usefixtures("grey_paint")
def test_what_is_done_is_skipped_and_what_changed_is_made_again(finished_run, inputs):
    out = inputs / "out"
    _colorize(finished_run.workdir, inputs, out, variants=2)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}

    def changed(**settings):
        items = _colorize(finished_run.workdir, inputs, out, **settings)
        after = {path: path.stat().st_mtime_ns for path in before}
        names = {path.relative_to(out).as_posix() for path in before if after[path] != before[path]}
        before.update(after)
        return {name: item["status"] for name, item in items.items()}, names - {"contact_sheet.png"}

    assert changed(variants=2) == (dict.fromkeys(SIZES, "skipped"), set())
    assert changed() == (dict.fromkeys(SIZES, "skipped"), set()), "one variant is done, too"
    drawings.face(90, 60, 3).save(inputs / "sketches" / "b.png")
    statuses, names = changed()
    assert (statuses["a"], statuses["b"], names) == ("skipped", "done", {"b.png"})
    assert changed(seed=1)[1] == {f"{name}.png" for name in SIZES}
    assert changed(seed=1, start_sigma=2.0)[1] == {f"{name}.png" for name in SIZES}
    assert changed(seed=1, start_sigma=2.0, posterior_draws=4)[1] == {
        f"{name}.png" for name in SIZES
    }
    assert changed(seed=1, overwrite=True)[1] == {f"{name}.png" for name in SIZES}


def test_the_contact_sheet_shows_sketch_reference_and_results(coloured):
    inputs, out = coloured
    sheet = _pixels(out / "contact_sheet.png")
    assert sheet.shape[0] > 3 * 256
    assert sheet.shape[1] == 4 * 256
    reference = PIL.Image.open(inputs / "references" / "r.png").resize((256, 256))
    shown = sheet[-256:, 256:512]
    assert np.abs(shown - np.asarray(reference, int)).mean() < 20


@pytest.mark.usefixtures("grey_paint")
def test_a_failure_does_not_stop_the_others(finished_run, inputs, capsys):
    sketches = inputs / "sketches"
    (sketches / "damaged.png").write_bytes((sketches / "a.png").read_bytes()[:200])
    (sketches / "empty.jpg").touch()
    (sketches / "broken_link.png").symlink_to(sketches / "nowhere.png")
    (sketches / "circle.png").symlink_to(sketches / "circle.png")
    PIL.Image.new("L", (80, 80), 255).save(sketches / "blank.png")
    PIL.Image.new("L", (8, 80), 255).save(sketches / "narrow.png")
    items = _colorize(finished_run.workdir, inputs, inputs / "out")
    failed = {name for name, item in items.items() if item["status"] == "failed"}
    assert failed == {"damaged", "empty", "broken_link", "circle", "blank", "narrow"}
    assert {items[name]["status"] for name in SIZES} == {"done"}
    output = capsys.readouterr().out
    for name in failed:
        (line,) = [line for line in output.splitlines() if line.startswith(f"colorize: {name} ")]
        assert items[name]["reason"] in line
        assert f"{name}." in line
    assert "it is blank" in items["blank"]["reason"]
    assert "3 coloured, 0 skipped since they were done, 6 failed" in output
    assert not list((inputs / "out").rglob("*.part"))


@pytest.mark.usefixtures("grey_paint")
def test_a_damaged_reference_is_named(finished_run, inputs):
    (inputs / "references" / "r.png").write_bytes(b"no picture")
    items = _colorize(finished_run.workdir, inputs, inputs / "out")
    assert all("r.png: in none of the formats" in item["reason"] for item in items.values())


@pytest.mark.usefixtures("grey_paint")
def test_files_that_were_not_made_here_are_kept(finished_run, inputs):
    out = inputs / "out"
    out.mkdir()
    PIL.Image.new("RGB", (5, 5), "red").save(out / "b.png")
    items = _colorize(finished_run.workdir, inputs, out)
    assert "was not made by this program; --overwrite" in items["b"]["reason"]
    assert items["a"]["status"] == "done"
    assert _size(out / "b.png") == (5, 5)
    items = _colorize(finished_run.workdir, inputs, out, overwrite=True)
    assert {item["status"] for item in items.values()} == {"done"}
    assert _size(out / "b.png") == SIZES["b"]


@pytest.mark.usefixtures("grey_paint")
def test_photographs_are_turned_and_white_on_black_is_inverted(finished_run, inputs, capsys):
    shutil.rmtree(inputs / "sketches" / "sub")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    drawings.face(90, 60).transpose(PIL.Image.Transpose.ROTATE_90).save(
        inputs / "sketches" / "b.png", exif=exif
    )
    PIL.Image.eval(drawings.face(), lambda x: 255 - x).save(inputs / "sketches" / "a.png")
    _colorize(finished_run.workdir, inputs, inputs / "out")
    assert _size(inputs / "out" / "b.png") == (90, 60)
    output = capsys.readouterr().out
    assert "colorize: a is light on dark and is inverted (--invert=no" in output
    assert "colorize: b is light" not in output
    drawn = np.asarray(drawings.face())
    assert _pixels(inputs / "out" / "a.png")[drawn == 0].max() <= 30


def test_a_missing_or_damaged_run_is_refused(finished_run, inputs, tmp_path):
    def refused(workdir, error, message):
        with pytest.raises(error, match=message):
            _colorize(workdir, inputs, inputs / "out")

    refused(tmp_path / "nowhere", FileNotFoundError, "config.json does not exist; name")
    workdir = tmp_path / "run"
    workdir.mkdir()
    for text in ("{", "[]", "{}", '{"model": {}}', '{"model": 3}', "\x00"):
        (workdir / components.CONFIG).write_text(text)
        refused(workdir, validation.ConfigError, "config.json is not the config of a run")
    config = json.loads((finished_run.workdir / components.CONFIG).read_text())
    (workdir / components.CONFIG).write_text(json.dumps(config))
    refused(workdir, FileNotFoundError, "checkpoints.*holds no checkpoint; train first")
    config["model"]["num_groups"] = 3
    (workdir / components.CONFIG).write_text(json.dumps(config))
    refused(workdir, validation.ConfigError, "model.num_groups is 3")


def test_a_run_that_is_older_than_some_fields_of_training_can_be_used(finished_run, tmp_path):
    config = json.loads((finished_run.workdir / components.CONFIG).read_text())
    del config["train"], config["eval"]["start_sigma"]
    del config["model"]["name"], config["diffusion"]["preconditioning"]
    (tmp_path / components.CONFIG).write_text(json.dumps(config))
    loaded = run.load_config(tmp_path)
    # What is newer is as the paper has it; what was kept stays.
    assert loaded.eval.start_sigma == 0.0 and loaded.train.epochs == 300
    assert loaded.eval.sampler == "euler"
    assert components.network(loaded) == components.unet(finished_run.config)
    assert components.precondition(loaded)(1.0) == components.precondition(finished_run.config)(1.0)


def test_an_older_run_was_refined_with_the_clipping_of_its_evaluation(finished_run, tmp_path):
    config = json.loads((finished_run.workdir / components.CONFIG).read_text())
    config["eval"] |= {"sampler": "ddim", "clip_denoised": True}
    del config["refine"]["clip_denoised"]
    (tmp_path / components.CONFIG).write_text(json.dumps(config))
    loaded = run.load_config(tmp_path)
    assert loaded.refine.clip_denoised is True
    assert loaded.refine.sampler_steps == finished_run.config.refine.sampler_steps


def test_a_folder_that_cannot_be_written_to_is_refused(finished_run, inputs):
    (inputs / "file").touch()
    with pytest.raises(OSError, match=r"--out=.*file cannot be written to: "):
        _colorize(finished_run.workdir, inputs, inputs / "file")


def test_a_grid_shorter_than_the_walk_is_refused(finished_run, inputs):
    with pytest.raises(ValueError, match="--grid_steps is 3, fewer than --steps = 5; set it"):
        _colorize(finished_run.workdir, inputs, inputs / "out", steps=5, grid_steps=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eta": 0.5}, "--eta is 0.5, which 'euler' does not use; set it to 0, or --sampler to"),
        ({"start_sigma": 90.0}, r"--start_sigma is 90.0; set it above the smallest"),
        ({"posterior_draws": 4}, "--posterior_draws=4 without --start_sigma"),
    ],
)
def test_settings_without_effect_or_out_of_range_are_refused(finished_run, settings, message):
    with pytest.raises(ValueError, match=message):
        colorize._config(finished_run.workdir, colorize_jobs.Settings(**settings))


def test_the_settings_reach_the_sampler(finished_run):
    config = colorize._config(
        finished_run.workdir,
        colorize_jobs.Settings(sampler="heun", steps=7, grid_steps=20, checkpoint="best"),
    ).eval
    assert (config.sampler, config.sampler_steps, config.grid_steps) == ("heun", 7, 20)
    assert config.checkpoint == "best"
    config = colorize._config(finished_run.workdir, colorize_jobs.Settings()).eval
    assert (config.sampler, config.sampler_steps) == ("euler", 2)
    assert (config.guidance.reference, config.guidance.structure) == (1.0, 0.0)
    settings = colorize_jobs.Settings(guidance_reference=1.0, guidance_structure=0.5)
    config = colorize._config(finished_run.workdir, settings)
    assert (config.eval.guidance.reference, config.eval.guidance.structure) == (1.0, 0.5)
    config = colorize._config(
        finished_run.workdir,
        colorize_jobs.Settings(sampler="ddim", eta=0.5, start_sigma=2.0, posterior_draws=4),
    ).eval
    assert (config.eta, config.start_sigma, config.posterior_draws) == (0.5, 2.0, 4)


def test_churn_of_the_run_is_not_for_another_sampler(finished_run, tmp_path):
    config = json.loads((finished_run.workdir / components.CONFIG).read_text())
    config["eval"]["churn"] = 3.0
    (tmp_path / components.CONFIG).write_text(json.dumps(config))
    assert colorize._config(tmp_path, colorize_jobs.Settings()).eval.churn == 3.0
    assert colorize._config(tmp_path, colorize_jobs.Settings(sampler="unipc")).eval.churn == 0.0


def test_another_sampler_needs_nothing_of_the_runs_own(finished_run, tmp_path):
    config = json.loads((finished_run.workdir / components.CONFIG).read_text())
    config["eval"] |= {"sampler": "ddim", "clip_denoised": True, "eta": 0.5}
    (tmp_path / components.CONFIG).write_text(json.dumps(config))
    for sampler, expected in (("", (True, 0.5)), ("euler", (False, 0.0))):
        evaluation = colorize._config(tmp_path, colorize_jobs.Settings(sampler=sampler)).eval
        assert (evaluation.clip_denoised, evaluation.eta) == expected


def test_scales_that_the_network_is_not_trained_for_are_refused(finished_run, inputs):
    refusal = "eval.guidance.reference is 2.0, but train.drop_reference is 0.0"
    with pytest.raises(validation.ConfigError, match=refusal):
        _colorize(finished_run.workdir, inputs, inputs / "out", guidance_reference=2.0)
    assert not (inputs / "out").exists()


def _start(*flags):
    command = [sys.executable, "-m", "ssimbad_jax.colorize", *map(str, flags)]
    return subprocess.Popen(
        command,
        cwd=program.REPOSITORY,
        env={**os.environ, **program.QUICK},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_the_command_tells_success_failure_and_bad_usage_apart(finished_run, inputs):
    (inputs / "sketches" / "empty.png").touch()
    report = inputs / "report.json"
    common = [f"--run={finished_run.workdir}", f"--reference={inputs / 'references'}"]
    started = {
        "good": _start(*common, f"--sketch={inputs / 'sketches/b.png'}", f"--out={inputs / 'b'}"),
        "some": _start(
            *common,
            f"--sketch={inputs / 'sketches'}",
            f"--out={inputs / 'out'}",
            f"--json={report}",
            "--steps=1",
        ),
        "sampler": _start(*common, "--sampler=guess", "--sketch=x", f"--out={inputs / 'x'}"),
        "nothing": _start(*common, "--sketch=nowhere", f"--out={inputs / 'x'}"),
    }
    output = {name: process.communicate()[0] for name, process in started.items()}
    status = {name: process.returncode for name, process in started.items()}
    assert status == {"good": 0, "some": 1, "sampler": 2, "nothing": 2}, output
    assert "1 coloured" in output["good"]
    for name in ("sampler", "nothing"):
        line = output[name].splitlines()[-1]  # before it stands the precision that the tests set
        assert line.startswith("error: ") and output[name].count("\n") <= 2
    assert not (inputs / "x").exists()
    assert "--sampler=guess" in output["sampler"]
    assert "--sketch=nowhere names no picture" in output["nothing"]
    written = json.loads(report.read_text())
    assert {item["name"]: item["status"] for item in written["items"]} == {
        **dict.fromkeys(SIZES, "done"),
        "empty": "failed",
    }
    assert written["model"]["sampler_steps"] == 1
    assert written["model"]["checkpoint_step"] == tiny_run.STEPS
    assert written["unused_references"] == []
