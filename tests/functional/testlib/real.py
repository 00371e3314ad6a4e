"""Use a Debian guest as people would.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from .debian import BOUNCE_BUFFERS, QEMU_IMG, Debian
from .matrix import fill_pool, mode, pages_of
from .private_linux import loaded
from .served import package, served
from .tap import FULL, check, expect, expect_between, say
from .vm import GUEST_MEMFD, main_ram

MIB = 1 << 20
# MiB
SIZE, PLUGGED, BALLOON = 512, 256, 32
# what Linux shares besides, for all devices: queues, and pages for a few bytes
OTHERS = 8 * MIB
FILES, FILE_SIZE = 24, MIB // 4


def make_tree(directory):
    """Write a tree of files, and their checksums."""
    sums = []
    for n in range(FILES):
        path = directory / f'tree/{n % 5}/{n}'
        path.parent.mkdir(parents=True, exist_ok=True)
        data = os.urandom(FILE_SIZE)
        path.write_bytes(data)
        sums.append(f'{hashlib.md5(data).hexdigest()}  '
                    f'{path.relative_to(directory)}\n')
    (directory / 'sums').write_text(''.join(sums), 'utf-8')


def copy_tree(guest, directory, address):
    """Let the guest fetch the tree, check it, and give it back."""
    guest.sh(f'cd /root && wget -qnH -r -l9 --no-parent -R "index.html*" '
             f'{address}/tree/ && wget -q {address}/sums')
    guest.sh('echo 3 >/proc/sys/vm/drop_caches; md5sum --quiet -c sums')
    guest.sh('tar -cf tar tree && wget -q --post-file=tar -O /dev/null '
             f'{address}/tar')
    back = directory / 'back'
    back.mkdir()
    subprocess.run(['tar', '-xf', directory / 'tar', '-C', back], check=True)
    subprocess.run(['md5sum', '--quiet', '-c', directory / 'sums'], cwd=back,
                   check=True)


def install_package(guest, address):
    """Let the guest install a package, from the host's source of packages."""
    guest.sh(f'echo "deb [trusted=yes] {address} ./" '
             '>/etc/apt/sources.list && apt-get -qq update && '
             'apt-get -qqy install parcel </dev/null')
    expect(guest.sh('parcel'), 'installed')


def expect_few_shared(guest):
    """Expect all memory to be private but what devices need."""
    for info in guest.cmd('query-guest-memfd'):
        say(f"{info['id']}: {info['shared'] / MIB:.1f} MiB shared, "
            f"{info['conversions']} conversions")
        buffers = BOUNCE_BUFFERS if info['id'] == 'ram0' else 0
        expect_between(buffers, info['shared'], buffers + OTHERS + loaded())
        expect(info['failures'], 0)


def plug_disk(guest, directory):
    """Plug a disk, use it, and unplug it."""
    image = directory / 'plugged'
    with image.open('wb') as file:
        file.truncate(32 * MIB)
    guest.cmd('blockdev-add', driver='file', node_name='plugged',
              filename=str(image))
    guest.cmd('device_add', driver='virtio-blk-pci', drive='plugged',
              id='disk', bus='bus1', serial='plugged')
    guest.sh('disk=/dev/disk/by-id/virtio-plugged; '
             'until [ -b $disk ]; do sleep 0.1; done; '
             'mke2fs -q $disk && mount $disk /mnt && '
             'cp -r /root/tree /root/sums /mnt && umount /mnt && '
             'mount $disk /mnt && cd /mnt && md5sum --quiet -c sums && '
             'cd / && umount /mnt')
    guest.cmd('device_del', id='disk')
    guest.await_unplugged('disk')


def plug_memory(guest, page):
    """Plug memory; the guest uses it, and none of it is shared."""
    before = int(guest.sh("awk '/^MemTotal/ {print $2}' /proc/meminfo"))
    properties = {key: value if value != 'on' else True
                  for key, value in pages_of(page).items()}
    if 'hugetlbsize' in properties:
        properties['hugetlbsize'] = 2 * MIB
    guest.cmd('object-add', qom_type=GUEST_MEMFD, id='more',
              size=PLUGGED * MIB, **properties)
    guest.cmd('device_add', driver='pc-dimm', id='dimm', memdev='more')
    guest.sh('until [ $(awk "/^MemTotal/ {print \\$2}" /proc/meminfo) -ge '
             f'{before + PLUGGED * 1024} ]; do sleep 0.1; done')
    expect(guest.query_memory('more')['shared'], 0)


def ask_for_balloon(guest):
    """Linux leaves a balloon alone that would not go through shared memory.

    The guest goes on, whatever it is asked for.
    """
    guest.sh('dmesg | grep "virtio_balloon.*must provide"')
    before = guest.cmd('query-balloon')['actual']
    guest.cmd('balloon', value=before - BALLOON * MIB)
    guest.sh('cd /root && md5sum --quiet -c sums')
    expect(guest.cmd('query-balloon')['actual'], before)


def use(guest, directory, address):
    """Do what is done in every guest."""
    with check('a tree of files is copied over the network, and back'):
        copy_tree(guest, directory, address)
    with check('a package is installed'):
        install_package(guest, address)
    with check('few MiB are shared'):
        expect_few_shared(guest)


def end(guest):
    """Boot again, and power off; the disk has it all."""
    with check('a reboot'):
        guest.reboot()
        expect(guest.sh('parcel'), 'installed')
        guest.sh('cd /root && md5sum --quiet -c sums')
        expect_few_shared(guest)
    with check('power off'):
        guest.power_off()
        subprocess.run([QEMU_IMG, 'check', '-q', guest.image], check=True)


def run_debian(page, disk='virtio-blk', cpus=2, more=False):
    """Boot Debian, use it, and power it off."""
    memory = main_ram(GUEST_MEMFD, SIZE, **pages_of(page))
    devices = ['-m', f'{SIZE}M,slots=2,maxmem=4G', '-device',
               'pcie-root-port,id=bus1', '-device',
               'virtio-balloon-pci'] if more else []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_tree(directory)
        package(directory, 'parcel')
        with served(directory) as address, \
                Debian(directory, *memory, '-smp', str(cpus), *devices,
                       disk=disk) as guest:
            with check(f'Debian boots to a login, {mode()}, pages of {page}, '
                       f'{disk}, {cpus} processors'):
                guest.log_in()
                expect(guest.sh('nproc'), str(cpus))
            use(guest, directory, address)
            if more:
                with check('a disk is plugged and unplugged'):
                    plug_disk(guest, directory)
                with check('memory is plugged'):
                    plug_memory(guest, page)
                with check('a balloon'):
                    ask_for_balloon(guest)
            end(guest)


def run_all(page):
    """Run Debian on pages of a size, with --full in one more way."""
    fill_pool('2 MiB', SIZE + PLUGGED)
    run_debian(page)
    if FULL:
        run_debian(page, 'nvme', 4, more=True)
