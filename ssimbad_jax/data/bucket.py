"""Files in buckets: gs://bucket/faces, s3://bucket/faces, and whatever else fsspec knows.

They are fetched to a disk before they are used, and fetched again only where they changed.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import filelock
import fsspec

# Two letters or more: `C:/` is a disk.
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
# What services say of a file that changes with its content.
_STAMPS = ("size", "ETag", "etag", "md5Hash", "crc32c", "created", "mtime", "LastModified")
_AT_ONCE = 128  # files; services answer many requests at the same time


class BucketError(OSError):
    """A bucket cannot be read or written; the message says what to do."""


def is_address(path: str) -> bool:
    """Returns whether a path is an address, such as gs://bucket/run."""
    return _SCHEME.match(path) is not None


@contextlib.contextmanager
def explained(address: str) -> Iterator[None]:
    """Turns what services raise into one kind of error.

    Args:
        address: that is worked on, for the message.

    Raises:
        BucketError: anything was raised inside.
    """
    try:
        yield
    except Exception as error:  # of any type: each service has its own
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise BucketError(
            f"{address} cannot be used ({reason}); gs:// needs the package gcsfs, s3:// needs "
            "s3fs, and both the rights to the bucket"
        ) from error


def opened(address: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Returns what reads and writes an address, and the path that it knows it by.

    Raises:
        BucketError: nothing does.
    """
    # Buckets have no folders that would have to be made.
    options = {"auto_mkdir": True} if address.lower().startswith("file:") else {}
    with explained(address):
        files, root = fsspec.url_to_fs(address, **options)
    return files, root.rstrip("/")


def fetch(address: str, kept_in: pathlib.Path) -> pathlib.Path:
    """Brings a file or folder to this machine's disks.

    Args:
        address: such as gs://bucket/faces or s3://bucket/pairs.npz.
        kept_in: folder of what was fetched; what has not changed since is not fetched again.

    Returns:
        Where the copy lies, under the same name.

    Raises:
        FileNotFoundError: there is nothing at the address.
        BucketError: it cannot be read.
        OSError: the folder cannot be written.
    """
    files, root = opened(address)
    name = root.rpartition("/")[-1]
    folder = kept_in / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "fetched.json"
    with filelock.FileLock(folder / ".lock"):
        with explained(address):
            stamps = dict(_stamps(files, root))
        if not stamps:
            raise FileNotFoundError(f"there is nothing at {address}; check the address")
        kept = _read(record)
        changed = [
            path
            for path, stamp in stamps.items()
            if kept.get(path) != stamp or not (folder / path).is_file()
        ]
        # Nothing is known of files that are being replaced.
        _write(record, {path: kept[path] for path in kept if path not in changed})
        for path in kept.keys() - stamps.keys():
            (folder / path).unlink(missing_ok=True)
        if changed:
            print(f"Fetching {len(changed)} files of {address} into {folder}", flush=True)
            parent = root.rpartition("/")[0]
            with explained(address):
                download(files, parent, changed, folder)
        _write(record, stamps)
    return folder / name


def download(
    files: fsspec.AbstractFileSystem, root: str, paths: Sequence[str], folder: pathlib.Path
) -> None:
    """Copies files to a disk.

    Args:
        files: of `opened`.
        root: what the paths are relative to.
        paths: of files.
        folder: to which they go, under the same paths.
    """
    for first in range(0, len(paths), _AT_ONCE):
        some = paths[first : first + _AT_ONCE]
        targets = [folder / path for path in some]
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        files.get([f"{root}/{path}" for path in some], [os.fspath(target) for target in targets])


def _stamps(files: fsspec.AbstractFileSystem, root: str) -> Iterator[tuple[str, str]]:
    """Yields the files at a place, each with what changes when its content does."""
    files.invalidate_cache()
    parent = root.rpartition("/")[0]
    for path, about in sorted(files.find(root, detail=True).items()):
        relative = path.removeprefix(parent).lstrip("/")
        if ".." in pathlib.PurePosixPath(relative).parts:
            raise ValueError(f"it holds a file {path!r}, which would leave its folder")
        yield relative, str([(name, str(about[name])) for name in _STAMPS if name in about])


def _read(record: pathlib.Path) -> dict[str, Any]:
    try:
        kept = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(record: pathlib.Path, stamps: dict[str, Any]) -> None:
    record.write_text(json.dumps(stamps), encoding="utf-8")
