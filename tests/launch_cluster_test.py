"""The Dockerfile and the JobSet agree with each other, with the code and with themselves."""

import importlib.metadata
import math
import pathlib
import re

import pytest
import yaml

from ssimbad_jax.configs import edm_ssimbad
from ssimbad_jax.stages import validation
from ssimbad_jax.training import interruption

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
_DOCKERFILE = (_REPOSITORY / "launch" / "Dockerfile").read_text()
_DOCUMENTS = list(yaml.safe_load_all((_REPOSITORY / "launch" / "gke_jobset.yaml").read_text()))
_JOBSETS = {
    document["metadata"]["labels"]["accelerator"]: document
    for document in _DOCUMENTS
    if document["kind"] == "JobSet"
}
_CHIPS = {"tpu": "google.com/tpu", "gpu": "nvidia.com/gpu"}
accelerators = pytest.mark.parametrize("accelerator", _CHIPS)


def _job(accelerator):
    (replicated,) = _JOBSETS[accelerator]["spec"]["replicatedJobs"]
    return replicated["template"]["spec"]


def _container(accelerator):
    (container,) = _job(accelerator)["template"]["spec"]["containers"]
    return container


def _instructions(name):
    """The arguments of every such instruction of the Dockerfile."""
    return re.findall(rf"^{name} (.*)$", _DOCKERFILE, re.MULTILINE)


def test_what_the_image_copies_exists():
    sources = [source for line in _instructions("COPY") for source in line.split()[:-1]]
    assert set(sources) == {"requirements.txt", "configs", "ssimbad_jax"}
    assert [source for source in sources if not (_REPOSITORY / source).exists()] == []


def test_the_image_has_a_python_that_the_pinned_jax_runs_on():
    (image,) = _instructions("FROM")
    # The jax that accelerators get needs Python 3.12.
    assert re.fullmatch(r"python:(3\.\d+)-slim", image).group(1) in ("3.12", "3.13", "3.14")


def _requirements():
    return (_REPOSITORY / "requirements.txt").read_text()


def test_the_choices_of_the_accelerator_are_extras_of_jax():
    extras = importlib.metadata.metadata("jax").get_all("Provides-Extra")
    assert _instructions("ARG") == ["ACCELERATOR=cpu"]
    assert {"cpu", "cuda13", "tpu"} <= set(extras)
    for name in ("cpu", "cuda13", "tpu"):
        assert re.search(rf"^# ACCELERATOR is .*\b{name}\b", _DOCKERFILE, re.MULTILINE)


def test_one_label_applies_either_kind_of_machine():
    assert set(_JOBSETS) == set(_CHIPS)
    for document in _DOCUMENTS:
        assert document["metadata"]["labels"]["accelerator"] in _CHIPS


@accelerators
def test_a_pod_runs_on_every_machine_of_the_slice(accelerator):
    job = _job(accelerator)
    assert job["completions"] == job["parallelism"] > 1
    assert job["completionMode"] == "Indexed"
    head = (_REPOSITORY / "launch" / "gke_jobset.yaml").read_text()
    pool = re.search(rf"node-pools create {accelerator} (?:.*\\\n)*.*--num-nodes=(\d+)", head)
    assert int(pool.group(1)) == job["parallelism"]


def test_the_chips_are_those_of_the_topology():
    job = _job("tpu")
    chips = _container("tpu")["resources"]["limits"]["google.com/tpu"]
    topology = job["template"]["spec"]["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
    assert math.prod(map(int, topology.split("x"))) == chips * job["parallelism"]


@accelerators
def test_the_batches_divide_among_all_chips(accelerator):
    container, processes = _container(accelerator), _job(accelerator)["parallelism"]
    config = edm_ssimbad.get_config()
    for argument in container["args"]:
        if field := re.fullmatch(r"--config\.(\w+\.\w+)=(.*)", argument):
            name, value = field.groups()
            config.update_from_flattened_dict({name: int(value) if value.isdigit() else value})
    chips = container["resources"]["limits"][_CHIPS[accelerator]] * processes
    validation.check(config, chips, processes)


@accelerators
def test_each_pod_takes_the_chips_of_its_machine(accelerator):
    limits = _container(accelerator)["resources"]["limits"]
    assert list(limits) == [_CHIPS[accelerator]]


@accelerators
def test_the_machines_are_spot_and_losing_one_restarts_without_a_limit(accelerator):
    job = _job(accelerator)
    assert job["template"]["spec"]["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    by_code, by_condition = job["podFailurePolicy"]["rules"]
    assert by_code["onExitCodes"]["values"] == [interruption.EXIT_STATUS]
    assert by_code["onExitCodes"]["containerName"] == _container(accelerator)["name"]
    assert by_condition["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert by_code["action"] == by_condition["action"] == "FailJob"
    policy = _JOBSETS[accelerator]["spec"]["failurePolicy"]
    assert policy["rules"] == [
        {
            "action": "RestartJobSetAndIgnoreMaxRestarts",
            "onJobFailureReasons": ["PodFailurePolicy"],
        }
    ]
    # A pod that failed is not replaced alone: its peers would wait for the old one.
    assert job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"


@accelerators
def test_the_port_of_the_coordinator_is_open(accelerator):
    container = _container(accelerator)
    (port,) = (v["value"] for v in container["env"] if v["name"] == "JAX_COORDINATOR_PORT")
    assert int(port) in [entry["containerPort"] for entry in container["ports"]]


@accelerators
def test_everything_that_is_written_is_on_the_shared_volume(accelerator):
    pod = _job(accelerator)["template"]["spec"]
    mounts = {
        mount["name"]: mount["mountPath"] for mount in _container(accelerator)["volumeMounts"]
    }
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    arguments = dict(flag.partition("=")[::2] for flag in _container(accelerator)["args"])
    for flag in ("--workdir", "--config.data.dir", "--config.data.prepared_dir"):
        assert arguments[flag].startswith(f"{mounts['shared']}/")


def test_tpus_and_gpus_run_the_same_command():
    assert _container("tpu")["args"] == _container("gpu")["args"]
    assert _container("tpu")["args"][0] == "ssimbad_jax.main"


def test_gpu_pods_may_ask_kubernetes_for_their_peers():
    account, role, binding = (d for d in _DOCUMENTS if d["kind"] != "JobSet")
    assert _job("gpu")["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    assert binding["subjects"][0]["name"] == account["metadata"]["name"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    allowed = {resource for rule in role["rules"] for resource in rule["resources"]}
    assert allowed == {"pods", "services", "jobs"}
    assert any(line.count("kubernetes==") for line in _DOCKERFILE.splitlines())
