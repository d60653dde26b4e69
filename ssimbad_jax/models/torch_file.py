"""Reads tensors from PyTorch's files without PyTorch, and executes nothing in them.

Both formats are read: the zip of PyTorch 1.6 and later, and the chain of pickles before it. Of what
their pickles name only tensors are known, see `torch_pickle`.
"""

import contextlib
import pathlib
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ssimbad_jax.models import torch_pickle

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
# What a download often leaves instead of weights, by how it begins.
_OTHER_FILES = {
    (b"pk\x03\x04",): "it is cut off; get the file again",
    (b"<!doctype", b"<html", b"<head"): "it is a web page; get the file from the page's own link",
    (b"version https://git-lfs",): "it is a pointer of Git LFS; get the file by git lfs pull",
}
# Nested deeper, or named longer, is no weight.
_MAX_DEPTH = 8
_MAX_NAME = 200
_MAX_ITEMS = 1000

# What reading damaged files raises.
_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    RuntimeError,  # an encrypted zip, a compression that zipfile lacks, and nesting too deep
)


class Checkpoint(NamedTuple):
    """What a checkpoint holds that needs no class to be understood.

    Attributes:
        tensors: the chosen ones by name, dots between the keys of nested dictionaries.
        values: numbers, texts and lists of them, likewise, those inside objects included.
    """

    tensors: dict[str, np.ndarray]
    values: dict[str, Any]


def read(path: pathlib.Path) -> dict[str, Any]:
    """Reads a dictionary of tensors, such as a `state_dict`, and refuses whatever else is in it.

    Args:
        path: what `torch.save` wrote.

    Returns:
        The dictionary, tensors being read-only NumPy arrays; dictionaries, lists, numbers and
        strings stay what they are.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no such file, is damaged, or names anything but tensors.
    """
    with contextlib.ExitStack() as open_files, _explained(path):
        content = _arrays(_open(path, open_files, stub_unknown=False), {})
    return _dictionary(path, content)


def read_checkpoint(path: pathlib.Path, choose: Callable[[list[str]], Iterable[str]]) -> Checkpoint:
    """Reads tensors and plain values of a checkpoint that may hold objects of any class.

    Objects stay inert: nothing of them is constructed or called.

    Args:
        path: what `torch.save` wrote, such as a checkpoint of Lightning.
        choose: names of all tensors -> those to read; what it raises is passed on.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no such file, or is damaged.
    """
    with contextlib.ExitStack() as open_files:
        with _explained(path):
            content = _open(path, open_files, stub_unknown=True)
        tensors, values = _flatten(_dictionary(path, content))
        names = choose(list(tensors))
        with _explained(path):
            return Checkpoint({name: tensors[name].array() for name in names}, values)


def _open(path: pathlib.Path, open_files: contextlib.ExitStack, stub_unknown: bool) -> Any:
    """Returns the content, whose tensors can be read as long as the files are open."""
    if zipfile.is_zipfile(path):
        archive = open_files.enter_context(zipfile.ZipFile(path))
        return _read_zip(archive, stub_unknown)
    file = open_files.enter_context(path.open("rb"))
    return _read_chain(file, path.stat().st_size, stub_unknown)


@contextlib.contextmanager
def _explained(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{path.name} is no file of tensors that torch.save wrote: {reason}"
        ) from error


def _dictionary(path: pathlib.Path, content: Any) -> dict[str, Any]:
    if isinstance(content, dict):
        return content
    if isinstance(content, torch_pickle.Stub):
        what = f"a whole object of the class {content.name[:_MAX_NAME]!r}"
    else:
        what = f"a {type(content).__name__}"
    raise ValueError(
        f"{path.name} holds {what}, no dictionary of tensors; save the model's state_dict()"
    )


def _read_zip(archive: zipfile.ZipFile, stub_unknown: bool) -> Any:
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("it is a zip without data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    storages: dict[str, torch_pickle.Storage] = {}

    def get_storage(key: str, dtype: np.dtype, count: int) -> torch_pickle.Storage:
        if key not in storages:
            name, size = f"{folder}data/{key}", count * dtype.itemsize
            storages[key] = torch_pickle.Storage(
                dtype, count, lambda: _read_entry(archive, name, size)
            )
        return storages[key]

    content = _read_entry(archive, pickles[0], torch_pickle.MAX_BYTES, may_be_less=True)
    return torch_pickle.load(content, get_storage, stub_unknown)[0]


def _read_entry(archive: zipfile.ZipFile, name: str, size: int, may_be_less: bool = False) -> bytes:
    entry = archive.getinfo(name)
    # torch.save never compresses, and only what is compressed can be larger than the file.
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    if entry.file_size > size or (entry.file_size < size and not may_be_less):
        raise ValueError(f"{name} has {entry.file_size} bytes instead of {size}")
    try:
        return archive.read(entry)
    except OSError as error:  # a place before the file's beginning
        raise ValueError(f"{name} cannot be read ({error})") from error


def _read_chain(file: Any, file_size: int, stub_unknown: bool) -> Any:
    begin = file.read(512)
    if not begin:
        raise ValueError("it is empty")
    for beginnings, reason in _OTHER_FILES.items():
        if begin.lstrip().lower().startswith(beginnings):
            raise ValueError(reason)
    file.seek(0)
    places: dict[str, int] = {}
    storages: dict[str, torch_pickle.Storage] = {}

    def read_storage(key: str, size: int) -> bytes:
        file.seek(places[key])
        return file.read(size)

    def get_storage(key: str, dtype: np.dtype, count: int) -> torch_pickle.Storage:
        size = count * dtype.itemsize
        return storages.setdefault(
            key, torch_pickle.Storage(dtype, count, lambda: read_storage(key, size))
        )

    def load() -> Any:
        position = file.tell()
        part = file.read(torch_pickle.MAX_BYTES)
        content, length = torch_pickle.load(part, get_storage, stub_unknown)
        file.seek(position + length)
        return content

    # The magic number, the version, and sizes of C types.
    magic, _, _ = load(), load(), load()
    if magic != _MAGIC_NUMBER:
        raise ValueError("it does not start like one")
    content = load()
    for key in load():
        (count,) = struct.unpack("<q", file.read(8))
        if count != storages[key].count:
            raise ValueError(f"{count} numbers where {storages[key].count} should be")
        places[key] = file.tell()
        end = places[key] + count * storages[key].dtype.itemsize
        if end > file_size:
            raise ValueError("it is cut off; get the file again")
        file.seek(end)
    return content


def _arrays(content: Any, done: dict[int, Any]) -> Any:
    """Replaces tensors by arrays, in dictionaries, lists and tuples, each of them once."""
    if id(content) in done:
        return done[id(content)]
    if isinstance(content, torch_pickle.Tensor):
        result: Any = content.array()
    elif isinstance(content, dict):
        result = {key: _arrays(value, done) for key, value in dict.items(content)}
    elif isinstance(content, list | tuple):
        result = [_arrays(value, done) for value in content]
    else:
        return content
    done[id(content)] = result
    return result


def _flatten(
    content: dict[Any, Any],
) -> tuple[dict[str, torch_pickle.Tensor], dict[str, Any]]:
    """Returns tensors and plain values by name; what holds them is looked into once."""
    tensors: dict[str, torch_pickle.Tensor] = {}
    values: dict[str, Any] = {}
    seen: set[int] = set()

    def visit(container: dict[Any, Any], prefix: str, depth: int) -> None:
        if id(container) in seen or depth > _MAX_DEPTH:
            return
        seen.add(id(container))
        for key, value in dict.items(container):
            if not isinstance(key, str | int) or len(str(key)) > _MAX_NAME:
                continue
            name = f"{prefix}{key}"
            inner = value.state if isinstance(value, torch_pickle.Stub) else value
            if isinstance(inner, dict):
                visit(inner, f"{name}.", depth + 1)
            elif isinstance(value, torch_pickle.Tensor):
                tensors[name] = value
            elif _is_plain(value):
                values[name] = value

    visit(content, "", 0)
    return tensors, values


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= _MAX_ITEMS and all(_is_plain_scalar(item) for item in value)
    return _is_plain_scalar(value)


def _is_plain_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
