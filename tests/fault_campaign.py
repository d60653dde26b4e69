"""Kills runs again and again and compares what comes out with a run that nobody killed.

    python -m tests.fault_campaign --kills=100

One run is left alone. The others, each with a workdir and a folder of prepared data of its own, are
killed by SIGKILL several times and started again with the same command, until they end. Then
parameters, optimiser state, log, scores and pictures have to be equal bit for bit. Some kills come
at a random time after the start, the others wait for a stage, such as Orbax's temporary folder
(a checkpoint is being written), and then a random fraction of that stage. Prints a Markdown table.
"""

import collections
import contextlib
import dataclasses
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from tests import program, same_results, tiny_run

_KILLS = flags.DEFINE_integer("kills", 100, "SIGKILLs in all.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the times of the kills.")
_KILLS_OF_A_RUN = flags.DEFINE_integer("kills_of_a_run", 10, "Before it may end.", lower_bound=1)

STAGES = (
    "start of the program",
    "data preparation",
    "calibration",
    "training",
    "writing a checkpoint",
    "evaluation",
)
ANY_TIME = "any time"
AIMS = (ANY_TIME, ANY_TIME, *STAGES[1:], STAGES[4], STAGES[4])
POLL = 0.005  # seconds
TEMPORARY = "checkpoints/pretrain/*.orbax-checkpoint-tmp*"
# More to be killed in, and no change of the numbers of the run that is compared with.
FIELDS = {"train.checkpoint_every": 3, "train.sample_every": 6}


@dataclasses.dataclass
class Run:
    """Where one run writes, and what it has said since it was last started.

    Attributes:
        folder: holds the workdir, the prepared data and the output.
        started: when it was last started.
    """

    folder: pathlib.Path
    started: float = 0.0

    @property
    def workdir(self) -> pathlib.Path:
        """The run's `--workdir`."""
        return self.folder / "run"

    def start(self) -> subprocess.Popen:
        """Starts or continues it."""
        self.started = time.time()
        fields = {**tiny_run.FIELDS, **FIELDS, "data.prepared_dir": self.folder / "prepared"}
        command = ["--config=configs/edm_ssimbad.py"]
        command += [f"--config.{name}={value}" for name, value in fields.items()]
        with (self.folder / "output.txt").open("w") as output:
            return program.start(command, self.workdir, stdout=output, stderr=subprocess.STDOUT)

    def output(self) -> str:
        """What the running or last process has said."""
        return (self.folder / "output.txt").read_text()

    def is_writing(self) -> bool:
        """Whether Orbax's temporary folder exists, and is not left from an earlier kill."""
        for path in self.workdir.glob(TEMPORARY):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime >= self.started:
                    return True
        return False

    def stage(self) -> str:
        """What it is at, or was at when it ended."""
        said = self.output()
        if "train:" in said and ("steps done" in said or "done already" in said):
            return "evaluation"
        if "train:" in said:
            return "writing a checkpoint" if self.is_writing() else "training"
        if "Calibration:" in said or "Pictures:" in said:
            drawn = any(self.folder.glob("prepared/toy_face/*/*/dataset_info.json"))
            return "calibration" if drawn else "data preparation"
        return "start of the program"


def kill_when(run: Run, condition: Callable[[], bool], seconds_later: float = 0.0) -> str:
    """Starts a run and kills it.

    Args:
        run: the run.
        condition: to be waited for.
        seconds_later: to wait after that.

    Returns:
        The stage that was hit; nothing if the run ended before.
    """
    process = run.start()
    while process.poll() is None and not condition():
        time.sleep(POLL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds_later)
    process.send_signal(signal.SIGKILL)
    status = process.wait()
    if status == 0:
        return ""
    assert status == -signal.SIGKILL, f"it failed:\n{run.output()}"
    return run.stage()


def kill_in(run: Run, aim: str, generator: random.Random, durations: dict[str, float]) -> str:
    """Kills a run in a stage, or at `ANY_TIME`.

    Args:
        run: the run.
        aim: when.
        generator: of the delay.
        durations: seconds of the stages, and of the whole, in the run that nobody kills.

    Returns:
        See `kill_when`.
    """
    return kill_when(
        run,
        lambda: aim == ANY_TIME or run.stage() == aim,
        generator.uniform(0.0, durations[aim]),
    )


def time_stages(run: Run) -> dict[str, float]:
    """Runs to the end and returns the seconds of each stage and of the whole."""
    begin = time.monotonic()
    seconds: dict[str, float] = collections.defaultdict(float)
    process = run.start()
    last = begin
    while process.poll() is None:
        time.sleep(POLL)
        now = time.monotonic()
        seconds[run.stage()] += now - last
        last = now
    assert process.returncode == 0, f"it failed:\n{run.output()}"
    # One of several: a kill is to hit the checkpoint that it waited for.
    seconds["writing a checkpoint"] /= tiny_run.STEPS // FIELDS["train.checkpoint_every"]
    return {**dict.fromkeys(STAGES, 0.0), **seconds, ANY_TIME: time.monotonic() - begin}


def finish_and_compare(run: Run, whole: Run) -> None:
    """Lets a run end and compares it with the one that was left alone."""
    process = run.start()
    assert process.wait() == 0, f"it failed:\n{run.output()}"
    same_results.assert_same_calibration(whole.workdir, run.workdir)
    same_results.assert_same_parameters(whole.workdir, run.workdir)
    same_results.assert_same_log(whole.workdir, run.workdir)
    same_results.assert_same_scores(whole.workdir, run.workdir)


def campaign(folder: pathlib.Path, kills: int, seed: int, kills_of_a_run: int) -> None:
    """Runs, kills, compares, prints."""
    generator = random.Random(seed)
    hits: collections.Counter[str] = collections.Counter()
    runs = 0

    def new_run(name: str) -> Run:
        (folder / name).mkdir()
        return Run(folder / name)

    whole = new_run("whole")
    finish_and_compare(whole, whole)  # compiles into the cache
    whole = new_run("timed")
    durations = time_stages(whole)
    print({stage: round(seconds, 2) for stage, seconds in durations.items()}, flush=True)
    while hits.total() < kills:
        run = new_run(f"{runs:03d}")
        # The stages in their order, so that each is still to come when it is waited for.
        wanted = min(kills_of_a_run, kills - hits.total())
        aims = sorted(generator.choices(AIMS, k=wanted), key=(ANY_TIME, *STAGES).index)
        for aim in aims:
            hit = kill_in(run, aim, generator, durations)
            if not hit:
                break  # it has ended
            hits[hit] += 1
            print(f"run {runs}: waited for {aim}, hit {hit}", flush=True)
        finish_and_compare(run, whole)
        runs += 1
        print(f"run {runs - 1}: equal, {hits.total()} of {kills} kills", flush=True)
    print("\n| killed during | kills |\n|---|---|")
    for stage in STAGES:
        print(f"| {stage} | {hits[stage]} |")
    print(f"| all | {hits.total()} |")
    print(f"\n{runs} runs; every one ended bit-identical to the run that nobody killed.")


def main(argv: Sequence[str]) -> None:
    """Runs the campaign in a temporary folder, kept if it fails."""
    del argv
    logging.set_verbosity(logging.ERROR)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fault_campaign_"))
    try:
        campaign(folder, _KILLS.value, _SEED.value, _KILLS_OF_A_RUN.value)
    except AssertionError as error:
        sys.exit(f"The campaign failed; its runs are in {folder}.\n{error}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    app.run(main)
