"""Measure what private memory costs a Linux guest with disk and network.

The same Debian runs with private memory, with shared guest_memfd and with
memory-backend-memfd, one after the other in a lab.  What counts is what a
request takes: instructions that the emulator runs (those of guest, host and
QEMU), exits from the guest, conversions.  How many there are in a second is
measured, too, and depends on the machine.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import json

from .common import (TOP, WAYS, compile_plugin, compile_static, in_lab, keep,
                     run)

IMAGE = TOP / 'build/lab/root-fio.ext4'
BASE = 'memfd'


def row(job, label, found, base):
    """Print what a request costs."""
    print(f'  {job:<30}{label:<24}{found["instructions"] / 1000:>10.1f}'
          f'{found["instructions"] / base["instructions"]:>7.2f}'
          f'{found["exits"]:>9.2f}{found["conversions"]:>8.2f}'
          f'{1 / found["s"]:>10.1f}{base["s"] / found["s"]:>7.2f}')


def table(session):
    """Print the guests of a session side by side."""
    guests = session['guests']
    for job in guests[BASE]['jobs']:
        for label, guest in guests.items():
            row(job, label, guest['jobs'][job], guests[BASE]['jobs'][job])


def tell_memory(session):
    """Print what the private guest of a session takes."""
    for label, guest in session['guests'].items():
        if 'copied' in guest:
            print(f"  {label}, {session['guest MiB']} MiB: "
                  f"{guest['shared']:.1f} MiB shared")
            for when in 'booted', 'copied':
                print(f'    {when}: ' + ', '.join(
                    f'{name} {mib} MiB' for name, mib in guest[when].items()))


def measure():
    """Measure guests; there is no target but that nothing is converted."""
    run('scripts/build-qemu', 'qemu-img')
    run('scripts/build-root', 'fio')
    count = compile_static('instructions-run', 'bench/instructions-run.c')
    plugin = compile_plugin('count-instructions')
    found = {way: json.loads(in_lab(
        ('--memory', '8G', *plugin, *options), 'bench/linux', IMAGE, count))
        for way, options in WAYS.items()}
    keep('linux.json', json.dumps(found, indent=1))
    print(f'\n  {"a request":<30}{"guest":<24}{"10^3 ins.":>10}{"ratio":>7}'
          f'{"exits":>9}{"conv.":>8}{"per s":>10}{"ratio":>7}')
    for session in found.values():
        table(session)
    print('\n  Memory, before and after files of twice its size were copied')
    for session in found.values():
        tell_memory(session)
    return not any(job['conversions'] for session in found.values()
                   for guest in session['guests'].values()
                   for job in guest['jobs'].values())
