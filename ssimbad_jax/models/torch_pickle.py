"""Unpickles what tensors are made of, and executes nothing.

A pickle can call anything. Of the names in it only those of tensors are known here; any other is
refused, or becomes an inert stub that keeps what the pickle says about the object.
"""

import collections
import functools
import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

# Far above what the description of a network and its optimiser takes; the numbers lie elsewhere.
MAX_BYTES = 16 << 20
_MAX_STUB_CLASSES = 1000

_DTYPES: Mapping[str, np.dtype] = {
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


class _Unchangeable:
    """What a pickle may use and not alter."""

    def __setstate__(self, state: Any) -> None:
        """Refuses."""
        raise pickle.UnpicklingError("it changes a part of a tensor")


class Storage(_Unchangeable):
    """The numbers that one or more tensors look at, read when they are first asked for.

    Attributes:
        dtype: of the numbers.
        count: how many there are.
    """

    def __init__(self, dtype: np.dtype, count: int, read: Callable[[], bytes]) -> None:
        """Keeps what is needed to read them; `read` returns their bytes."""
        self.dtype = dtype
        self.count = count
        self._read = read

    @functools.cached_property
    def values(self) -> np.ndarray:
        """The numbers, one-dimensional."""
        content = self._read()
        if len(content) != self.count * self.dtype.itemsize:
            raise ValueError(f"{len(content)} bytes where {self.count} {self.dtype} should be")
        return np.frombuffer(content, self.dtype)


class Tensor(_Unchangeable):
    """A view of a storage."""

    def __init__(
        self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        """Keeps the view; `array` checks it."""
        self._storage, self._offset = storage, offset
        self._shape, self._strides = shape, strides

    def array(self) -> np.ndarray:
        """Returns the numbers, read-only, after checking that the view lies in the storage."""
        shape, strides = self._shape, self._strides
        if len(shape) != len(strides) or min([self._offset, *shape, *strides]) < 0:
            raise ValueError(f"a tensor of shape {shape} and strides {strides}")
        size = self._storage.count
        last = self._offset + sum(
            (n - 1) * stride for n, stride in zip(shape, strides, strict=True)
        )
        count = int(np.prod(shape, dtype=object))
        if count and (last >= size or count > size):
            raise ValueError(f"a tensor of shape {shape} does not fit its {size} numbers")
        if not count:
            return np.zeros(shape, self._storage.dtype)
        values = self._storage.values
        # No copy: a thousand views of one storage take no more memory than one.
        return np.lib.stride_tricks.as_strided(
            values[self._offset :],
            shape,
            [stride * values.itemsize for stride in strides],
            writeable=False,
        )


class Stub:
    """An object of an unknown class: never constructed, it does nothing.

    Attributes:
        name: of the class, with its module.
        state: what the pickle gives as the object's content, None where it gives nothing.
    """

    name: ClassVar[str] = ""
    state: Any

    def __new__(cls, *_: Any, **__: Any) -> "Stub":
        """Ignores what the class would be called with."""
        stub = super().__new__(cls)
        stub.state = None
        return stub

    def __init__(self, *_: Any, **__: Any) -> None:
        """Ignores what the class would be called with."""

    def __setstate__(self, state: Any) -> None:
        """Keeps the state."""
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Keeps an item of a dictionary in the state."""
        if not isinstance(self.state, dict):
            self.state = {}
        self.state[key] = value

    def append(self, item: Any) -> None:
        """Ignores an item of a list."""

    def extend(self, items: Any) -> None:
        """Ignores items of a list."""

    def add(self, item: Any) -> None:
        """Ignores an item of a set."""


# Returns the storage of a key, a dtype and a number of values.
GetStorage = Callable[[str, np.dtype, int], Storage]


def load(content: bytes, get_storage: GetStorage, stub_unknown: bool = False) -> tuple[Any, int]:
    """Unpickles.

    Args:
        content: begins with a pickle.
        get_storage: finds the numbers of tensors.
        stub_unknown: unknown classes become stubs; otherwise they are an error.

    Returns:
        The object, tensors being `Tensor`; and how many bytes the pickle has.

    Raises:
        ValueError: the pickle ends early, or asks for memory out of proportion.
        pickle.UnpicklingError: it is none, or names what is not known.
        Exception: others, as a damaged pickle has it.
    """
    length = _checked_length(content)
    return _TensorUnpickler(content[:length], get_storage, stub_unknown).load(), length


def _checked_length(content: bytes) -> int:
    """Returns the length of the pickle, whose operations are looked at before any is done."""
    for operation, argument, position in pickletools.genops(content[:MAX_BYTES]):
        # The unpickler allocates as many places as the largest index says.
        if operation.name.endswith("PUT") and int(argument or 0) > len(content):
            raise ValueError(f"its list of objects would have {argument} places")
        if operation.name == "STOP" and position is not None:
            return position + 1
    raise ValueError("its description does not end")


class _StorageType(NamedTuple):
    """A type of storage, as it is named."""

    dtype: np.dtype


class _Function(_Unchangeable):
    """A function that a pickle may call."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)


def _rebuild_tensor(
    storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> Tensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: Tensor, *_: Any) -> Tensor:
    return tensor


_KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_rebuild_parameter),
    **{("torch", name): _StorageType(dtype) for name, dtype in _DTYPES.items()},
}


class _TensorUnpickler(pickle.Unpickler):
    """Knows the names tensors are made of."""

    def __init__(self, content: bytes, get_storage: GetStorage, stub_unknown: bool) -> None:
        super().__init__(io.BytesIO(content))
        self._get_storage = get_storage
        self._stub_unknown = stub_unknown
        self._stubs: dict[str, type[Stub]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        full_name = f"{module}.{name}"
        if not self._stub_unknown:
            raise pickle.UnpicklingError(
                f"it names {full_name}, which is not part of a tensor and is not executed"
            )
        if full_name not in self._stubs:
            if len(self._stubs) >= _MAX_STUB_CLASSES:
                raise pickle.UnpicklingError(f"it names {_MAX_STUB_CLASSES} classes and more")
            self._stubs[full_name] = type("Stub", (Stub,), {"name": full_name})
        return self._stubs[full_name]

    def persistent_load(self, pid: Any) -> Any:
        kind, storage_type, key, _, count, *_ = pid
        if kind != "storage" or not isinstance(key, str):
            raise pickle.UnpicklingError(f"an unknown kind of content, {kind!r}")
        if not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError("an unknown type of numbers")
        if not isinstance(count, int) or count < 0:
            raise pickle.UnpicklingError("a number of values that is none")
        return self._get_storage(key, storage_type.dtype, count)
