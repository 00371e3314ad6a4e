"""Let a private Linux guest use devices, which access memory that it shares.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import hashlib
import os
import shlex
import tempfile
from pathlib import Path

from .bare import CONFIDENTIAL
from .guest import Guest
from .matrix import mode, pages_of
from .private_linux import loaded
from .tap import check, expect, expect_between, say
from .vm import GUEST_MEMFD, main_ram

MIB = 1 << 20
SIZE = 256
# as Linux makes it on its command line: of 2 KiB each
BOUNCE_BUFFERS = 16 * MIB
# what else it shares, for all devices: queues, and pages for a few bytes each
OTHERS = 8 * MIB
# what more may become shared while they work: drivers' pools of pages
GROWTH, MORE_CONVERSIONS = 256 << 10, 16
DATA = 4

# by name, their arguments; a disk's size, in MiB, tells the guest which it is
DISKS = {
    'virtio-blk': ['-device', 'virtio-blk-pci,drive=virtio-blk'],
    'virtio-scsi': ['-device', 'virtio-scsi-pci,id=scsi', '-device',
                    'scsi-hd,bus=scsi.0,drive=virtio-scsi'],
    'nvme': ['-device', 'nvme,serial=nvme,drive=nvme'],
    'ahci': ['-device', 'ide-hd,bus=ide.0,drive=ahci'],
    'usb': ['-device', 'qemu-xhci', '-device', 'usb-storage,drive=usb'],
}
DISK_SIZES = {name: 16 + n for n, name in enumerate(DISKS)}
NETWORKS = 'virtio-net-pci', 'e1000e'


def digest(data):
    """Return the checksum that the guest's programs print."""
    return hashlib.md5(data).hexdigest()


class DevicesGuest(Guest):
    """Linux with disks, networks and more; its files are in a directory."""

    def __init__(self, directory, page):
        self.directory = Path(directory)
        super().__init__(
            *CONFIDENTIAL, *main_ram(GUEST_MEMFD, SIZE, **pages_of(page)),
            '-smp', '2', *self.disks(), *self.networks(), *self.others(),
            append=f'swiotlb={BOUNCE_BUFFERS // 2048}')
        self.port = self.channel('port')
        self.args += ['-device', 'virtio-serial-pci', '-device',
                      'virtserialport,chardev=port,name=port']

    def image(self, name):
        """Return a disk's file."""
        return self.directory / f'{name}.raw'

    def disks(self):
        """Make the disks; return the arguments for them."""
        args = []
        for name, device in DISKS.items():
            with self.image(name).open('wb') as file:
                file.truncate(DISK_SIZES[name] * MIB)
            args += ['-drive', f'if=none,id={name},format=raw,'
                               f'file={self.image(name)}', *device]
        return args

    def networks(self):
        """Return arguments for networks, on which the host serves files."""
        args = []
        for n, name in enumerate(NETWORKS):
            command = shlex.quote(f'cat > {self.directory}/{name}')
            args += ['-netdev', f'user,id=net{n},net=10.0.{n}.0/24,'
                                f'tftp={self.directory},guestfwd=tcp:'
                                f'10.0.{n}.100:80-cmd:sh -c {command}',
                     '-device', f'{name},netdev=net{n},mac={self.mac(n)}']
        return args

    @staticmethod
    def mac(n):
        """Return the address of a network's card."""
        return f'52:54:00:00:00:0{n}'

    def others(self):
        """Return arguments for all that is left."""
        return ['-device', 'virtio-rng-pci', '-device', 'virtio-balloon-pci',
                '-virtfs', f'local,path={self.directory},mount_tag=share,'
                           'security_model=none']

    def shared(self):
        """Return how many bytes of RAM are shared, and conversions so far."""
        info = self.query_memory('ram0')
        return info['shared'], info['conversions']

    def try_disk(self, name):
        """Write to a disk, and read that again."""
        size = DISK_SIZES[name] * MIB // 512
        seed = DISK_SIZES[name]
        # on USB it comes seconds after the boot
        self.sh(f'until disk=/dev/$(cd /sys/block; grep -lx {size} */size | '
                'cut -d/ -f1) && [ -b $disk ]; do sleep 0.1; done')
        self.sh(f'seal /tmp/file {DATA} {seed} && '
                'dd if=/tmp/file of=$disk bs=256k conv=fsync 2>/dev/null')
        self.sh('echo 3 >/proc/sys/vm/drop_caches; '
                f'dd if=$disk bs=256k count={DATA * 4} 2>/dev/null | '
                'cmp - /tmp/file')
        with self.image(name).open('rb') as file:
            expect(f'{digest(file.read(DATA * MIB))}  -',
                   self.sh('cat /tmp/file.sum'))

    def try_network(self, n):
        """Get a file from the host, and give one to it."""
        data = os.urandom(MIB)
        (self.directory / 'file').write_bytes(data)
        self.sh(f'card=$(cd /sys/class/net; grep -lx {self.mac(n)} */address |'
                f' cut -d/ -f1); ifconfig $card 10.0.{n}.15 up')
        self.sh('cd /tmp; tftp -b 1428 -g -r file -l got '
                f'10.0.{n}.2 2>/dev/null')
        expect(self.sh('md5sum </tmp/got'), f'{digest(data)}  -')
        self.sh(f'nc 10.0.{n}.100 80 </tmp/got; ifconfig $card down')
        expect(digest((self.directory / NETWORKS[n]).read_bytes()),
               digest(data))

    def try_others(self):
        """Get random numbers; talk to the host, and share a directory."""
        self.sh('[ "$(head -c 64 /dev/hwrng | md5sum)" != '
                '"$(head -c 64 /dev/hwrng | md5sum)" ]')
        self.sh('echo from the guest >$(echo /dev/vport*p1)')
        expect(self.port.recv(64), b'from the guest\n')
        data = os.urandom(MIB)
        (self.directory / 'file').write_bytes(data)
        self.sh('mkdir -p /tmp/share; '
                'mount -t 9p -o trans=virtio share /tmp/share')
        expect(self.sh('md5sum </tmp/share/file'), f'{digest(data)}  -')
        self.sh('seal /tmp/share/more 1 9; umount /tmp/share')
        expect(f"{digest((self.directory / 'more').read_bytes())}  -\n",
               (self.directory / 'more.sum').read_text('utf-8'))


def run_devices(page):
    """Use all devices of a guest, once and then all again."""
    with tempfile.TemporaryDirectory() as directory, \
            DevicesGuest(directory, page) as guest:
        with check(f'a private Linux guest with devices boots, {mode()}, '
                   f'pages of {page}'):
            guest.await_boot()
        for name in DISKS:
            with check(f'a disk: {name}'):
                guest.try_disk(name)
        for n, name in enumerate(NETWORKS):
            with check(f'a network: {name}'):
                guest.try_network(n)
        with check('random numbers, a serial port, a shared directory'):
            guest.try_others()
        with check('few MiB are shared, and hardly more later'):
            shared, conversions = guest.shared()
            say(f'{shared / MIB:.1f} MiB shared, {conversions} conversions')
            expect_between(BOUNCE_BUFFERS, shared,
                           BOUNCE_BUFFERS + OTHERS + loaded())
            for name in DISKS:
                guest.try_disk(name)
            after = guest.shared()
            expect_between(shared, after[0], shared + GROWTH)
            expect_between(conversions, after[1],
                           conversions + MORE_CONVERSIONS)
        with check('the clock is the one that KVM keeps'):
            expect(guest.sh('cat /sys/devices/system/clocksource/'
                            'clocksource0/available_clocksource').split()
                   .count('kvm-clock'), 1)
        with check('and the same after a reset'):
            guest.reboot()
            guest.try_disk('virtio-blk')
            guest.power_off()
