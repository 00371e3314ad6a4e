"""A device that is served by vfio-user, and does nothing with its memory.

See QEMU's docs/interop/vfio-user.rst.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import json
import mmap
import os
import socket
import struct
from errno import EEXIST, EINVAL
from pathlib import Path
from threading import Thread

HEADER = struct.Struct('<HHIII')
(VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_IRQ_INFO,
 SET_IRQS, READ, WRITE, RESET) = 1, 2, 3, 4, 5, 7, 8, 9, 10, 13
REPLY, NO_REPLY, ERROR = 0x1, 0x10, 0x20
# of <linux/vfio.h>
IS_PCI, CAN_RESET, REGIONS, IRQS = 2, 1, 9, 5
CONFIG, CONFIG_SIZE, CAN_READ_WRITE = 7, 256, 3
# a device of no kind that a guest knows
IDENTITY = struct.pack('<HHI', 0x1234, 0xcafe, 0) + struct.pack('<I', 0xff0000)


class Server:
    """Serves one device to one QEMU.

    It takes what is mapped as libvfio-user does: nothing twice, and nothing
    is unmapped but as it was mapped.
    """

    def __init__(self, directory):
        self.path = Path(directory) / 'device'
        self.config = bytearray(IDENTITY.ljust(CONFIG_SIZE, b'\0'))
        # by address: size, file descriptor and offset in the file
        self.mapped = {}
        self.maps = 0
        self.errors = 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(self.path))
        self.socket.listen()
        self.thread = Thread(target=self.serve, daemon=True)
        self.thread.start()

    def arguments(self):
        """Return arguments for QEMU."""
        return '-device', json.dumps({
            'driver': 'vfio-user-pci',
            'socket': {'type': 'unix', 'path': str(self.path)}})

    def serve(self):
        """Answer until QEMU ends."""
        client, _ = self.socket.accept()
        with client:
            while self.answer(client):
                pass

    def answer(self, client):
        """Take a message, and answer it; return whether there was one."""
        data, fds, *_ = socket.recv_fds(client, HEADER.size, 8)
        if not data:
            return False
        number, command, size, flags, _ = HEADER.unpack(data)
        body = client.recv(size - HEADER.size, socket.MSG_WAITALL)
        reply = self.do(command, body, fds)
        error = reply if isinstance(reply, int) else 0
        self.errors += bool(error)
        if not flags & NO_REPLY:
            body = b'' if error else reply
            client.sendall(HEADER.pack(
                number, command, HEADER.size + len(body),
                REPLY | (ERROR if error else 0), error) + body)
        return True

    def do(self, command, body, fds):
        """Do what a message asks for; return what to answer, or an error."""
        if command == VERSION:
            return struct.pack('<HH', 0, 0) + b'{"capabilities": {}}\0'
        if command == GET_INFO:
            return struct.pack('<IIII', 16, IS_PCI | CAN_RESET, REGIONS, IRQS)
        if command == GET_REGION_INFO:
            index, = struct.unpack_from('<I', body, 8)
            is_there = index == CONFIG
            return struct.pack('<IIIIQQ', 32, is_there and CAN_READ_WRITE,
                               index, 0, is_there and CONFIG_SIZE, 0)
        if command == GET_IRQ_INFO:
            index, = struct.unpack_from('<I', body, 8)
            return struct.pack('<IIII', 16, 0, index, 0)
        if command in (READ, WRITE):
            return self.access(command == WRITE, body)
        if command == DMA_MAP:
            return self.map(body, fds)
        if command == DMA_UNMAP:
            return self.unmap(body)
        return b'' if command in (SET_IRQS, RESET) else EINVAL

    def access(self, is_write, body):
        """Read or write the configuration."""
        offset, region, count = struct.unpack_from('<QII', body)
        if region != CONFIG or offset + count > CONFIG_SIZE:
            return EINVAL
        if not is_write:
            return body[:16] + bytes(self.config[offset:offset + count])
        if offset >= len(IDENTITY):
            self.config[offset:offset + count] = body[16:16 + count]
        return body[:16]

    def map(self, body, fds):
        """Take memory."""
        _, _, offset, start, size = struct.unpack('<IIQQQ', body)
        if any(start < at + length and at < start + size
               for at, (length, _, _) in self.mapped.items()):
            return EEXIST
        self.mapped[start] = size, fds[0] if fds else None, offset
        self.maps += 1
        return b''

    def unmap(self, body):
        """Give memory back."""
        _, _, start, size = struct.unpack('<IIQQ', body)
        length, fd, _ = self.mapped.get(start, (None, None, None))
        if length != size:
            return EINVAL
        if fd is not None:
            os.close(fd)
        del self.mapped[start]
        return body

    def parts(self, end):
        """Return what is mapped before an address, as few parts."""
        parts = []
        for start, (size, _, _) in sorted(self.mapped.items()):
            if start >= end:
                continue
            if parts and parts[-1][1] == start:
                parts[-1][1] += size
            else:
                parts.append([start, start + size])
        return parts

    def read(self, address, size):
        """Read memory as the device would."""
        for start, (length, fd, offset) in self.mapped.items():
            if start <= address and address + size <= start + length:
                with mmap.mmap(fd, length, prot=mmap.PROT_READ,
                               offset=offset) as memory:
                    return memory[address - start:address - start + size]
        return None
