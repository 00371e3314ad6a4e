"""Guests that convert memory at random which assigned devices use.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import re
import subprocess

from .bare import BareGuest
from .tap import expect
from .vfio import pinned
from .vm import GUEST_MEMFD, backend

PAGE_KIB = 4


# A device by type1 misses memory beside what becomes private, for a moment.
FLAGS = {'type1': ('-DPARTED=1',), 'iommufd': ()}


def clear_log():
    """Empty the kernel's log, which keeps no more than so much."""
    subprocess.run(['dmesg', '--clear'], check=True)


def faults():
    """Return how many accesses of devices the kernel says it has denied."""
    log = subprocess.run(['dmesg'], check=True, stdout=subprocess.PIPE,
                         text=True).stdout
    return len(re.findall(r'DMAR: .* fault addr', log))


class AssignedGuest(BareGuest):
    """A guest that tells how much it has shared."""

    def __init__(self, memory, *args, containers=1, name='assigned',
                 flags=()):
        super().__init__(name, *memory, *args, flags=flags)
        self.containers = containers
        # what is pinned besides
        self.others = None
        self.splits = None
        self.extents = []

    def answer(self, question):
        """Compare that with what is pinned for the devices."""
        what, *numbers = question.split()
        if what != 'shared':
            super().answer(question)
            return
        self.compare(int(numbers[0], 16) * PAGE_KIB)
        memory = self.query_memory('ram0')
        self.splits = memory['dma-splits']
        self.extents.append(memory['dma-extents'])
        self.agree()

    def compare(self, shared):
        """Expect so many KiB, and what does not change."""
        others = pinned(self.pid) - shared * self.containers
        if self.others is None:
            self.others = others
        expect(others, self.others)


class PluggedGuest(AssignedGuest):
    """A guest to which a device comes and goes."""

    def __init__(self, memory, *args, flags=(), **device):
        super().__init__(memory, *args, name='assigned-plugged', flags=flags)
        self.device = device
        self.plugged = False

    def answer(self, question):
        """Plug the device, or unplug it, while the guest goes on."""
        if question == 'plug':
            self.agree()
            self.cmd('device_add', driver='vfio-pci', id='plugged',
                     **self.device)
            self.plugged = True
        elif question == 'unplug':
            self.agree()
            self.cmd('device_del', id='plugged')
        elif question == 'unplugged':
            self.await_unplugged('plugged')
            self.plugged = False
            expect(pinned(self.pid), 0)
            self.agree()
        else:
            super().answer(question)

    def compare(self, shared):
        """Expect nothing while there is no device."""
        if self.plugged:
            super().compare(shared)
        else:
            expect(pinned(self.pid), 0)


class TranslatedGuest(BareGuest):
    """A guest with an IOMMU, to which memory comes and goes."""

    def __init__(self, memory, *args):
        super().__init__('assigned-translated', *memory, '-m',
                         '64M,slots=1,maxmem=1G',
                         *backend(GUEST_MEMFD, 'more', 16), '-device',
                         'intel-iommu,caching-mode=on', *args)
        self.plugged = False

    def answer(self, question):
        """Plug the memory, or unplug it."""
        if question == 'unplug':
            self.cmd('device_del', id='dimm')
        elif question in ('plug', 'unplugged'):
            if self.plugged:
                self.await_unplugged('dimm')
            self.plugged = True
        if question == 'plug':
            self.cmd('device_add', driver='pc-dimm', id='dimm', memdev='more')
        self.agree()
