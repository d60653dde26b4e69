"""The launchers are well formed and name only what exists; `launch_run_test` runs them."""

import json
import pathlib
import re
import runpy
import subprocess
import sys

import pytest

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
_SCRIPTS = sorted((_REPOSITORY / "launch").glob("*.sh"))
_NOTEBOOKS = sorted((_REPOSITORY / "launch").glob("*.ipynb"))
_DOCKERFILE = _REPOSITORY / "launch" / "Dockerfile"
_JOBSET = _REPOSITORY / "launch" / "gke_jobset.yaml"
_COMMANDS = [
    *_SCRIPTS,
    *_NOTEBOOKS,
    _DOCKERFILE,
    _JOBSET,
    _REPOSITORY / ".ci" / "run",
    _REPOSITORY / "Makefile",
]


def _name(path: pathlib.Path) -> str:
    return path.relative_to(_REPOSITORY).as_posix()


def _text(path: pathlib.Path) -> str:
    """The commands of a file; of a notebook, its code cells."""
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def _run(script: str, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess:
    command = [_REPOSITORY / "launch" / script, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True)


def test_every_kind_of_launcher_is_there():
    assert {path.name for path in (_REPOSITORY / "launch").iterdir()} == {
        "Dockerfile",
        "colab_tpu.ipynb",
        "gke_jobset.yaml",
        "slurm.sh",
        "tpu_pod.sh",
    }


@pytest.mark.parametrize("script", [*_SCRIPTS, _REPOSITORY / ".ci" / "run"], ids=_name)
def test_scripts_are_executable_and_bash_reads_them(script):
    assert script.stat().st_mode & 0o100, f"{script} is not executable"
    result = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("script", [*_SCRIPTS, _REPOSITORY / ".ci" / "run"], ids=_name)
def test_shellcheck_finds_nothing(script):
    checker = pathlib.Path(sys.executable).with_name("shellcheck")
    result = subprocess.run([checker, script], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("variable", ["REPO", "TPU", "TYPE", "ZONE"])
def test_tpu_pod_names_the_missing_variable(variable):
    environment = {"PATH": "/usr/bin:/bin", "REPO": "a", "TPU": "b", "TYPE": "d", "ZONE": "c"}
    del environment[variable]
    result = _run("tpu_pod.sh", "--dry-run", "train", env=environment)
    assert result.returncode != 0
    assert variable in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("word", [[], ["up"]], ids=str)
def test_tpu_pod_names_the_words_it_knows(word):
    environment = {"PATH": "/usr/bin:/bin", "REPO": "a", "TPU": "b", "TYPE": "d", "ZONE": "c"}
    result = _run("tpu_pod.sh", "--dry-run", *word, env=environment)
    assert result.returncode == 2
    assert "choose train, create, install, run, stop or delete" in result.stderr


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TYPE": "v5litepod-16"}, "--runtime-version=v2-alpha-tpuv5-lite --spot"),
        ({"TYPE": "v6e-8", "SPOT": "false"}, "--runtime-version=v2-alpha-tpuv6e"),
        ({"TYPE": "v4-8", "RUNTIME": "mine"}, "--runtime-version=mine --spot"),
        ({"TYPE": "v4-8"}, "--runtime-version=tpu-ubuntu2204-base --spot"),
    ],
    ids=str,
)
def test_tpu_pod_asks_for_the_machines_it_is_told(variables, expected):
    environment = {"PATH": "/usr/bin:/bin", "REPO": "a", "TPU": "b", "ZONE": "c", **variables}
    result = _run("tpu_pod.sh", "--dry-run", "create", env=environment)
    request = result.stdout.splitlines()[-1]
    assert request.endswith(f"--accelerator-type={variables['TYPE']} {expected}")


def test_slurm_says_how_to_call_it():
    result = _run("slurm.sh", env={"PATH": "/usr/bin:/bin"})
    assert result.returncode != 0
    assert "call this script with sbatch" in result.stderr


def test_slurm_names_a_missing_environment(tmp_path):
    result = _run("slurm.sh", env={"PATH": "/usr/bin:/bin", "SLURM_SUBMIT_DIR": str(tmp_path)})
    assert result.returncode == 1
    assert "no .venv/bin/python" in result.stderr


@pytest.mark.parametrize("notebook", _NOTEBOOKS, ids=_name)
def test_notebooks_are_valid_and_clean(notebook):
    content = json.loads(notebook.read_text())
    assert content["nbformat"] == 4
    assert content["nbformat_minor"] >= 5
    identifiers = [cell["id"] for cell in content["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    for cell in content["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell["id"])
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.parametrize("notebook", _NOTEBOOKS, ids=_name)
def test_notebook_cells_compile(notebook):
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"]).replace("\\\n", " ")
            # Shell and magic lines are the notebook's, not Python's.
            python = re.sub(r"^(\s*)[!%].*$", r"\1pass", source, flags=re.MULTILINE)
            compile(python, f"{notebook.name}:{cell['id']}", "exec")


@pytest.mark.parametrize("path", _COMMANDS, ids=_name)
def test_configurations_and_fields_exist(path):
    text = _text(path)
    names = re.findall(r"configs/\w+\.py", text)
    assert names, f"{path} names no configuration"
    for name in names:
        get_config = runpy.run_path(str(_REPOSITORY / name))["get_config"]
        for field in re.findall(r"--config\.([\w.]+)=", text):
            node = get_config()
            for part in field.split("."):
                assert part in node, f"{path}: {name} has no field {field}"
                node = node[part]


@pytest.mark.parametrize("path", _COMMANDS, ids=_name)
def test_flags_of_main_exist(path):
    main = "".join(
        (_REPOSITORY / "ssimbad_jax" / name).read_text()
        for name in ("main.py", "config_flag.py", "host_flags.py")
    )
    defined = {"help", *re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", main)}
    commands = re.findall(r"ssimbad_jax\.main((?:[^\n]*\\\n)*[^\n]*)", _text(path))
    assert commands, f"{path} does not call ssimbad_jax.main"
    for command in commands:
        for flag in re.findall(r"(?<![\w-])--(\w+)", command):
            assert flag in defined, f"{path}: ssimbad_jax.main has no flag --{flag}"


@pytest.mark.parametrize("path", [*_SCRIPTS, *_NOTEBOOKS, _DOCKERFILE], ids=_name)
def test_accelerators_get_the_pinned_jax(path):
    requirements = (_REPOSITORY / "requirements.txt").read_text()
    (pinned,) = re.findall(r'^jax==([\d.]+); python_version >= "3.12"', requirements, re.M)
    versions = re.findall(r"jax\[[^\]]+\]==([\d.]+)", path.read_text())
    assert versions, f"{path} installs no accelerator build of jax"
    assert set(versions) == {pinned}
