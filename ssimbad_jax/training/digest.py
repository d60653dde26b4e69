"""Digests of what a checkpoint holds: damage on the disk must not go unnoticed.

CRC-32 finds every burst of up to 32 wrong bits and overlooks other damage once in four thousand
million cases, at a gigabyte a second. It is no seal against forgery: a checkpoint is not to be
trusted because its digests are right.
"""

import json
import pathlib
import zlib
from collections.abc import Iterable
from typing import Any

import flax.serialization
import flax.traverse_util
import numpy as np

_OWN = "of_this_file"


class MismatchError(ValueError):
    """What is read is not what was saved."""


def of_items(arrays: dict[str, Any], jsons: dict[str, Any]) -> dict[str, Any]:
    """Returns the digests of a checkpoint's items, plain JSON types.

    Args:
        arrays: trees of arrays by the item's name; this host holds the arrays whole.
        jsons: plain JSON types by the item's name.

    Returns:
        For each array, by its path, such as "float32[3,3,7,64] crc32 1a2b3c4d"; for JSON the
        checksum; and one of all these digests.
    """
    record: dict[str, Any] = {name: _of_arrays(tree) for name, tree in arrays.items()}
    record |= {name: _of_json(value) for name, value in jsons.items()}
    return {**record, _OWN: _of_json(record)}


def of_files(folder: pathlib.Path, files: Iterable[pathlib.Path]) -> dict[str, Any]:
    """Returns the digests of files, by their paths in `folder`, and one of all these digests."""
    record = {file.relative_to(folder).as_posix(): _crc(file.read_bytes()) for file in files}
    return {**record, _OWN: _of_json(record)}


def check_itself(record: dict[str, Any]) -> None:
    """Raises MismatchError if the digests themselves are not what was saved."""
    if record.get(_OWN) != _of_json({k: v for k, v in record.items() if k != _OWN}):
        raise MismatchError("its digests are not what was saved")


def check_items(record: dict[str, Any], arrays: dict[str, Any], jsons: dict[str, Any]) -> None:
    """Raises MismatchError if an item is not what was saved; see `of_items`."""
    read = of_items(arrays, jsons)
    for name in (*arrays, *jsons):
        if read[name] != record[name]:
            raise MismatchError(f"{name} is not what was saved")


def check_files(record: dict[str, Any], folder: pathlib.Path) -> None:
    """Raises MismatchError if a file is not what was saved, or is not there; see `of_files`."""
    check_itself(record)
    for name, saved in record.items():
        file = folder / name
        if name != _OWN and not (file.is_file() and _crc(file.read_bytes()) == saved):
            raise MismatchError(f"{name} is not what was saved")


def shapes(record: dict[str, Any], item: str) -> dict[str, str]:
    """Returns kind and shape, such as `float32[3,3,7,64]`, of an item's arrays by their paths."""
    return {name: text.split(" ")[0] for name, text in record[item].items()}


def kind_and_shape(array: Any) -> str:
    """Returns such as `float32[3,3,7,64]`."""
    return f"{np.dtype(array.dtype).name}[{','.join(map(str, array.shape))}]"


def flatten(tree: Any) -> dict[str, Any]:
    """Returns the arrays by path, the same for containers of any type."""
    state = flax.serialization.to_state_dict(tree)
    if not isinstance(state, dict):
        return {"": state}
    flat = flax.traverse_util.flatten_dict(state, sep="/")
    return {name: leaf for name, leaf in flat.items() if hasattr(leaf, "shape")}


def _of_arrays(tree: Any) -> dict[str, str]:
    return {
        name: f"{kind_and_shape(leaf)} {_crc(_bytes(leaf))}" for name, leaf in flatten(tree).items()
    }


def _of_json(value: Any) -> str:
    return _crc(json.dumps(value, sort_keys=True).encode())


def _bytes(array: Any) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _crc(content: bytes | memoryview) -> str:
    return f"crc32 {zlib.crc32(content):08x}"
