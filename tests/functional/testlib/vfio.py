"""Give a device of the lab to VFIO.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import re
import resource
from pathlib import Path

from .pin import LIBC, called
from .tap import expect

# vendor and device
EDU, IGB = ('0x1234', '0x11e8'), ('0x8086', '0x10c9')
NVME = ('0x1b36', '0x0010')

PCI = Path('/sys/bus/pci')

# prctl() and its argument, of <linux/prctl.h> and <linux/capability.h>
CAPBSET_DROP, IPC_LOCK = 24, 14

# What VFIO is used through, with the arguments and the option that it takes.
INTERFACES = (
    ('type1', [], ''),
    ('iommufd', ['-object', 'iommufd,id=iommu'], ',iommufd=iommu'),
)


def give(name, driver):
    """Give a device to a driver, whoever has it."""
    device = PCI / 'devices' / name
    (device / 'driver_override').write_text(driver, 'utf-8')
    if (device / 'driver').exists():
        (device / 'driver/unbind').write_text(name, 'utf-8')
    (PCI / 'drivers_probe').write_text(name, 'utf-8')
    expect((device / 'driver').resolve().name, driver)


def find_all(wanted):
    """Return the addresses of devices of a kind."""
    names = [path.name for path in sorted((PCI / 'devices').iterdir())
             if wanted == tuple((path / each).read_text('utf-8').strip()
                                for each in ('vendor', 'device'))]
    if not names:
        raise AssertionError(f'the lab has no device {wanted}')
    return names


def bind_all(wanted):
    """Give devices of a kind to VFIO; return their addresses."""
    names = find_all(wanted)
    for name in names:
        give(name, 'vfio-pci')
    return names


def bind(wanted=EDU):
    """Give a device to VFIO; return its address."""
    return bind_all(wanted)[0]


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
