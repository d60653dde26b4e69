"""The weights of a run as safetensors, under the names of the official U-Net.

    checkpoints/{refine,pretrain} -> model.safetensors

`load_state_dict` of the official `UNet` takes them; the metadata say what to use them with.
"""

import json
import pathlib

import jax
import ml_collections
import safetensors.numpy

from ssimbad_jax.models import official_unet
from ssimbad_jax.stages import calibrate, components, remote, run, weights
from ssimbad_jax.training import progress, sharding, whole_file

_OFFICIAL_GROUPS = 32  # written into the official network, and not to be seen in its weights


def export_weights(workdir: pathlib.Path, out: pathlib.Path, kind: str = "auto") -> None:
    """Writes the averaged parameters of a run.

    The file's metadata are texts: `format` ("pt", PyTorch's layout), `weights` ("pretrain" or
    "refine"), `step`, `config` (JSON) and, where the sigma scale comes from it, `calibration`.

    Args:
        workdir: of a run that has a checkpoint.
        out: the file to write; it must not exist.
        kind: "pretrain", "refine" or "auto", see `weights.kind`.

    Raises:
        FileNotFoundError: there is no such run, or it has no checkpoint.
        FileExistsError: there is a file already.
        ValueError: the run's config is damaged, does not fit its checkpoint, or its network is not
            the official one.
    """
    if out.exists():
        raise FileExistsError(f"--out={out} exists already; name a new file")
    config = run.load_config(workdir)
    if config.model.name != "unet":
        raise ValueError(
            f"{workdir} has the network {config.model.name!r} (model.name), which the official "
            "code lacks; export a run of 'unet'"
        )
    config.eval.weights = kind
    used = weights.load(config, workdir, sharding.data_mesh(jax.devices()[:1]))
    arrays = official_unet.official_arrays(used.params, components.unet(config))
    metadata = {
        "format": "pt",
        "weights": used.kind,
        "step": str(used.step),
        "config": json.dumps(components.as_json(_without_places(config))),
    }
    if config.calibrate.scale != "rational":
        metadata["calibration"] = (workdir / calibrate.RESULT).read_text(encoding="utf-8")
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with whole_file.replacing(out) as unfinished:
        unfinished.write_bytes(safetensors.numpy.save(arrays, metadata))
    count = sum(array.size for array in arrays.values())
    progress.say(
        f"torch_export: {out}: {count:,} parameters, {used.kind} weights of step {used.step}. "
        f"{_how_to_load(config)}"
    )


def _without_places(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict(dict.fromkeys(remote.PLACES, ""))
    return changed


def _how_to_load(config: ml_collections.ConfigDict) -> str:
    """Returns the official network's arguments, and where its code has to be another."""
    model = config.model
    arguments = (
        f"UNet(channel_in=7, channel_out=3, channel_base={model.base_channels}, "
        f"n_res_blocks={model.num_res_blocks}, channel_mult={list(model.channel_multipliers)}, "
        f"attention_head={model.num_heads}, cbam={model.cbam})"
    )
    text = f"The official network for it: {arguments}"
    if model.num_groups != _OFFICIAL_GROUPS:
        text += (
            f". All of its {_OFFICIAL_GROUPS} groups of GroupNorm have to be {model.num_groups}, "
            "or it loads and computes something else"
        )
    return text
