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
from ssimbad_jax.stages import workdir_lock
from ssimbad_jax.training import progress

MANIFEST = "mirror.json"
SECONDS_BETWEEN_COPIES = 60.0
_OF_THIS_MACHINE = (workdir_lock.LOCK_FILE, workdir_lock.HOLDER_FILE)
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
        self._version_file = folder / "version"  # of the bucket's files that the disk goes on from
        self._version = self._read_version()
        self._copied: Files = {}

    def pull(self) -> None:
        """Brings the bucket's run here, unless it is here already."""
        manifest = self._manifest()
        if manifest["version"] == self._version:
            self.workdir.mkdir(exist_ok=True)
            self._copied = manifest["files"]
            return
        shutil.rmtree(self.workdir, ignore_errors=True)
        self.workdir.mkdir()
        paths = list(manifest["files"])
        progress.say(f"Fetching {len(paths)} files of {self._address}")
        with bucket.explained(self._address):
            bucket.download(self._files, self._root, paths, self.workdir)
        self._copied = self._on_disk()
        self._set_version(manifest["version"])

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
        if self._manifest()["version"] != self._version:
            raise bucket.BucketError(
                f"another run has written to {self._address}; what this one made is only in "
                f"{self.workdir}: copy it elsewhere before the same command, which goes on from "
                "the bucket's"
            )
        with bucket.explained(self._address):
            on_disk = self._upload(on_disk)
            version = uuid.uuid4().hex
            manifest = json.dumps({"version": version, "files": on_disk})
            self._files.pipe_file(f"{self._root}/{MANIFEST}", manifest.encode())
            self._set_version(version)
            for path in self._copied.keys() - on_disk.keys():
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(f"{self._root}/{path}")
        self._copied = on_disk

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

    def _read_version(self) -> str:
        try:
            return self._version_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def _set_version(self, version: str) -> None:
        self._version = version
        self._version_file.write_text(version, encoding="utf-8")
