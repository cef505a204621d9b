"""Disks of their own for a gateway's data: small ones, and ext4 ones that lose power, inodes or the right to write.

In: a folder that is not there yet. Out: that folder with a file system on it; nothing of it is left at the end, also
after a failure. Needs root and a kernel that mounts; a machine without skips the test with the reason.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .realparts import program
from .waiting import wait_until

EXT4_IOC_SHUTDOWN = 0x8004587D
MAPPED = ("-shm", "owner.epoch")
NO_LOG_FLUSH = 2
"""What was not made durable by then is lost, the journal in memory with it: as if the power had gone."""


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system in memory of that size."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _leave(folder)


def fill(ballast: Path) -> None:
    """Takes all room there is."""
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 20
        while size >= 4096:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2


class Ext4Disk:
    """An ext4 file system in an image beside the folder it is mounted on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = folder.with_name(folder.name + ".ext4")

    def make(self, megabytes: int, inodes: int | None) -> None:
        """Makes and mounts it."""
        self.folder.mkdir()
        with self.image.open("wb") as file:
            file.truncate(megabytes << 20)
        wanted = ["-N", str(inodes)] if inodes is not None else []
        subprocess.run([program("mkfs.ext4"), "-q", "-F", *wanted, str(self.image)], check=True, capture_output=True)
        self.mount()

    def mount(self) -> None:
        """Mounts it, after a power cut with a replay of its journal."""
        _mount("-t", "ext4", "-o", "loop,errors=remount-ro", str(self.image), str(self.folder))

    def cut_power(self) -> None:
        """From now on nothing is read or written, and what was not synced is lost for good."""
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self) -> None:
        """Waits until nobody uses it any more."""
        wait_until(lambda: _umount(str(self.folder)), f"{self.folder} to be let go")

    def fail(self) -> None:
        """An error of the disk: nothing can be written any more, not even to open files, until it is mounted anew.

        It comes at a quiet moment, with everything on the disk, so that also mapped pages cannot be changed any more.
        """
        subprocess.run(["sync", "-f", str(self.folder)], check=True)
        subprocess.run([program("mount"), "-o", "remount,abort", str(self.folder)], check=True, capture_output=True)

    @contextmanager
    def protected(self) -> Iterator[None]:
        """Nothing can be written meanwhile, not even to open files: each is immutable, and so is each folder.

        Only files that are mapped can be changed, as on a disk that has turned read-only, which takes that in memory.
        """
        every = [self.folder, *self.folder.rglob("*")]
        paths = [str(path) for path in every if not path.is_socket() and not path.name.endswith(MAPPED)]
        subprocess.run([program("chattr"), "-f", "+i", *paths], check=False)
        try:
            yield
        finally:
            subprocess.run([program("chattr"), "-f", "-i", *paths], check=False)


@contextmanager
def ext4_disk(folder: Path, megabytes: int, inodes: int | None = None) -> Iterator[Ext4Disk]:
    """A fresh ext4 file system on `folder`; with `inodes` only so many files can be made."""
    if os.geteuid() != 0:
        pytest.skip("a file system can only be mounted by root")
    disk = Ext4Disk(folder)
    try:
        disk.make(megabytes, inodes)
        yield disk
    finally:
        _leave(folder)
        disk.image.unlink(missing_ok=True)


def _mount(*words: str) -> None:
    mounted = subprocess.run(["mount", *words], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode()}")


def _umount(*words: str) -> bool:
    return subprocess.run(["umount", *words], check=False, capture_output=True).returncode == 0


def _leave(folder: Path) -> None:
    """Whoever still has a file open there keeps it, but the name is free."""
    while os.path.ismount(folder) and _umount("-l", str(folder)):
        pass
