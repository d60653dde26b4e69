"""A workdir in a bucket: worked in on a disk, and copied to the bucket as it grows.

Locks, logs that are appended to and files that are replaced at once need a disk; a bucket keeps
what the machine may take with it. The bucket's mirror.json lists the files that belong together and
is written behind them, so that a copy that broke off is never taken for a run.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import filelock
import jax

from ssimbad_jax.data import bucket
from ssimbad_jax.stages import run_record, workdir_lock
from ssimbad_jax.training import progress

MANIFEST = "mirror.json"
SECONDS_BETWEEN_COPIES = 60.0
_OF_THIS_MACHINE = (workdir_lock.LOCK_FILE, workdir_lock.HOLDER_FILE, run_record.LOCK_FILE)
_UNFINISHED = "orbax-checkpoint-tmp"

Files = dict[str, list[int]]  # size and time of change, by path


@contextlib.contextmanager
def on_disk(address: str, kept_in: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a workdir on a disk for one in a bucket, and copies what is written to it.

    What the bucket has is brought here first; where the disk has the same run, the disk goes on.
    Copies are made every minute and on leaving, however that is.

    Args:
        address: such as gs://bucket/run.
        kept_in: folder of the workdirs on the disk.

    Yields:
        The workdir on the disk.

    Raises:
        ValueError: the run has several processes, which need one workdir.
        BucketError: the bucket cannot be used, or another run has written to it.
        LockedError: another run on this machine works on the same address.
        OSError: the disk cannot be written.
    """
    if jax.process_count() > 1:
        raise ValueError(
            f"--workdir is {address!r}, and there are {jax.process_count()} processes, which need "
            "one folder that all can see; mount the bucket (gcsfuse, mountpoint-s3) and name that"
        )
    name = address.rstrip("/").rpartition("/")[-1]
    folder = kept_in / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(filelock.FileLock(folder / "lock", blocking=False))
        except filelock.Timeout as error:
            raise workdir_lock.LockedError(
                f"another run on this machine works on {address}; wait until it has ended"
            ) from error
        mirror = _Mirror(address, folder)
        mirror.pull()
        progress.say(f"{address} is worked on in {mirror.workdir} and copied every minute")
        with mirror.pushing():
            yield mirror.workdir


class _Mirror:
    """A workdir on a disk and its copy."""

    def __init__(self, address: str, folder: pathlib.Path):
        self.workdir = folder / "workdir"
        self._address = address
        self._files, self._root = bucket.opened(address)
        self._record = folder / "copied.json"
        # Of the bucket's files that the disk goes on from: one, or two after a copy of which it is
        # not known whether it has arrived.
        self._versions, self._copied = self._read_record()

    def pull(self) -> None:
        """Brings the bucket's run here, unless it is here already."""
        manifest = self._manifest()
        version = manifest["version"]
        if version in self._versions and (self.workdir.is_dir() or not version):
            self.workdir.mkdir(exist_ok=True)
            arrived = version != self._versions[0]
            self._remember([version], manifest["files"] if arrived else self._copied)
            return
        paths = list(manifest["files"])
        progress.say(f"Fetching {len(paths)} files of {self._address}")
        fetched = self.workdir.with_name("fetched")
        shutil.rmtree(fetched, ignore_errors=True)
        fetched.mkdir()
        with bucket.explained(self._address):
            bucket.download(self._files, self._root, paths, fetched)
        self._clear_the_way()
        fetched.rename(self.workdir)
        self._remember([version], self._on_disk())

    def _clear_the_way(self) -> None:
        """Removes what the disk has, but for what was never copied: that is moved aside."""
        if all(self._copied.get(path) == stamp for path, stamp in self._on_disk().items()):
            shutil.rmtree(self.workdir, ignore_errors=True)
            return
        aside = self.workdir.with_name(f"not_copied_{uuid.uuid4().hex[:8]}")
        self.workdir.rename(aside)
        progress.say(
            f"warning: another run has written to {self._address}; what this machine had made and "
            f"not copied is in {aside}"
        )

    @contextlib.contextmanager
    def pushing(self) -> Iterator[None]:
        """Copies to the bucket from time to time, and on leaving."""
        stop = threading.Event()
        thread = threading.Thread(target=self._push_until, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.push()

    def push(self) -> None:
        """Copies what has changed to the bucket."""
        on_disk = self._on_disk()
        if on_disk == self._copied:
            return
        if self._manifest()["version"] not in self._versions:
            raise bucket.BucketError(
                f"another run has written to {self._address}; what this one made is only in "
                f"{self.workdir}; the same command goes on from the bucket's, and moves it aside"
            )
        with bucket.explained(self._address):
            on_disk = self._upload(on_disk)
            version = uuid.uuid4().hex
            manifest = json.dumps({"version": version, "files": on_disk})
            removed = self._copied.keys() - on_disk.keys()
            self._remember([*self._versions, version], self._copied)
            self._files.pipe_file(f"{self._root}/{MANIFEST}", manifest.encode())
            self._remember([version], on_disk)
            for path in removed:
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(f"{self._root}/{path}")

    def _push_until(self, stop: threading.Event) -> None:
        while not stop.wait(SECONDS_BETWEEN_COPIES):
            try:
                self.push()
            except OSError as error:
                progress.say(f"warning: not copied, to be tried again: {error}")

    def _upload(self, on_disk: Files) -> Files:
        """Uploads what has changed, until nothing of it is removed meanwhile."""
        done = dict(self._copied)
        while True:
            for path, stamp in on_disk.items():
                if done.get(path) != stamp:
                    with contextlib.suppress(FileNotFoundError):
                        self._files.put_file(os.fspath(self.workdir / path), f"{self._root}/{path}")
                        done[path] = stamp
            now = self._on_disk()
            if on_disk.keys() <= now.keys():
                return on_disk
            on_disk = now

    def _on_disk(self) -> Files:
        found: Files = {}
        for folder, folders, names in os.walk(self.workdir):
            folders[:] = [name for name in folders if _UNFINISHED not in name]
            for name in set(names) - set(_OF_THIS_MACHINE):
                path = pathlib.Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    about = path.stat()
                    relative = path.relative_to(self.workdir).as_posix()
                    found[relative] = [about.st_size, about.st_mtime_ns]
        return dict(sorted(found.items()))

    def _manifest(self) -> dict[str, Any]:
        """Returns what the bucket has: version and files; the version of nothing is empty."""
        path = f"{self._root}/{MANIFEST}"
        with bucket.explained(self._address):
            self._files.invalidate_cache()
            if not self._files.exists(path):
                return {"version": "", "files": {}}
            manifest = json.loads(self._files.cat_file(path))
            for file in manifest["files"]:
                if ".." in pathlib.PurePosixPath(file).parts or file.startswith("/"):
                    raise ValueError(f"{MANIFEST} names {file!r}, which would leave the workdir")
            return {"version": str(manifest["version"]), "files": manifest["files"]}

    def _read_record(self) -> tuple[list[str], Files]:
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            return record["versions"], record["files"]
        except FileNotFoundError:
            return [""], {}
        except (ValueError, KeyError, TypeError):
            return [], {}  # what lies here is moved aside

    def _remember(self, versions: list[str], copied: Files) -> None:
        self._versions, self._copied = versions, copied
        unfinished = self._record.with_suffix(".part")
        unfinished.write_text(json.dumps({"versions": versions, "files": copied}), encoding="utf-8")
        os.replace(unfinished, self._record)
