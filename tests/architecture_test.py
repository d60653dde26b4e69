"""The shape of the code: which way imports go, and what every module has."""

import ast
import functools
import pathlib
import re

import pytest

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
_PACKAGE = _REPOSITORY / "ssimbad_jax"
_MODULES = sorted(_PACKAGE.rglob("*.py"))
_TESTS = sorted((_REPOSITORY / "tests").glob("*.py"))
_CONFIGS = sorted((_REPOSITORY / "configs").glob("*.py"))
_LAUNCHERS = sorted(path for path in (_REPOSITORY / "launch").iterdir() if path.is_file())

# Imports go from a higher level to a lower one, or stay inside a package. What
# is not listed (main and the command modules beside it) is above all others.
_LEVELS = {
    "config_flag": 3,
    "host_flags": 3,
    "stages": 2,
    "training": 1,
    "data": 1,
    "metrics": 1,
    "diffusion": 0,
    "models": 0,
    "configs": 1,
    "choices": -1,
    "streams": -1,
    "wording": -1,
}
_COMMAND_LEVEL = 4


def _name(path: pathlib.Path) -> str:
    return path.relative_to(_REPOSITORY).as_posix()


def _layer(module: str) -> str:
    """`ssimbad_jax.data.warp` belongs to `data`, `ssimbad_jax.main` to `main`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def _level(layer: str) -> int:
    return _LEVELS.get(layer, _COMMAND_LEVEL)


def _module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(_REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def _tree(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _imports(tree: ast.Module) -> set[str]:
    """Every name imported, with dots; `from a import b` counts as `a.b`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def _import_faults(module: str, source: str) -> list[str]:
    """The imports of a module that go up or sideways."""
    layer = _layer(module)
    faults = []
    for imported in sorted(_imports(ast.parse(source))):
        if imported.split(".")[0] != "ssimbad_jax" or not _layer(imported):
            continue
        if _layer(imported) != layer and _level(_layer(imported)) >= _level(layer):
            faults.append(imported)
    return faults


def _uses_of_config(tree: ast.Module) -> list[int]:
    """Lines with a variable or an argument called `config`."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id == "config")
        or (isinstance(node, ast.arg) and node.arg == "config")
    ]


def _public_definitions(body: list[ast.stmt], prefix: str = ""):
    """Yields (name, node) of public functions, classes and methods; `__call__` is public."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_") and node.name != "__call__":
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from _public_definitions(node.body, f"{prefix}{node.name}.")


def _missing_annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [extra for extra in (arguments.vararg, arguments.kwarg) if extra]
    missing = [
        argument.arg
        for argument in named
        if argument.annotation is None and argument.arg not in ("self", "cls")
    ]
    return missing + (["return"] if function.returns is None else [])


def _test_names(path: pathlib.Path) -> set[str]:
    """The test files that may cover a module: its own, or that of its sub-package."""
    parts = path.relative_to(_PACKAGE).with_suffix("").parts
    return {f"{part}_test.py" for part in parts}


def test_the_top_level_folders_are_there():
    folders = ("ssimbad_jax", "configs", "launch", "tests")
    files = ("README.md", "requirements.txt")
    assert [name for name in folders if not (_REPOSITORY / name).is_dir()] == []
    assert [name for name in files if not (_REPOSITORY / name).is_file()] == []


@pytest.mark.parametrize("path", _MODULES, ids=_name)
def test_imports_go_one_way(path):
    assert _import_faults(_module_name(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "faults"),
    [
        ("ssimbad_jax.main", "from ssimbad_jax.stages import train", []),
        ("ssimbad_jax.stages.refine", "from ssimbad_jax.stages import train", []),
        ("ssimbad_jax.data.pipeline", "from ssimbad_jax.diffusion import samplers", []),
        (
            "ssimbad_jax.training.loop",
            "import ssimbad_jax.metrics.ssim",
            ["ssimbad_jax.metrics.ssim"],
        ),
        (
            "ssimbad_jax.diffusion.losses",
            "def f():\n  from ssimbad_jax import models",
            ["ssimbad_jax.models"],
        ),
        ("ssimbad_jax.stages.train", "from ssimbad_jax import main", ["ssimbad_jax.main"]),
        (
            "ssimbad_jax.models.unet",
            "from ssimbad_jax import torch_import as t",
            ["ssimbad_jax.torch_import"],
        ),
    ],
)
def test_the_import_check_tells_right_from_wrong(module, source, faults):
    assert _import_faults(module, source) == faults


@pytest.mark.parametrize("path", _MODULES, ids=_name)
def test_libraries_stay_where_they_belong(path):
    level = _level(_layer(_module_name(path)))
    for imported in _imports(_tree(path)):
        top = imported.split(".")[0]
        assert top not in ("tensorflow", "torch"), f"imports {imported}: the code runs without it"
        assert not imported.startswith(("jax._src", "jaxlib")), f"{imported} is private to JAX"
        if top == "ml_collections":
            assert level >= _LEVELS["stages"], "below stages nothing sees a ConfigDict"
        if top == "orbax":
            assert _name(path) == "ssimbad_jax/training/checkpoint.py", "knows Orbax"


@pytest.mark.parametrize("path", _MODULES, ids=_name)
def test_only_main_and_stages_read_config(path):
    if _level(_layer(_module_name(path))) < _LEVELS["stages"]:
        assert _uses_of_config(_tree(path)) == []


@pytest.mark.parametrize("path", _MODULES, ids=_name)
def test_public_definitions_are_documented_and_typed(path):
    faults = []
    for name, node in _public_definitions(_tree(path).body):
        if ast.get_docstring(node) is None:
            faults.append(f"line {node.lineno}: {name} has no docstring")
        if not isinstance(node, ast.ClassDef):
            faults += [
                f"line {node.lineno}: {name} does not say the type of {missing}"
                for missing in _missing_annotations(node)
            ]
    assert faults == []


def test_every_module_has_tests():
    there = {path.name for path in _TESTS}
    without = [path for path in _MODULES if not _test_names(path) & there]
    assert [_name(path) for path in without if path.name != "__init__.py"] == []


def _found(pattern: str) -> dict[str, list[str]]:
    """What a pattern matches, by the file it is in."""
    files = [*_MODULES, *_CONFIGS, *_TESTS, *_LAUNCHERS]
    matches = {_name(path): re.findall(pattern, path.read_text()) for path in files}
    return {name: found for name, found in matches.items() if found}


def test_nothing_is_left_undone():
    # Taken apart, so that this file passes its own test.
    assert _found("TO" + "DO|FIX" + "ME|XX" + "X") == {}


def test_no_path_of_one_machine():
    folders = "home|root|work|mnt|media|data|scratch|Users|tmp|var|opt"
    assert _found(rf"(?<![\w.}}])/(?:{folders})/\w+") == {}
