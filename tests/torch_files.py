"""Files as torch.save writes them, made by hand: pickle opcodes of protocol 2, and raw storages."""

import pickle
import pickletools
import struct
import zipfile
from typing import Any, NamedTuple

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


class Object(NamedTuple):
    """An object of any class, as pickles keep it: `argparse.Namespace`, with its `__dict__`."""

    name: str
    state: Any


class Call(NamedTuple):
    """What `__reduce__` asks for: a function by its name, and its arguments."""

    name: str
    arguments: tuple


def pickled(value, storages):
    """The opcodes of a value; arrays become tensors, each in a storage of its own."""
    if isinstance(value, Object):
        state = pickled(value.state, storages)
        new = _name(*value.name.rsplit(".", 1)) + pickle.EMPTY_TUPLE + pickle.NEWOBJ
        return new + state + pickle.BUILD
    if isinstance(value, Call):
        function = _name(*value.name.rsplit(".", 1))
        return function + pickled(value.arguments, storages) + pickle.REDUCE
    if isinstance(value, np.ndarray):
        keys = [key for key, kept in enumerate(storages) if kept is value] or [len(storages)]
        storages += [value] if keys[0] == len(storages) else []
        return _tensor(value, str(keys[0]), older=False)
    if isinstance(value, dict):
        items = b"".join(pickled(part, storages) for item in value.items() for part in item)
        return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
    if isinstance(value, list):
        items = b"".join(pickled(item, storages) for item in value)
        return pickle.EMPTY_LIST + pickle.MARK + items + pickle.APPENDS
    if isinstance(value, tuple):
        return _tuple(*(pickled(item, storages) for item in value))
    return pickle.dumps(value, protocol=2)[2:-1]


def write_checkpoint(path, content):
    """What torch.save makes of any content."""
    storages = []
    opcodes = pickle.PROTO + b"\x02" + pickled(content, storages) + pickle.STOP
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}/data.pkl", opcodes)
        archive.writestr(f"{path.stem}/byteorder", "little")
        for number, array in enumerate(storages):
            archive.writestr(f"{path.stem}/data/{number}", array.tobytes())


def replace_entry(path, name, content, compression=zipfile.ZIP_STORED):
    """Writes a zip again with another content of one entry."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, kept in entries.items():
            is_other = entry == name
            archive.writestr(
                entry,
                content if is_other else kept,
                compression if is_other else zipfile.ZIP_STORED,
            )


def lightning(state_dict, hyper_parameters, **more):
    """The content of a checkpoint of Lightning; arrays of its optimiser, callback, options."""
    moments = {"step": np.array(3, np.float32), "exp_avg": np.zeros(5, np.float32)}
    return {
        "epoch": 299,
        "global_step": 148_500,
        "pytorch-lightning_version": "2.5.1",
        "state_dict": state_dict,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 300}}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': 'train_avg_loss'}": {
                "best_model_score": np.array(0.01, np.float32),
                "dirpath": Object("pathlib.PosixPath", {}),
            }
        },
        "optimizer_states": [{"state": {0: moments}, "param_groups": [{"lr": 2e-4}]}],
        "lr_schedulers": [{"lr_lambdas": [None], "last_epoch": 148_500}],
        "hparams_name": "cfg",
        "hyper_parameters": hyper_parameters,
        **more,
    }


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
