"""Set-up of the tests: eight simulated devices on the CPU, and where data lies."""

import contextlib
import hashlib
import os
import pathlib
import platform
import shutil

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def _processor_digest() -> str:
    """Names this kind of processor, since compiled code may not run on another one."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        features = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {features}".encode()).hexdigest()[:12]


# Variables rather than jax.config, so that processes started by a test have them too.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# On busy cores the threads of NumPy's linear algebra mostly wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Many tests and processes compile the same small programs.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(_REPOSITORY / ".cache" / "jax" / _processor_digest())
)

import filelock  # noqa: E402
import jax  # noqa: E402  (reads the variables above)
import pytest  # noqa: E402
from absl import flags  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Grain's worker processes read flags, which only main parses.
flags.FLAGS.mark_as_parsed()

# The files that take a minute or more, longest first.
_LONGEST = (
    "processes_test",
    "main_test",
    "mirror_test",
    "train_test",
    "tabulating_test",
    "refine_test",
    "plan_run_test",
    "full_disk_test",
)


def pytest_collection_modifyitems(items):
    """Puts the longest files first: a worker that started one last would end alone.

    Left to itself (`--loadscope-reorder`), xdist starts with the files of most tests.
    """
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(autouse=True)
def strict_dtypes(request):
    """Refuses implicit changes of dtype in the tests of `diffusion`.

    Elsewhere tests go through optax, dm_pix and Flax's bfloat16 normalisation,
    which rely on them.
    """
    module = request.path.stem.removesuffix("_test")
    if (_REPOSITORY / "ssimbad_jax" / "diffusion" / f"{module}.py").is_file():
        with jax.numpy_dtype_promotion("strict"):
            yield
    else:
        yield


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """The folder of numbers to match."""
    return _REPOSITORY / "tests" / "golden"


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of pictures that may not enter the repository, beside it."""
    folder = _REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the pictures of {folder}, which are not part of the repository")
    return folder


@pytest.fixture(scope="session")
def prepared_dir(tmp_path_factory) -> pathlib.Path:
    """Where the data sets of tiny runs are kept, drawn once."""
    return tmp_path_factory.mktemp("prepared")


@contextlib.contextmanager
def _quick_compilation():
    """Compiles in half the time, to slower code: tiny networks are compiled longer than run."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def quick_compilation():
    """See `_quick_compilation`."""
    with _quick_compilation():
        yield


@pytest.fixture(scope="session")
def finished_run(prepared_dir, tmp_path_factory):
    """A tiny run, not refined (`tests.tiny_run.TinyRun`); copy it to change it."""
    from ssimbad_jax.stages import components, run
    from tests import tiny_run

    config = tiny_run.make_config(prepared_dir)
    workdir = tmp_path_factory.mktemp("tiny") / "run"
    with _once_for_all_workers(tmp_path_factory, "tiny") as (made, is_made):
        if not is_made:
            with _quick_compilation():
                run.run(config, made, run.default_stages(config))
        shutil.copytree(made, workdir)
    components.save_config(config, workdir)  # each worker has data of its own
    return tiny_run.TinyRun(config, workdir)


@contextlib.contextmanager
def _once_for_all_workers(tmp_path_factory, name):
    """Yields a folder, and whether another worker has filled it; they wait for each other."""
    base = tmp_path_factory.getbasetemp()
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    folder = (base.parent if is_worker else base) / f"shared_{name}"
    with filelock.FileLock(folder.with_suffix(".lock")):
        finished = folder.with_suffix(".finished")
        yield folder, finished.exists()
        finished.touch()


@pytest.fixture
def main(finished_run, tmp_path, monkeypatch):
    """Puts `stand_in_main.py` into main's place; returns what reads its calls, and forgets them."""
    stand_in = pathlib.Path(__file__).with_name("stand_in_main.py")
    noted = tmp_path / "calls"
    monkeypatch.setattr("ssimbad_jax.stages.tabulating.calls.MAIN", (str(stand_in),))
    monkeypatch.setenv("STAND_IN_RUN", str(finished_run.workdir))
    monkeypatch.setenv("STAND_IN_CALLS", str(noted))

    def called():
        lines = noted.read_text().splitlines() if noted.exists() else []
        noted.unlink(missing_ok=True)
        return lines

    return called
