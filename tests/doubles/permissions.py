"""Permissions that count: root may read everything, unless it gives up for a while what lets it do so."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator

# From linux/capability.h: the layout's version, and two capabilities by their numbers.
VERSION = 0x20080522
DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Makes this thread, and those that it starts, heed the permissions of files, also as root."""
    if os.geteuid() != 0:
        yield
        return
    libc, sets = ctypes.CDLL(None, use_errno=True), (_Sets * 2)()  # the first has the capabilities up to 31
    _call(libc.capget, sets)
    before = sets[0].effective
    sets[0].effective &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    _call(libc.capset, sets)
    try:
        yield
    finally:
        sets[0].effective = before
        _call(libc.capset, sets)


def _call(function: Callable[..., int], sets: ctypes.Array[_Sets]) -> None:
    if function(ctypes.byref(_Header(VERSION, 0)), sets) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
