"""A guest whose network card the host's kernel serves.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import fcntl
import socket
import struct
from pathlib import Path

from .bare import BareGuest, in_place
from .matrix import mode
from .tap import check, expect
from .vm import GUEST_MEMFD, main_ram

SIZE, TAP = 64, 'tap0'
# of linux/sockios.h and linux/if.h
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


class NetGuest(BareGuest):
    """A guest whose network card the host's kernel serves."""

    def __init__(self):
        super().__init__(
            'virtio', '-S', *main_ram(GUEST_MEMFD, SIZE), '-netdev',
            f'tap,id=net,ifname={TAP},script=no,downscript=no,vhost=on,'
            'vhostforce=on', '-device', 'virtio-net-pci,netdev=net,'
            'iommu_platform=off,disable-legacy=off',
            flags=() if in_place() else ('-DLOST=1',))

    def answer(self, question):
        """Look at what was sent, when the guest says so."""
        if question.startswith('done '):
            self.look(int(question.split()[1], 16))
            self.agree()
        elif question == 'served':
            self.expect_vhost(False)
            self.agree()
        else:
            super().answer(question)

    def look(self, count):
        """The host has got so many packets, from the kernel."""
        path = Path(f'/sys/class/net/{TAP}/statistics/rx_packets')
        expect(int(path.read_text('utf-8')), count)
        self.expect_vhost(True)

    def expect_vhost(self, started):
        """The kernel serves the network card, or QEMU does."""
        device = self.cmd('x-query-virtio')[0]['path']
        expect(self.cmd('x-query-virtio-status', path=device)['vhost-started'],
               started)


def bring_up(name):
    """Let a network interface work."""
    with socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS,
                    struct.pack('16sh22x', name.encode(), IFF_UP))


def run_network():
    """The kernel doesn't see what is private, and goes on."""
    with check('vhost in the kernel, and a guest that hides what it uses, '
               f'{mode()}'), NetGuest() as guest:
        bring_up(TAP)
        guest.cmd('cont')
        guest.run()
        expect(guest.answers, 8)
