"""Give a device of the lab to VFIO.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import re
import resource
from pathlib import Path

from .pin import LIBC, called

VENDOR, DEVICE = '0x1234', '0x11e8'

# prctl() and its argument, of <linux/prctl.h> and <linux/capability.h>
CAPBSET_DROP, IPC_LOCK = 24, 14

# What VFIO is used through, with the arguments and the option that it takes.
INTERFACES = (
    ('type1', [], ''),
    ('iommufd', ['-object', 'iommufd,id=iommu'], ',iommufd=iommu'),
)


def bind():
    """Give the edu device to VFIO; return its address."""
    Path('/sys/bus/pci/drivers/vfio-pci/new_id').write_text(
        f'{VENDOR} {DEVICE}', 'utf-8')
    for path in Path('/sys/bus/pci/devices').iterdir():
        if (path / 'device').read_text('utf-8').strip() == DEVICE:
            return path.name
    raise AssertionError('the lab has no edu device')


def pinned(pid):
    """Return how much memory of a process is pinned for devices, in KiB."""
    status = Path(f'/proc/{pid}/status').read_text('utf-8')
    return sum(map(int, re.findall(r'^Vm(?:Lck|Pin):\s*(\d+) kB', status,
                                   re.M)))


def limit_pinned(size=resource.RLIM_INFINITY):
    """Limit what each QEMU that we start may pin, which can change then."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (size, resource.RLIM_INFINITY))
    # Who has this may pin what it likes, and QEMU has it from us.
    called(LIBC.prctl(CAPBSET_DROP, IPC_LOCK))
