"""Guests whose accesses say what they take memory for.

KVM only seems to have them: tests/kernel/fault-exits.c.

SPDX-License-Identifier: GPL-2.0-or-later
"""

from .bare import BareGuest
from .launch import launch_args, launch_firmware
from .matrix import pages_of
from .vm import GUEST_MEMFD, main_ram


class ImplicitGuest(BareGuest):
    """A guest that seems to be of another type, and runs implicit.c."""

    confidential = ()

    def __init__(self, kind, *args, page='4 KiB', flags=()):
        image = launch_firmware('implicit', *flags)
        # of two values of -bios, the last counts
        super().__init__('implicit', *launch_args(kind, image),
                         *main_ram(GUEST_MEMFD, 64, **pages_of(page)), *args)
