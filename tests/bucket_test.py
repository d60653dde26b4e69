"""Files in buckets, which fsspec's memory stands in for."""

import fsspec
import pytest

from ssimbad_jax.data import bucket

ADDRESS = "memory://faces/all"
FACES = {"a.png": b"one", "more/b.png": b"two"}


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.store.clear()
    for name, content in FACES.items():
        files.pipe(f"/faces/all/{name}", content)
    yield files
    files.store.clear()


def _content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("path", ["gs://bucket/run", "s3://bucket", "gs:/bucket", "HTTP://a/b"])
def test_addresses_are_told_from_paths(path):
    assert bucket.is_address(path)


@pytest.mark.parametrize("path", ["", "runs/a", "/a/gs:/b", "~/a", "C:/a", "./gs://a", "a b/*.png"])
def test_paths_are_paths(path):
    assert not bucket.is_address(path)


def test_a_folder_is_fetched_once(memory, tmp_path, capsys):
    folder = bucket.fetch(ADDRESS, tmp_path)
    assert folder.name == "all"
    assert _content(folder) == FACES
    assert "Fetching 2 files" in capsys.readouterr().out
    assert bucket.fetch(f"{ADDRESS}/", tmp_path).name == "all"
    capsys.readouterr()
    assert bucket.fetch(ADDRESS, tmp_path) == folder
    assert capsys.readouterr().out == ""


def test_what_changed_is_fetched_again_and_what_is_gone_is_removed(memory, tmp_path, capsys):
    folder = bucket.fetch(ADDRESS, tmp_path)
    memory.pipe("/faces/all/a.png", b"changed")
    memory.pipe("/faces/all/c.png", b"new")
    memory.rm("/faces/all/more/b.png")
    capsys.readouterr()
    bucket.fetch(ADDRESS, tmp_path)
    assert _content(folder) == {"a.png": b"changed", "c.png": b"new"}
    assert "Fetching 2 files" in capsys.readouterr().out
    (folder / "c.png").unlink()
    assert _content(bucket.fetch(ADDRESS, tmp_path)) == {"a.png": b"changed", "c.png": b"new"}


def test_a_file_keeps_its_name(memory, tmp_path):
    file = bucket.fetch(f"{ADDRESS}/more/b.png", tmp_path)
    assert file.name == "b.png"
    assert file.read_bytes() == b"two"


def test_folders_of_one_name_are_kept_apart(memory, tmp_path):
    memory.pipe("/others/all/a.png", b"other")
    assert bucket.fetch(ADDRESS, tmp_path) != bucket.fetch("memory://others/all", tmp_path)


def test_what_broke_off_is_fetched_to_the_end(memory, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(bucket, "_AT_ONCE", 1)
        download, done = memory.get, []

        def break_off(*arguments, **options):
            if done:
                raise RuntimeError("connection reset")
            done.append(download(*arguments, **options))

        patch.setattr(type(memory), "get", lambda self, *a, **o: break_off(*a, **o))
        with pytest.raises(bucket.BucketError, match=r"faces/all .*connection reset.*gcsfs"):
            bucket.fetch(ADDRESS, tmp_path)
    assert _content(bucket.fetch(ADDRESS, tmp_path)) == FACES


def test_bad_addresses_are_refused(memory, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing at memory://faces/none; check"):
        bucket.fetch("memory://faces/none", tmp_path)
    with pytest.raises(bucket.BucketError, match="nosuch://a/b cannot be used"):
        bucket.fetch("nosuch://a/b", tmp_path)


def test_no_file_leaves_its_folder(memory, tmp_path, monkeypatch):
    listed = {"/faces/all/../../evil.png": {"size": 1}}
    monkeypatch.setattr(type(memory), "find", lambda *arguments, **options: listed)
    with pytest.raises(bucket.BucketError, match="leave its folder"):
        bucket.fetch(ADDRESS, tmp_path)
