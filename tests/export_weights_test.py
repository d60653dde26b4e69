"""Runs become files that PyTorch loads, and runs again."""

import json
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy

from ssimbad_jax.models import official_unet
from ssimbad_jax.stages import components, export_weights, import_weights, run, weights
from ssimbad_jax.training import sharding
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")


def params_of(workdir):
    config = run.load_config(workdir)
    return weights.load(config, workdir, sharding.data_mesh(jax.devices()[:1]))


@pytest.fixture(scope="module")
def exported(finished_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "models" / "model.safetensors"
    export_weights.export_weights(finished_run.workdir, path)
    return path


@pytest.fixture(scope="module")
def imported(exported, tmp_path_factory):
    """The run that the file becomes, with the step it was trained for."""
    out = tmp_path_factory.mktemp("imported") / "run"
    import_weights.import_weights(exported, out)
    return out


def test_the_file_has_the_official_names_and_says_what_it_is(finished_run, exported):
    config = finished_run.config
    with safetensors.safe_open(exported, framework="np") as file:
        names = set(official_unet.official_name_of_path(components.unet(config)).values())
        assert set(file.keys()) == names
        assert file.get_tensor("input.0.weight").shape == (8, 7, 1, 1)
        metadata = file.metadata()
    assert (metadata["format"], metadata["weights"]) == ("pt", "pretrain")
    assert metadata["step"] == str(tiny_run.STEPS)
    kept = json.loads(metadata["config"])
    assert kept["diffusion"]["sigma_max"] == 80.0 and kept["model"]["num_groups"] == 4
    assert str(finished_run.workdir.parent.parent) not in metadata["config"]
    assert "calibration" not in metadata
    assert [path.name for path in exported.parent.iterdir()] == ["model.safetensors"]


def test_import_undoes_export(finished_run, imported):
    original, returned = params_of(finished_run.workdir), params_of(imported)
    jax.tree.map(np.testing.assert_array_equal, original.params, returned.params)
    before, after = (run.load_config(path).to_dict() for path in (finished_run.workdir, imported))
    before["data"]["prepared_dir"] = ""
    assert after == before
    assert json.loads((imported / "imported.json").read_text())["step"] == tiny_run.STEPS


def test_a_scale_of_a_calibration_goes_along(finished_run, exported, tmp_path):
    """There and back: the second file is made of a run with the first file's calibration."""
    with safetensors.safe_open(exported, framework="np") as file:
        arrays, metadata = {n: file.get_tensor(n) for n in file.keys()}, file.metadata()
    config = json.loads(metadata["config"])
    config["calibrate"]["scale"] = "table"
    record = json.loads((finished_run.workdir / "calibration.json").read_text())
    record["request"]["scale"], record["chosen"] = "table", record["table"]
    calibration = json.dumps(record)
    (tmp_path / "calibration.json").write_text(calibration)
    metadata |= {"config": json.dumps(config), "calibration": calibration}
    safetensors.numpy.save_file(arrays, tmp_path / "first.safetensors", metadata)
    import_weights.import_weights(tmp_path / "first.safetensors", tmp_path / "run")
    export_weights.export_weights(tmp_path / "run", tmp_path / "second.safetensors")
    with safetensors.safe_open(tmp_path / "second.safetensors", framework="np") as file:
        assert json.loads(file.metadata()["calibration"]) == record
    loaded = run.load_config(tmp_path / "run")
    grids = [
        components.noise_schedule(loaded, workdir).sigma_grid(9)
        for workdir in (tmp_path / "run", tmp_path)
    ]
    np.testing.assert_array_equal(*grids)
    loaded.calibrate.scale = "rational"
    rational = components.noise_schedule(loaded, tmp_path).sigma_grid(9)
    assert np.abs(grids[0] - rational).max() > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": "{"}, "the config in it cannot be used .*--method=ssimbad"),
        ({"config": "[]"}, "the config in it cannot be used"),
        ({"calibrate": {"scale": "table"}}, "no calibration, which calibrate.scale = 'table'"),
        ({"model": {"name": "scft"}}, "model.name|cannot be used"),
    ],
    ids=str,
)
def test_metadata_that_make_no_run_are_refused(exported, change, message, tmp_path):
    with safetensors.safe_open(exported, framework="np") as file:
        arrays, metadata = {n: file.get_tensor(n) for n in file.keys()}, file.metadata()
    config = json.loads(metadata["config"])
    for section, fields in change.items():
        if section == "config":
            metadata["config"] = fields
        else:
            config[section] |= fields
            metadata["config"] = json.dumps(config)
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors", metadata)
    with pytest.raises(ValueError, match=message):
        import_weights.import_weights(tmp_path / "model.safetensors", tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_files_and_missing_runs_are_refused(finished_run, exported, tmp_path):
    with pytest.raises(FileExistsError, match="exists already; name a new file"):
        export_weights.export_weights(finished_run.workdir, exported)
    with pytest.raises(FileNotFoundError, match="name the folder of a finished run"):
        export_weights.export_weights(tmp_path, tmp_path / "model.safetensors")
    with pytest.raises(FileNotFoundError, match="refine holds no checkpoint"):
        export_weights.export_weights(finished_run.workdir, tmp_path / "m.safetensors", "refine")
    assert list(tmp_path.iterdir()) == []


def test_other_networks_are_refused(finished_run, tmp_path):
    workdir = shutil.copytree(finished_run.workdir, tmp_path / "run")
    config = json.loads((workdir / "config.json").read_text())
    config["model"]["name"] = "scft"
    (workdir / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"model.name|scft"):
        export_weights.export_weights(workdir, tmp_path / "model.safetensors")
