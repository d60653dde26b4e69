"""What is read of official files, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from ssimbad_jax.stages import official_file
from tests import official_weights, torch_files


@pytest.fixture(scope="module")
def weights(golden):
    return official_weights.unet_weights(golden)


def assert_holds(file, weights):
    assert file.weights.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(file.weights[name], value)


@pytest.mark.parametrize("in_namespace", [True, False])
def test_a_pretraining_of_lightning(weights, in_namespace, tmp_path):
    path = tmp_path / "model.ckpt"
    if in_namespace:
        official_weights.write_pretrained(path, weights)
    else:
        state = official_weights.lightning_state(weights)
        content = torch_files.lightning(state, {"cfg": dict(official_weights.OPTIONS)})
        torch_files.write_checkpoint(path, content)
    file = official_file.read(path)
    assert_holds(file, weights)
    assert file.prefix == "state_dict.model.denoise_fn."
    assert (file.step, file.is_refined, file.gammas) == (148_500, False, None)
    np.testing.assert_array_equal(file.noise_levels, official_weights.noise_levels())
    assert file.settings == official_weights.OPTIONS


@pytest.mark.parametrize("options", [{}, {"finetuning_inference_time_step": None}])
def test_a_refinement_of_lightning(weights, options, tmp_path):
    official_weights.write_refined(tmp_path / "model.ckpt", weights, **options)
    file = official_file.read(tmp_path / "model.ckpt")
    assert_holds(file, weights)
    assert file.is_refined


@pytest.mark.parametrize("write", [torch_files.write_zip, torch_files.write_chain])
@pytest.mark.parametrize("prefix", ["denoise_fn.", "module.denoise_fn.", ""])
def test_a_state_dict_of_anime_diffusion(weights, prefix, write, tmp_path):
    named = {f"{prefix}{name}": value for name, value in weights.items()}
    beside = prefix.removesuffix("denoise_fn.")
    gammas = np.linspace(1, 0.01, 1000, dtype=np.float32)
    write(tmp_path / "model.pth", {f"{beside}gammas": gammas, **named})
    file = official_file.read(tmp_path / "model.pth")
    assert_holds(file, weights)
    np.testing.assert_array_equal(file.gammas, gammas)
    assert (file.prefix, file.step, file.is_refined) == (prefix, 0, False)


def test_safetensors(weights, tmp_path):
    safetensors.numpy.save_file(weights, tmp_path / "model.bin", {"step": "7"})
    file = official_file.read(tmp_path / "model.bin")
    assert_holds(file, weights)
    assert file.metadata == {"step": "7"}


def test_half_floats_are_read_and_other_types_refused(weights, tmp_path):
    path = tmp_path / "model.safetensors"
    halves = {name: value.astype(jnp.bfloat16) for name, value in weights.items()}
    safetensors.numpy.save_file(halves, path)
    assert_holds(official_file.read(path), halves)
    eighths = {name: value.astype(jnp.float8_e4m3fn) for name, value in weights.items()}
    safetensors.numpy.save_file(eighths, path)
    with pytest.raises(ValueError, match="no file of safetensors"):
        official_file.read(path)


def test_places_without_a_file_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no.ckpt does not exist; name a file of weights"):
        official_file.read(tmp_path / "no.ckpt")
    with pytest.raises(ValueError, match="is a folder; name the file"):
        official_file.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>Google Drive</html>", "it is a web page"),
        (b"\x10" + bytes(7) + b'{"a":1}', "no file of safetensors, or cut off"),
        (bytes(3), "no file of tensors"),
    ],
    ids=["empty", "page", "safetensors", "zeros"],
)
def test_files_of_something_else_are_refused(content, message, tmp_path):
    (tmp_path / "model.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"model.ckpt cannot be imported: .*{message}"):
        official_file.read(tmp_path / "model.ckpt")


def test_a_broken_download_is_refused(weights, tmp_path):
    path = tmp_path / "model.ckpt"
    for write in (
        lambda: official_weights.write_pretrained(path, weights),
        lambda: torch_files.write_chain(path, weights),
        lambda: safetensors.numpy.save_file(weights, path),
    ):
        write()
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match="cut off"):
            official_file.read(path)


def test_other_networks_are_named_by_their_entries(tmp_path):
    discriminator = {"state_dict": {"model.0.weight": np.zeros((64, 3, 4, 4), np.float32)}}
    torch_files.write_checkpoint(tmp_path / "model.ckpt", discriminator)
    with pytest.raises(ValueError, match=r"no weights of this U-Net: .*state_dict.model.0.weight"):
        official_file.read(tmp_path / "model.ckpt")


def test_a_pickled_model_is_refused(weights, tmp_path):
    model = torch_files.Object("models.unet.UNet", {"_parameters": weights})
    torch_files.write_checkpoint(tmp_path / "model.pth", model)
    with pytest.raises(ValueError, match=r"a whole object of the class 'models.unet.UNet'"):
        official_file.read(tmp_path / "model.pth")
