"""The flag --config of commands, with its overrides `--config.train.batch_size=8`."""

import contextlib
import functools
import pathlib
import pkgutil
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from ssimbad_jax import configs, wording
from ssimbad_jax.configs import edm_ssimbad

flags.disclaim_key_flags()  # --help of a command lists the flags that it has from here as its own

_SHIPPED = configs.__name__

# What a value is that a field cannot take, by the type of the field; text can be anything.
_WRONG = {
    bool: "neither true nor false",
    int: "no whole number",
    float: "no number",
    tuple: "no tuple such as (1,2)",
}


def define() -> flags.FlagHolder:
    """Defines the flag, which has to be given, as a config file."""
    holder = config_flags.DEFINE_config_file(
        "config",
        None,
        f"The config, a Python file or a shipped one by its name: {', '.join(_modules(_SHIPPED))}. "
        "Its fields are set by --config.FIELD=VALUE.",
    )
    flags.mark_flag_as_required("config")
    return holder


def parse(argv: Sequence[str]) -> list[str]:
    """Parses the flags; what is wrong with them or the config ends the program with one line.

    absl and ml_collections name it, but with a traceback, or in terms of Python.
    """
    argv = _with_shipped_paths(argv)
    try:
        remaining = flags.FLAGS(argv)
        _ = flags.FLAGS.config.to_dict  # a file that was not found is an error at the first look
    except OSError as error:
        reason = str(error).splitlines()[-1].strip()
        sys.exit(
            "error: --config cannot be loaded; name a file such as configs/quickstart.py, or a "
            f"shipped config out of {', '.join(_modules(_SHIPPED))}: {reason}"
        )
    except ModuleNotFoundError as error:
        package, _, variant = (error.name or "").rpartition(".")
        given = [flag for flag in argv if flag.endswith(f":{variant}")]
        if not given or package not in sys.modules:
            raise
        sys.exit(
            f"error: {given[0]}: there is no variant {variant!r}; choose one of "
            f"{', '.join(_modules(package))}"
        )
    except flags.Error as error:
        said = (
            _wrong_value(error) or _unwanted_variant(error) or f"{error} (--help lists the flags)"
        )
        sys.exit(f"error: {said}")
    except (AttributeError, KeyError, TypeError) as error:
        if nested := _field_of_a_field(argv):
            sys.exit(f"error: {nested}")
        if isinstance(error, TypeError):
            raise
        unknown, remedy = unknown_field(error)
        given = [flag for flag in argv if unknown in flag.partition("=")[0].split(".")]
        if not given:
            raise
        sys.exit(f"error: {given[0]}: the config has no field {unknown!r}; {remedy}")
    if missing := list(_missing(flags.FLAGS.config, edm_ssimbad.get_config())):
        if replaced := _replaced_section(argv, missing):
            sys.exit(f"error: {replaced}")
        sys.exit(
            f"error: --config={config_flags.get_config_filename(flags.FLAGS['config'])} lacks "
            f"{wording.list_some(missing)}; start from get_config() of "
            "configs/edm_ssimbad.py, as configs/quickstart.py does"
        )
    return remaining


def unknown_field(error: AttributeError | KeyError) -> tuple[str, str]:
    """Returns the field of a config that ml_collections does not know, and what to do."""
    message = str(error.args[0])
    similar = re.findall(r'Did you mean "(\w+)"', message)
    remedy = f"did you mean {similar[0]!r}?" if similar else "see configs/edm_ssimbad.py"
    return re.findall(r"\w+", message)[0], remedy


def name_of(file: str) -> str:
    """Returns the name of a config: `edm` of configs/edm.py, `s32_edm` of configs/s32.py:edm."""
    path, _, variant = file.partition(".py:")
    return "_".join(filter(None, (pathlib.Path(path).stem, variant)))


def _with_shipped_paths(argv: Sequence[str]) -> list[str]:
    """Returns the command line with paths for the names of shipped configs, as in --config=edm."""
    paths = [*argv]
    for index, argument in enumerate(argv):
        flag, equals, value = argument.partition("=")
        if flag.lstrip("-") != "config" or not flag.startswith("-"):
            continue
        name, colon, variant = (
            value if equals else "".join(argv[index + 1 : index + 2])
        ).partition(":")
        if name in _modules(_SHIPPED):
            path = f"{pathlib.Path(configs.__path__[0], name)}.py{colon}{variant}"
            paths[index if equals else index + 1] = f"{flag}={path}" if equals else path
    return paths


def _modules(package: str) -> list[str]:
    """Lists what variants can be: names of other configs, as in configs/benchmark_s32.py:edm."""
    return sorted(module.name for module in pkgutil.iter_modules(sys.modules[package].__path__))


def _wrong_value(error: flags.Error) -> str | None:
    """Says what a field of the config takes; None if the error is about something else."""
    flag = re.match(r"flag --config\.([\w.]+)=", str(error))
    if flag is None:
        return None
    given = str(error)[flag.end() :].removesuffix(f": {error.__context__}")
    field = flag[1]
    value = functools.reduce(getattr, field.split("."), flags.FLAGS["config"].value)
    if isinstance(value, ml_collections.ConfigDict):
        return (
            f"--config.{field} is {given!r}, but {field} is a section of fields; set one of these, "
            f"as --config.{field}.FIELD=VALUE: {wording.list_some(list(value))}"
        )
    example = shlex.quote(f"--config.{field}={_like(value, given)}")
    wrong = _WRONG[type(value)]
    return f"--config.{field} is {given!r}, which is {wrong}; write for example {example}"


def _field_of_a_field(argv: Sequence[str]) -> str | None:
    """Says which field was taken for a section, as in --config.seed.x=3; None if none was."""
    paper = edm_ssimbad.get_config()  # the fields of every config are those of this one
    for flag in argv:
        value: Any = paper
        *sections, _ = flag.partition("=")[0].removeprefix("--config.").split(".")
        for depth, name in enumerate(sections, start=1):
            if not value or name not in value:
                break
            value = value[name]
            if not isinstance(value, ml_collections.ConfigDict):
                field = ".".join(sections[:depth])
                return f"{flag}: {field} is one value and has no fields; write --config.{field}=..."
    return None


def _replaced_section(argv: Sequence[str], missing: Sequence[str]) -> str | None:
    """Says which flag put something else in the place of a section; None if none did."""
    for flag in argv:
        section = flag.partition("=")[0].removeprefix("--config.")
        lost = [field for field in missing if field.startswith(f"{section}.")]
        if lost:
            return (
                f"{flag} replaces all of {section}, which then lacks "
                f"{wording.list_some(lost)}; set its fields one by one, as "
                f"--config.{section}.FIELD=VALUE"
            )
    return None


def _unwanted_variant(error: flags.Error) -> str | None:
    """Says that a config takes no variant; None if the error is about something else."""
    given = re.match(r"flag --config=(.+\.py):(\w+): ", str(error))
    if given is None or "get_config() takes" not in str(error):
        return None
    file, variant = given.groups()
    return f"--config={file}:{variant}: {file} has no variants; leave :{variant} away"


def _like(value: Any, given: str) -> Any:
    """Returns the whole number that was meant by 1e3, or else what the field is now."""
    if type(value) is int:
        with contextlib.suppress(ValueError):
            if float(given).is_integer():
                return int(float(given))
    return value


def _missing(
    config: ml_collections.ConfigDict, wanted: ml_collections.ConfigDict, prefix: str = ""
) -> Iterator[str]:
    """Yields the fields, or sections of them, that a config lacks."""
    for name, value in wanted.items():
        if name not in config:
            yield prefix + name
        elif isinstance(value, ml_collections.ConfigDict):
            yield from _missing(config[name], value, f"{prefix}{name}.")
