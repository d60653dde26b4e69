"""Reads tensors from PyTorch's files without PyTorch, and executes nothing in them.

A `.pth` is a pickle, and a pickle can call anything. Of what such a file may name, only what
tensors are made of is known here; whatever else it names is refused. Both formats are read:
the zip of PyTorch 1.6 and later, and the chain of pickles before it.
"""

import collections
import io
import pathlib
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C

_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


def read(path: pathlib.Path) -> dict[str, Any]:
    """Reads a dictionary of tensors, such as a `state_dict`.

    Args:
        path: what `torch.save` wrote.

    Returns:
        The dictionary, tensors being NumPy arrays; dictionaries, lists, numbers and strings stay
        what they are.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no such file, is damaged, or names anything but tensors.
    """
    try:
        content = _read_zip(path) if zipfile.is_zipfile(path) else _read_chain(path)
    except _DAMAGE as error:
        raise ValueError(f"{path.name} is no file of tensors that torch.save wrote: {error}") from (
            error
        )
    if not isinstance(content, dict):
        raise ValueError(
            f"{path.name} holds a {type(content).__name__}, no dictionary of tensors; save the "
            "model's state_dict()"
        )
    return content


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
    NotImplementedError,
)


class _Storage:
    """The numbers that one or more tensors look at; read later in the older format."""

    def __init__(self, dtype: np.dtype, count: int) -> None:
        self.dtype = dtype
        self.count = count
        self.values = np.zeros(0, dtype)

    def fill(self, content: bytes) -> None:
        if len(content) != self.count * self.dtype.itemsize:
            raise ValueError(f"{len(content)} bytes where {self.count} {self.dtype} should be")
        self.values = np.frombuffer(content, self.dtype)


class _Tensor:
    """A view of a storage."""

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        self._storage, self._offset = storage, offset
        self._shape, self._strides = shape, strides

    def array(self) -> np.ndarray:
        """Returns the numbers, after checking that the view lies inside the storage."""
        values, shape, strides = self._storage.values, self._shape, self._strides
        if len(shape) != len(strides) or min([self._offset, *shape, *strides]) < 0:
            raise ValueError(f"a tensor of shape {shape} and strides {strides}")
        last = self._offset + sum(
            (n - 1) * stride for n, stride in zip(shape, strides, strict=True)
        )
        count = int(np.prod(shape, dtype=object))
        if count and (last >= len(values) or count > len(values)):
            raise ValueError(f"a tensor of shape {shape} does not fit its {len(values)} numbers")
        if not count:
            return np.zeros(shape, values.dtype)
        return np.lib.stride_tricks.as_strided(
            values[self._offset :], shape, [stride * values.itemsize for stride in strides]
        ).copy()


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without storage")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


_KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}


class _TensorUnpickler(pickle.Unpickler):
    """Knows the names tensors are made of, and no others."""

    def __init__(self, file: Any, storage: Callable[[str, np.dtype, int], _Storage]) -> None:
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, which is not part of a tensor and is not executed"
            )
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError(f"an unknown kind of content, {kind!r}")
        return self._storage(key, dtype, int(count))


def _read_zip(path: pathlib.Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is a zip without data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        storages: dict[str, _Storage] = {}

        def storage(key: str, dtype: np.dtype, count: int) -> _Storage:
            if key not in storages:
                storages[key] = _Storage(dtype, count)
                storages[key].fill(archive.read(f"{folder}data/{key}"))
            return storages[key]

        content = _TensorUnpickler(io.BytesIO(archive.read(pickles[0])), storage).load()
        return _arrays(content)


def _read_chain(path: pathlib.Path) -> Any:
    storages: dict[str, _Storage] = {}

    def storage(key: str, dtype: np.dtype, count: int) -> _Storage:
        return storages.setdefault(key, _Storage(dtype, count))

    with path.open("rb") as file:
        # The magic number, the version, and sizes of C types.
        magic, _, _ = (_TensorUnpickler(file, storage).load() for _ in range(3))
        if magic != _MAGIC_NUMBER:
            raise ValueError("it does not start like one")
        content = _TensorUnpickler(file, storage).load()
        for key in _TensorUnpickler(file, storage).load():
            (count,) = struct.unpack("<q", file.read(8))
            if count != storages[key].count:
                raise ValueError(f"{count} numbers where {storages[key].count} should be")
            storages[key].fill(file.read(count * storages[key].dtype.itemsize))
    return _arrays(content)


def _arrays(content: Any) -> Any:
    """Replaces tensors by arrays, in dictionaries, lists and tuples."""
    if isinstance(content, _Tensor):
        return content.array()
    if isinstance(content, dict):
        return {key: _arrays(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_arrays(value) for value in content]
    return content
