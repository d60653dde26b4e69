"""Files of tensors are read without PyTorch, and nothing in them is executed."""

import os
import pickle

import numpy as np
import pytest

from ssimbad_jax.models import torch_file
from tests import torch_files

WRITERS = {"zip": torch_files.write_zip, "chain": torch_files.write_chain}
each_format = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())


class Malicious:
    """Leaves a file behind where a general unpickler loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def arrays():
    generator = np.random.default_rng(0)
    return {
        "conv.weight": generator.standard_normal((4, 3, 2, 2)).astype(np.float32),
        "conv.bias": generator.standard_normal(4),
        "half": generator.standard_normal((2, 5)).astype(np.float16),
        "count": np.array(7, np.int64),
        "bytes": generator.integers(0, 255, 6, np.uint8),
        "mask": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float32),
    }


@each_format
def test_tensors_come_back(write, tmp_path):
    write(tmp_path / "weights.pth", arrays())
    found = torch_file.read(tmp_path / "weights.pth")
    assert list(found) == list(arrays())
    for name, expected in arrays().items():
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == expected.dtype


def test_views_of_a_storage_are_followed(tmp_path):
    base = np.arange(12, dtype=np.float32)
    view = {"offset": 1, "shape": (2, 3), "strides": (1, 4)}
    torch_files.write_zip(tmp_path / "weights.pth", {"a": base}, **view)
    found = torch_file.read(tmp_path / "weights.pth")["a"]
    np.testing.assert_array_equal(found, [[1, 5, 9], [2, 6, 10]])


@pytest.mark.parametrize(
    "view",
    [
        {"offset": 9, "shape": (4,), "strides": (1,)},
        {"offset": -1, "shape": (4,), "strides": (1,)},
        {"shape": (2, 2), "strides": (100, 1)},
        {"shape": (1000, 1000), "strides": (0, 0)},
        {"shape": (2, 2), "strides": (1,)},
    ],
)
def test_views_outside_of_their_storage_are_refused(view, tmp_path):
    torch_files.write_zip(tmp_path / "weights.pth", {"a": np.zeros(12, np.float32)}, **view)
    with pytest.raises(ValueError, match=r"weights.pth is no .*: a tensor of shape"):
        torch_file.read(tmp_path / "weights.pth")


@each_format
@pytest.mark.parametrize("protocol", [2, 4])
def test_malicious_pickles_are_refused_and_not_executed(write, protocol, tmp_path):
    trap = tmp_path / "trap"
    content = pickle.dumps({"weight": Malicious(trap)}, protocol=protocol)
    write(tmp_path / "weights.pth", {}, pickled=content)
    with pytest.raises(ValueError, match=r"names (posix|nt).mkdir, which is not part of a tensor"):
        torch_file.read(tmp_path / "weights.pth")
    assert not trap.exists()
    pickle.loads(content)  # the trap works
    assert trap.exists()


def test_malicious_pickles_without_a_container_are_not_executed(tmp_path):
    (tmp_path / "weights.pth").write_bytes(pickle.dumps(Malicious(tmp_path / "trap")))
    with pytest.raises(ValueError, match="mkdir"):
        torch_file.read(tmp_path / "weights.pth")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("name", ["builtins.eval", "torch.load", "numpy.dtype", "torch._utils.x"])
def test_other_names_are_refused(name, tmp_path):
    module, _, attribute = name.rpartition(".")
    content = b"\x80\x02}X\x01\x00\x00\x00ac" + f"{module}\n{attribute}\n".encode() + b"s."
    torch_files.write_zip(tmp_path / "weights.pth", {}, pickled=content)
    with pytest.raises(ValueError, match=name):
        torch_file.read(tmp_path / "weights.pth")


@each_format
def test_damaged_files_are_refused_wherever_they_end(write, tmp_path):
    path = tmp_path / "weights.pth"
    write(path, arrays())
    content = path.read_bytes()
    for length in [0, 1, 10, *range(100, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"weights.pth is no file of tensors"):
            torch_file.read(path)


@each_format
def test_other_contents_are_refused(write, tmp_path):
    write(tmp_path / "weights.pth", {}, pickled=pickle.dumps([1, 2], protocol=2))
    with pytest.raises(ValueError, match=r"holds a list, no dictionary .* state_dict"):
        torch_file.read(tmp_path / "weights.pth")
