"""The flag --config; `main_test` has more of its refusals."""

import subprocess
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from ssimbad_jax import config_flag
from ssimbad_jax.configs import quickstart
from tests import program

_PARSE = """
import sys
from ssimbad_jax import config_flag
from ssimbad_jax.configs import quickstart
holder = config_flag.define()
config_flag.parse(sys.argv)
print(holder.value.train.steps)
"""
_QUICKSTART = "--config=configs/quickstart.py"

# ml_collections loads a config's file that way.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def _parse(*flags):
    return subprocess.run(
        [sys.executable, "-c", _PARSE, *flags],
        cwd=program.REPOSITORY,
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.fixture
def parse_here(monkeypatch):
    """Parses flags within this process."""

    def parse(*given):
        argv = ["main", *given]
        values = flags.FlagValues()
        config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
        monkeypatch.setattr(flags, "FLAGS", values)
        return config_flag.parse(argv)

    monkeypatch.chdir(program.REPOSITORY)
    return parse


@pytest.fixture
def refusal(parse_here):
    """The line that flags end the program with."""

    def refused(*given):
        with pytest.raises(SystemExit) as stopped:
            parse_here(*given)
        return stopped.value.code

    return refused


def test_fields_are_overridden():
    parsed = _parse(_QUICKSTART, "--config.train.steps=7")
    assert (parsed.returncode, parsed.stdout) == (0, "7\n")


def test_a_missing_file_is_told_in_one_line():
    parsed = _parse("--config=configs/none.py")
    assert parsed.returncode == 1
    assert "error: --config cannot be loaded; name a file such as" in parsed.stderr
    assert "Traceback" not in parsed.stderr


@pytest.mark.parametrize(
    ("field", "given", "wrong", "remedy"),
    [
        ("train.steps", "1e3", "no whole number", "--config.train.steps=1000"),
        ("train.steps", "2.5", "no whole number", "--config.train.steps=1200"),
        ("train.steps", "inf", "no whole number", "--config.train.steps=1200"),
        ("train.steps", "", "no whole number", "--config.train.steps=1200"),
        ("train.learning_rate", "a: b", "no number", "--config.train.learning_rate=0.0004"),
        ("model.cbam", "maybe", "neither true nor false", "--config.model.cbam=False"),
        (
            "model.channel_multipliers",
            "(1,2",
            "no tuple such as (1,2)",
            "'--config.model.channel_multipliers=(1, 2, 4)'",
        ),
    ],
)
def test_values_of_another_type_are_told_with_one_that_works(refusal, field, given, wrong, remedy):
    line = f"error: --config.{field} is {given!r}, which is {wrong}; write for example {remedy}"
    assert refusal(_QUICKSTART, f"--config.{field}={given}") == line


def test_sections_are_told_from_fields(refusal):
    assert refusal(_QUICKSTART, "--config.train.scft=5") == (
        "error: --config.train.scft is '5', but train.scft is a section of fields; set one of "
        "these, as --config.train.scft.FIELD=VALUE: adversarial, margin, perceptual, "
        "reconstruction, style, triplet"
    )


@pytest.mark.parametrize("field", ["train.steps", "data.dir", "model.channel_multipliers"])
def test_fields_are_told_from_sections(refusal, field):
    assert refusal(_QUICKSTART, f"--config.{field}.x=3") == (
        f"error: --config.{field}.x=3: {field} is one value and has no fields; write "
        f"--config.{field}=..."
    )


def test_a_replaced_section_is_told_from_a_config_that_lacks_fields(refusal):
    given = "--config.refine.losses={'mse': 1.0}"
    assert refusal(_QUICKSTART, given) == (
        f"error: {given} replaces all of refine.losses, which then lacks refine.losses.bounded, "
        "refine.losses.lpips_alex, refine.losses.lpips_vgg, refine.losses.ms_ssim, "
        "refine.losses.paper; set its fields one by one, as --config.refine.losses.FIELD=VALUE"
    )


def test_other_flags_keep_their_reason(refusal):
    assert refusal(_QUICKSTART, "--workdr=a") == (
        "error: Unknown command line flag 'workdr' (--help lists the flags)"
    )


@pytest.mark.parametrize("variant", ["nonsense", ""])
def test_an_unknown_variant_is_told_with_those_there_are(refusal, variant):
    name = f"configs/benchmark_s32.py:{variant}"
    for given in ([f"--config={name}"], ["--config", name]):
        line = refusal(*given)
        assert line.startswith(f"error: {given[-1]}: there is no variant {variant!r}; choose one")
        assert ", edm, edm_ssimbad, " in line and "\n" not in line


def test_a_variant_of_a_config_that_has_none_is_refused(refusal):
    assert refusal("--config=configs/quickstart.py:edm") == (
        "error: --config=configs/quickstart.py:edm: configs/quickstart.py has no variants; leave "
        ":edm away"
    )


def test_what_a_config_of_ones_own_cannot_import_keeps_its_traceback(parse_here, tmp_path):
    (tmp_path / "mine.py").write_text("import no.such_module")
    with pytest.raises(ModuleNotFoundError, match="'no'"):
        parse_here(f"--config={tmp_path / 'mine.py'}")


def test_fields_that_a_config_of_ones_own_lacks_are_named(refusal, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from ssimbad_jax.configs import edm_ssimbad\n"
        "def get_config():\n"
        "  config = edm_ssimbad.get_config().unlock()\n"
        "  del config.train.batch_size, config.refine\n"
        "  return config\n"
    )
    assert refusal(f"--config={mine}") == (
        f"error: --config={mine} lacks refine, train.batch_size; start from get_config() of "
        "configs/edm_ssimbad.py, as configs/quickstart.py does"
    )


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("configs/edm_ssimbad.py", "edm_ssimbad"),
        ("../a.b/mine.py", "mine"),
        ("configs/benchmark_s32.py:edm", "benchmark_s32_edm"),
    ],
)
def test_variants_of_a_config_have_names_and_so_workdirs_of_their_own(file, name):
    assert config_flag.name_of(file) == name


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("stepz", ("stepz", "did you mean 'steps'?")),
        ("quite_another", ("quite_another", "see configs/edm_ssimbad.py")),
    ],
)
def test_an_unknown_field_is_named_with_the_one_that_was_meant(field, expected):
    with pytest.raises((AttributeError, KeyError)) as refusal:
        getattr(quickstart.get_config().train, field)
    assert config_flag.unknown_field(refusal.value) == expected


@pytest.mark.parametrize("form", ["--config={}", "--config {}", "-config={}"])
@pytest.mark.parametrize("name", ["quickstart", "benchmark_s32:edm"])
def test_shipped_configs_go_by_their_names_anywhere(parse_here, monkeypatch, tmp_path, form, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()  # of another project
    parse_here(*form.format(name).split(" "), "--config.train.steps=7")
    assert flags.FLAGS.config.train.steps == 7
    file = config_flags.get_config_filename(flags.FLAGS["config"])
    assert config_flag.name_of(file) == name.replace(":", "_")


def test_a_name_that_is_no_shipped_config_is_told_with_those_that_are(refusal):
    line = refusal("--config=quick")
    assert line.startswith("error: --config cannot be loaded; name a file such as")
    assert "edm_ssimbad, quickstart, regression" in line


@pytest.mark.parametrize("command", ["main", "colorize", "plan", "report", "torch_import"])
def test_help_and_flags_are_there_before_jax_is(command):
    code = (
        f"import sys, runpy; sys.argv = ['{command}', '--help']\n"
        f"try: runpy.run_module('ssimbad_jax.{command}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit: pass\n"
        "print('jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=program.REPOSITORY,
        text=True,
        capture_output=True,
        check=True,
    )
    assert "flags:" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
