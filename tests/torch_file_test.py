"""Files of tensors are read without PyTorch, and nothing in them is executed."""

import os
import pickle
import zipfile

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


def everything(names):
    return names


def written(path, content):
    torch_files.write_checkpoint(path, content)
    return path


def test_a_checkpoint_gives_tensors_and_plain_values_by_dotted_names(tmp_path):
    options = torch_files.Object("argparse.Namespace", {"c": 0.3, "channel_mult": [1, 2]})
    content = torch_files.lightning({"model.a": np.arange(3.0)}, options)
    found = torch_file.read_checkpoint(written(tmp_path / "model.ckpt", content), everything)
    np.testing.assert_array_equal(found.tensors["state_dict.model.a"], np.arange(3.0))
    assert not [name for name in found.tensors if "exp_avg" in name]
    assert found.values["hyper_parameters.c"] == 0.3
    assert found.values["hyper_parameters.channel_mult"] == [1, 2]
    assert found.values["global_step"] == 148_500


def test_only_chosen_tensors_are_read(tmp_path):
    path = tmp_path / "model.ckpt"
    torch_files.write_checkpoint(path, {"a": np.zeros(2), "b": np.ones(3)})
    torch_files.replace_entry(path, "model/data/0", b"damaged")
    assert list(torch_file.read_checkpoint(path, lambda names: ["b"]).tensors) == ["b"]
    with pytest.raises(ValueError, match="model/data/0 has 7 bytes instead of 16"):
        torch_file.read_checkpoint(path, everything)


def test_what_choosing_raises_is_passed_on(tmp_path):
    path = written(tmp_path / "model.ckpt", {"a": np.zeros(2)})

    def refuse(names):
        raise ValueError(f"none of {names}")

    with pytest.raises(ValueError, match=r"^none of \['a'\]$"):
        torch_file.read_checkpoint(path, refuse)


def test_a_checkpoint_executes_nothing(tmp_path):
    trap = tmp_path / "trap"
    content = {"state_dict": {"a": np.zeros(2)}, "x": torch_files.Call("os.mkdir", (str(trap),))}
    found = torch_file.read_checkpoint(written(tmp_path / "model.ckpt", content), everything)
    assert list(found.tensors) == ["state_dict.a"] and not trap.exists()


def test_a_whole_model_is_refused_by_its_class(tmp_path):
    model = torch_files.Object("models.diffusion.GaussianDiffusion", {"_modules": {}})
    with pytest.raises(ValueError, match=r"a whole object of the class .*GaussianDiffusion"):
        torch_file.read_checkpoint(written(tmp_path / "model.pth", model), everything)


@pytest.mark.parametrize("read", [torch_file.read, everything], ids=["strict", "checkpoint"])
def test_references_that_multiply_are_followed_once(read, tmp_path):
    """Thirty levels of a list, or dictionary, that holds the one before twice: 2^30 leaves."""
    opcodes = torch_files.pickled({"a": np.zeros(2, np.float32)}, [])
    for _ in range(30):
        opcodes += pickle.BINPUT + b"\x01" + pickle.POP
        pair = pickle.BINGET + b"\x01"
        opcodes += pickle.EMPTY_DICT + b"(K\x00" + pair + b"K\x01" + pair + pickle.SETITEMS
    content = pickle.PROTO + b"\x02" + opcodes + pickle.STOP
    path = tmp_path / "model.pth"
    torch_files.write_zip(path, {"a": np.zeros(2, np.float32)}, pickled=content)
    if read is everything:
        assert len(torch_file.read_checkpoint(path, everything).tensors) <= 1
    else:
        assert list(read(path)) == [0, 1]


def test_a_dictionary_that_holds_itself_is_refused_or_passed_over(tmp_path):
    itself = pickle.EMPTY_DICT + pickle.BINPUT + b"\x01" + b"K\x00" + pickle.BINGET + b"\x01s"
    path = tmp_path / "model.pth"
    torch_files.write_zip(path, {}, pickled=pickle.PROTO + b"\x02" + itself + pickle.STOP)
    assert torch_file.read_checkpoint(path, everything).tensors == {}
    with pytest.raises(ValueError, match="no file of tensors"):
        torch_file.read(path)


def test_compressed_entries_are_refused(tmp_path):
    """torch.save writes none, and a few bytes of one can become gigabytes."""
    path = written(tmp_path / "model.ckpt", {"a": np.zeros(1000)})
    torch_files.replace_entry(path, "model/data/0", bytes(8000), zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="model/data/0 is compressed"):
        torch_file.read_checkpoint(path, everything)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html>\n<html><title>Sign in</title></html>", "it is a web page"),
        (b"<html><body>Quota exceeded</body></html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a pointer of Git"),
        (b"weights, they said", "unknown"),
    ],
)
def test_what_is_no_checkpoint_is_said(content, reason, tmp_path):
    (tmp_path / "model.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"model.ckpt is no .*{reason}"):
        torch_file.read_checkpoint(tmp_path / "model.ckpt", everything)


@each_format
def test_a_download_that_broke_off_is_said(write, tmp_path):
    path = tmp_path / "model.ckpt"
    write(path, {"a": np.zeros(5000)})
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ValueError, match="it is cut off; get the file again"):
        torch_file.read_checkpoint(path, everything)
