"""Opening a file of official weights: where its U-Net is, and what it tells of the training."""

import pathlib
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import safetensors

from ssimbad_jax.models import official_sizes, torch_file

_HYPER_PARAMETERS = "hyper_parameters."
_NETWORK = "denoise_fn."
_NOISE_LEVELS, _GAMMAS = "inference_time_steps", "gammas"


class OfficialFile(NamedTuple):
    """What a file holds.

    Attributes:
        weights: of the U-Net, by the official names.
        prefix: what stood before these names.
        noise_levels: that the official sampler walks, `[steps + 1]`, down to 0; of SSIMBaD.
        gammas: cumulative products of 1 - beta, `[T]`; of AnimeDiffusion.
        settings: the options of the training's command, if the file keeps them.
        step: of the training, 0 where the file does not say.
        is_refined: whether the weights come from a refinement, as far as the file says.
        metadata: of a file of safetensors, such as `torch_export` writes.
    """

    weights: dict[str, np.ndarray]
    prefix: str
    noise_levels: np.ndarray | None = None
    gammas: np.ndarray | None = None
    settings: Mapping[str, Any] = {}
    step: int = 0
    is_refined: bool = False
    metadata: Mapping[str, str] = {}


def read(path: pathlib.Path, prefix: str | None = None) -> OfficialFile:
    """Reads the U-Net's weights, and nothing else of any size; executes nothing.

    Args:
        path: a checkpoint of Lightning, a `.pth` that holds a `state_dict`, or safetensors.
        prefix: what stands before the U-Net's names, if the file holds several.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, no file of weights, damaged, or holds another network.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name the file of weights in it")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; name a file of weights")
    try:
        if _is_safetensors(path):
            return _read_safetensors(path, prefix)
        return _read_checkpoint(path, prefix)
    except ValueError as error:
        raise ValueError(f"{path} cannot be imported: {error}") from error


def _is_safetensors(path: pathlib.Path) -> bool:
    """A file of safetensors begins with the length of its header, which is JSON."""
    with path.open("rb") as file:
        begin = file.read(9)
    if len(begin) < 9:
        return False
    (length,) = struct.unpack("<Q", begin[:8])
    return length < 1 << 32 and begin[8:] == b"{"


def _read_safetensors(path: pathlib.Path, prefix: str | None) -> OfficialFile:
    try:
        with safetensors.safe_open(path, framework="np") as file:
            chosen = _Chosen(list(file.keys()), prefix)
            tensors = {name: file.get_tensor(name) for name in chosen.names}
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, TypeError, AttributeError) as error:
        # The latter two for types of numbers that NumPy lacks.
        raise ValueError(f"it is no file of safetensors, or cut off ({error})") from error
    return chosen.take(tensors)._replace(metadata=metadata)


def _read_checkpoint(path: pathlib.Path, prefix: str | None) -> OfficialFile:
    found: list[_Chosen] = []

    def choose(names: list[str]) -> list[str]:
        found.append(_Chosen(names, prefix))
        return found[0].names

    content = torch_file.read_checkpoint(path, choose)
    file = found[0].take(content.tensors)
    settings = {
        name.rpartition(".")[2]: value
        for name, value in content.values.items()
        if name.startswith(_HYPER_PARAMETERS)
    }
    is_refined = bool(settings.get("finetuning_inference_time_step"))
    step = content.values.get("global_step")
    return file._replace(
        settings=settings,
        step=step if isinstance(step, int) and step >= 0 else 0,
        is_refined=file.is_refined or is_refined or settings.get("do_finetuning") is True,
    )


class _Chosen:
    """Which tensors of a file are read: those of the U-Net, and those beside it."""

    def __init__(self, names: list[str], prefix: str | None) -> None:
        self._prefix = official_sizes.find_prefix(names, prefix)
        self._is_refined = official_sizes.is_repeated(names)
        beside = self._prefix.removesuffix(_NETWORK)
        self._beside = {key: f"{beside}{key}" for key in (_NOISE_LEVELS, _GAMMAS)}
        self._weights = [
            name
            for name in names
            if name.startswith(self._prefix) and name not in self._beside.values()
        ]
        self.names = self._weights + [n for n in self._beside.values() if n in names]

    def take(self, tensors: Mapping[str, np.ndarray]) -> OfficialFile:
        return OfficialFile(
            weights={name.removeprefix(self._prefix): tensors[name] for name in self._weights},
            prefix=self._prefix,
            noise_levels=tensors.get(self._beside[_NOISE_LEVELS]),
            gammas=tensors.get(self._beside[_GAMMAS]),
            is_refined=self._is_refined,
        )
