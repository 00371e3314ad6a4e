"""Give a device of the lab to VFIO.

SPDX-License-Identifier: GPL-2.0-or-later
"""

from pathlib import Path

VENDOR, DEVICE = '0x1234', '0x11e8'

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
