"""Files as torch.save writes them, made by hand: pickle opcodes of protocol 2, and raw storages."""

import pickle
import pickletools
import struct
import zipfile

import numpy as np

STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


def _name(module, name):
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _text(text):
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _integer(number):
    return pickle.BININT + struct.pack("<i", number)


def _tuple(*items):
    return pickle.MARK + b"".join(items) + pickle.TUPLE


_ORDERED_DICT = _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE


def _tensor(array, key, older, offset=0, shape=None, strides=None):
    """The opcodes that rebuild an array from the storage `key`."""
    pid = [
        _text("storage"),
        _name("torch", STORAGES[str(array.dtype)]),
        _text(key),
        _text("cpu"),
        _integer(array.size),
    ]
    storage = _tuple(*pid, *([pickle.NONE] if older else [])) + pickle.BINPERSID
    strides = strides or [stride // array.itemsize for stride in np.empty_like(array).strides]
    arguments = _tuple(
        storage,
        _integer(offset),
        _tuple(*map(_integer, array.shape if shape is None else shape)),
        _tuple(*map(_integer, strides)),
        pickle.NEWFALSE,
        _ORDERED_DICT,
    )
    return _name("torch._utils", "_rebuild_tensor_v2") + arguments + pickle.REDUCE


def state_dict(arrays, older=False, **view):
    """The pickle of an ordered dictionary of tensors, storage k belonging to array k."""
    items = b"".join(
        _text(name) + _tensor(array, str(number), older, **view)
        for number, (name, array) in enumerate(arrays.items())
    )
    metadata = pickle.EMPTY_DICT + _text("_metadata") + _ORDERED_DICT + pickle.SETITEM
    opcodes = _ORDERED_DICT + pickle.MARK + items + pickle.SETITEMS + metadata + pickle.BUILD
    content = pickle.PROTO + b"\x02" + opcodes + pickle.STOP
    pickletools.dis(content, out=_Nowhere())  # well formed
    return content


class _Nowhere:
    def write(self, text):
        pass


def write_zip(path, arrays, pickled=None, **view):
    """The format since PyTorch 1.6."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled or state_dict(arrays, **view))
        archive.writestr("archive/version", "3\n")
        for number, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{number}", array.tobytes())


def write_chain(path, arrays, pickled=None):
    """The format before PyTorch 1.6."""
    sizes = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    with path.open("wb") as file:
        for content in (MAGIC_NUMBER, 1001, sizes):
            file.write(pickle.dumps(content, protocol=2))
        file.write(pickled or state_dict(arrays, older=True))
        file.write(pickle.dumps([str(number) for number in range(len(arrays))], protocol=2))
        for array in arrays.values():
            file.write(struct.pack("<q", array.size) + array.tobytes())
