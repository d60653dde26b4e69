"""What is to be made for the table: a run for each row and seed, and the calls of main for each."""

import dataclasses
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import ml_collections
from absl import flags
from ml_collections import config_flags

from ssimbad_jax.stages import validation
from ssimbad_jax.stages.tabulating import rows as rows_lib

RUNS = "runs"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to make.

    Attributes:
        scale: out of `rows.SCALES`.
        data: folder of pictures; empty: the built-in faces.
        pairs: .npz of evaluation pairs; empty: made of the test split.
        rows: names out of `rows.ROWS`; what they start from is made, too.
        seeds: runs of each row; 0: as many as the row says.
        changes: what differs from the configs in all rows, such as "train.steps=200".
    """

    scale: str = "s32"
    data: str = ""
    pairs: str = ""
    rows: Sequence[str] = tuple(rows_lib.ROWS)
    seeds: int = 0
    changes: Sequence[str] = ()


class Run(NamedTuple):
    """A training of a row.

    Attributes:
        row: which.
        seed: of the run.
    """

    row: rows_lib.Row
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.row.name}_seed{self.seed}"

    @property
    def start(self) -> "Run | None":
        """The run whose pretraining it refines."""
        return Run(rows_lib.ROWS[self.row.start], self.seed) if self.row.start else None


class Call(NamedTuple):
    """A call of main.

    Attributes:
        name: "train", "refine" or, for scores, the folder they go to.
        stages: of main.
        config_flags: which config, and what differs from it.
        where_flags: where data lies and results go.
    """

    name: str
    stages: str
    config_flags: tuple[str, ...]
    where_flags: tuple[str, ...]

    @property
    def identity(self) -> list[str]:
        """What its numbers follow from: data may lie in another folder, under the same name."""
        return [*self.config_flags, *(re.sub("=.*/", "=", flag) for flag in self.where_flags)]

    @property
    def is_scoring(self) -> bool:
        """Whether it scores results."""
        return self.stages == "evaluate"


def workdir(out: pathlib.Path, run: Run) -> pathlib.Path:
    """Returns the folder of a run."""
    return out / RUNS / run.name


def runs(settings: Settings) -> list[Run]:
    """Returns the runs, each behind the one it starts from, first seeds before second ones."""
    names = {start for name in settings.rows if (start := rows_lib.ROWS[name].start)}
    wanted = [row for name, row in rows_lib.ROWS.items() if name in names | set(settings.rows)]
    counts = {row.name: settings.seeds or row.seeds for row in wanted}
    return [
        Run(row, seed)
        for seed in range(max(counts.values(), default=0))
        for row in wanted
        if seed < counts[row.name]
    ]


def calls(settings: Settings, run: Run) -> list[Call]:
    """Returns the calls of main that make a run, in order."""
    train = ("refine", "refine") if run.row.start else ("train", "calibrate,train")
    return [
        _call(settings, run, *train, {}),
        *(
            _call(settings, run, folder(scoring), "evaluate", rows_lib.SCORINGS[scoring])
            for scoring in run.row.scorings
        ),
    ]


def folder(scoring: str) -> str:
    """Returns where the scores of one of `rows.SCORINGS` go, inside of a run."""
    return f"eval_{scoring}"


def check(settings: Settings) -> None:
    """Refuses what cannot work, before anything runs.

    Raises:
        ValueError: with one line: flag, value and remedy.
        FileNotFoundError: a folder or file that the settings name does not exist.
    """
    if settings.scale not in rows_lib.SCALES:
        raise ValueError(
            f"--scale is {settings.scale!r}; choose out of {','.join(rows_lib.SCALES)}"
        )
    unknown = [name for name in settings.rows if name not in rows_lib.ROWS]
    if unknown or not settings.rows:
        raise ValueError(
            f"--rows names {unknown[0] if unknown else ''!r}; choose out of "
            f"{','.join(rows_lib.ROWS)}"
        )
    if settings.seeds < 0:
        raise ValueError(f"--seeds is {settings.seeds}; set it to 1 or more")
    if settings.data and not pathlib.Path(settings.data).expanduser().is_dir():
        raise FileNotFoundError(f"--data is {settings.data!r}, which is no folder; check the path")
    if settings.pairs and not pathlib.Path(settings.pairs).expanduser().is_file():
        raise FileNotFoundError(f"--pairs is {settings.pairs!r}, which is no file; check the path")
    for change in settings.changes:
        if "=" not in change:
            raise ValueError(f"--set is {change!r}; name a field and its value: train.steps=200")
    for run in runs(settings):
        for call in calls(settings, run):
            try:
                validation.check(config(call), num_devices=1)
            except ValueError as error:
                raise ValueError(f"row {run.row.name}, {call.name}: {error}") from error


def config(call: Call) -> ml_collections.ConfigDict:
    """Returns the config of a call, as main reads it from the same flags.

    Raises:
        ValueError: the config file does not load, or a field does not exist or has another type.
    """
    given = ["main", *call.config_flags, *call.where_flags]
    values = flags.FlagValues()
    holder = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=given)
    try:
        values(given)
        holder.value.to_dict()  # a file that was not found is an error at the first look
    except (AttributeError, KeyError) as error:
        unknown = re.findall(r"\w+", str(error.args[0]))[0]
        raise ValueError(
            f"the config has no field {unknown!r}; see configs/edm_ssimbad.py"
        ) from error
    except (OSError, ImportError, ValueError, flags.Error) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{call.config_flags[0]} cannot be used: {reason}") from error
    return holder.value


def _call(settings: Settings, run: Run, name: str, stages: str, scoring: rows_lib.Fields) -> Call:
    scale = rows_lib.SCALES[settings.scale]
    # The row itself comes last: changes leave it what it is.
    fields = {
        "eval.metrics": rows_lib.METRICS,
        **scale.of_rows.get(run.row.name, {}),
        **dict(change.split("=", 1) for change in settings.changes),
        **run.row.fields,
        **scoring,
        "seed": run.seed,
    }
    where = {"data.dir": settings.data.rstrip("/") or settings.data, "eval.pairs": settings.pairs}
    if stages == "evaluate":
        where["eval.folder"] = name
    return Call(
        name,
        stages,
        (
            f"--config={scale.config.format(run.row.config)}",
            *_assignments(fields),
        ),
        tuple(_assignments({name: value for name, value in where.items() if value})),
    )


def _assignments(fields: rows_lib.Fields) -> list[str]:
    """Returns the flags of fields, each once: those of tuples would add up."""
    return [
        f"--config.{name}={value if isinstance(value, str) else repr(value)}"
        for name, value in fields.items()
    ]
