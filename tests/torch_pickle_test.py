"""Pickles of tensors: unknown classes stay inert, and nothing hostile has an effect."""

import os
import pickle
import struct

import numpy as np
import pytest

from ssimbad_jax.models import torch_pickle
from tests import torch_files


def storage(key, dtype, count):
    return torch_pickle.Storage(dtype, count, lambda: np.arange(count, dtype=dtype).tobytes())


def load(content, stub_unknown=True, storage=None):
    return torch_pickle.load(content, storage, stub_unknown)[0]


def pickled(value):
    return pickle.PROTO + b"\x02" + torch_files.pickled(value, []) + pickle.STOP


class Trap:
    """Leaves a folder behind where a general unpickler loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class WithItems(dict):
    """A dictionary of a class of its own, with a state beside its items."""


def test_an_unknown_object_keeps_its_class_and_state():
    stub = load(pickled(torch_files.Object("argparse.Namespace", {"c": 0.3, "gpus": [0, 1]})))
    assert isinstance(stub, torch_pickle.Stub)
    assert (stub.name, stub.state) == ("argparse.Namespace", {"c": 0.3, "gpus": [0, 1]})


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_unknown_containers_keep_the_items_of_dictionaries(protocol):
    content = pickle.dumps({"a": WithItems(c=0.3), "b": {1, 2}, "c": range(3)}, protocol)
    loaded = load(content)
    assert loaded["a"].state == {"c": 0.3}
    assert all(isinstance(v, torch_pickle.Stub) or v == {1, 2} for v in loaded.values())


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "wrap",
    [
        lambda trap: trap,
        lambda trap: {"state_dict": {"a": [trap, (trap,)]}},
        lambda trap: WithItems(inner=trap),
    ],
    ids=["alone", "nested", "in a stub"],
)
def test_nothing_is_called(wrap, protocol, tmp_path):
    content = pickle.dumps(wrap(Trap(tmp_path / "trap")), protocol)
    load(content)
    assert not (tmp_path / "trap").exists()
    pickle.loads(content)  # the trap works
    assert (tmp_path / "trap").exists()


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "builtins.exec", "nt.system"])
def test_functions_become_stubs_that_ignore_their_arguments(name):
    call = torch_files.Call(name, ("raise SystemExit",))
    stub = load(pickled(torch_files.Object("a.B", {"x": call}))).state["x"]
    assert (type(stub).__mro__[1], stub.name) == (torch_pickle.Stub, name)


def test_the_strict_mode_refuses_any_of_it():
    for value in (
        torch_files.Object("argparse.Namespace", {}),
        torch_files.Call("builtins.eval", ("1",)),
    ):
        with pytest.raises(pickle.UnpicklingError, match="is not part of a tensor and is not exec"):
            load(pickled(value), stub_unknown=False)


@pytest.mark.parametrize(
    "target",
    ["torch.FloatStorage", "torch._utils._rebuild_tensor_v2", "collections.OrderedDict", "os.Any"],
)
@pytest.mark.parametrize("state", [{"call": 1}, (None, {"__defaults__": (1,), "dtype": 1})])
def test_what_names_stand_for_cannot_be_altered(target, state):
    """BUILD on a class or function would change it for the whole process."""
    module, _, name = target.rpartition(".")
    opcodes = f"c{module}\n{name}\n".encode() + torch_files.pickled(state, []) + pickle.BUILD
    with pytest.raises((pickle.UnpicklingError, AttributeError, TypeError)):
        load(pickle.PROTO + b"\x02" + opcodes + pickle.STOP)
    tensor = load(torch_files.state_dict({"a": np.zeros(3, np.float32)}), storage=storage)["a"]
    np.testing.assert_array_equal(tensor.array(), [0, 1, 2])


@pytest.mark.parametrize("key", ["_offset", "array"])
def test_tensors_cannot_be_altered(key):
    tensor = torch_files.pickled(np.zeros(3, np.float32), [])
    opcodes = tensor + torch_files.pickled({key: 1}, []) + pickle.BUILD
    with pytest.raises(pickle.UnpicklingError, match="changes a part of a tensor"):
        load(pickle.PROTO + b"\x02" + opcodes + pickle.STOP, storage=storage)


@pytest.mark.parametrize(
    "opcodes",
    [
        pickle.NONE + pickle.LONG_BINPUT + struct.pack("<I", 2**32 - 1),
        pickle.NONE + pickle.PUT + b"99999999999\n",
        pickle.BINBYTES8 + struct.pack("<Q", 2**60),
        pickle.BINUNICODE8 + struct.pack("<Q", 2**60),
        pickle.BYTEARRAY8 + struct.pack("<Q", 2**60),
        pickle.LONG4 + struct.pack("<i", 2**31 - 1),
    ],
    ids=["places", "places in text", "bytes", "text", "array", "number"],
)
def test_memory_that_the_pickle_only_claims_is_not_taken(opcodes):
    with pytest.raises(ValueError):
        load(pickle.PROTO + b"\x04" + opcodes + pickle.STOP)


def test_a_flood_of_classes_is_refused():
    names = {str(n): torch_files.Object(f"a.B{n}", {}) for n in range(1001)}
    with pytest.raises(pickle.UnpicklingError, match="1000 classes and more"):
        load(pickled(names))


def test_views_of_one_storage_share_its_memory():
    views = torch_files.state_dict({"a": np.zeros(3, np.float32), "b": np.zeros(2, np.float32)})
    one = torch_pickle.Storage(np.dtype("<f4"), 3, lambda: np.arange(3, dtype="<f4").tobytes())
    first, second = load(views, storage=lambda *_: one).values()
    assert np.shares_memory(first.array(), second.array())
    assert not first.array().flags.writeable


@pytest.mark.parametrize("length", range(0, 200, 7))
def test_an_end_that_is_missing_is_noticed(length):
    content = torch_files.state_dict({"a": np.zeros(3, np.float32)})
    assert len(content) > 200
    with pytest.raises(ValueError):
        load(content[:length], storage=storage)


@pytest.mark.parametrize("opcodes", [b"\x82\x01", b"\x83\x01\x00", b"(i__main__\nno_such\n"])
def test_other_ways_to_name_classes_lead_nowhere(opcodes):
    """Extension codes, and the instances of the oldest protocol."""
    try:
        found = load(pickle.PROTO + b"\x02" + opcodes + pickle.STOP)
    except (ValueError, pickle.UnpicklingError):
        return
    assert isinstance(found, torch_pickle.Stub)
