"""Measure conversions as a guest sees them.

A bare-metal guest (tests/guest/timed.c) asks for conversions by a hypercall,
and times them.  It runs under QEMU, in place and with two backings, and, in
place, under the least program that can run it (bench/least-vmm.c): an exit,
the ioctl, and back.  What QEMU adds is the difference.

Times are taken without a plugin, as it would slow down some code more than
other code.  Other runs count instructions, and name those of QEMU's functions
that spend them on a conversion of 4 KiB.  What counts is instructions, as in
the suite memory.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import json
from statistics import median

from .common import (OUT, SHARED_CODE, WAYS, compile_plugin, compile_static,
                     in_lab, keep, size)
from .profile import by_function, sections

TURNS = 3
PROFILED = 64                   # as in bench/instructions.h
FUNCTIONS = 25
TARGET_RANGE = 2048
# times the least there can be, or more than that, which may be very little
TARGET, MORE = 1.25, 3000
KIND = 'range KiB', 'to', 'page KiB'


def sessions(vmm, turns, options=()):
    """Run both ways in turns; return what was found, one after the other."""
    found = []
    for turn in range(turns):
        for way, kernel in WAYS.items():
            print(f'turn {turn + 1} of {turns}, {way}', flush=True)
            found.append((way, json.loads(in_lab(
                ('--memory', '2G', *kernel, *options), 'bench/hypercalls',
                vmm))))
    return merge(found)


def merge(found):
    """Return the samples of each host of the guest.

    Hosts are QEMU in both ways, and the program that is not QEMU.
    """
    hosts = {}
    for way, session in found:
        for record in session['samples']:
            host = way if record.pop('host') == 'QEMU' else 'bare'
            add(hosts.setdefault(host, {}), record)
    return {**found[-1][1], 'samples': hosts}


def add(kinds, record):
    """Add the figures of a kind of conversion to what is there of it."""
    kind = kinds.setdefault(tuple(record.pop(name) for name in KIND), {})
    for name, figures in record.items():
        kind.setdefault(name, []).extend(figures)


def flat(hosts):
    """Return samples as they are kept: a record for each host and kind."""
    return [{'host': host, **dict(zip(KIND, kind)), **figures}
            for host, kinds in hosts.items()
            for kind, figures in kinds.items()]


def typical(figures, *names):
    """Return the median of one figure, or of the sum of some."""
    return median(map(sum, zip(*(figures[name] for name in names))))


def table(title, hosts, names, scale, aimed):
    """Print medians of all hosts; return whether they are within the target.
    """
    print(f'\n  {title}\n\n  {"range":<8}{"becomes":<9}{"pages":<7}'
          f'{"in place":>11}{"separate":>11}{"bare":>11}{"/separate":>11}'
          f'{"/bare":>8}   target')
    good = True
    for kind, figures in hosts['in place'].items():
        length, to, page = kind
        ours, other, bare = (
            typical(each, *names) / scale
            for each in (figures, hosts['two backings'][kind],
                         hosts['bare'][kind]))
        target = aimed and length == TARGET_RANGE
        most = max(bare * TARGET, bare + MORE)
        good = good and (not target or ours <= most)
        print(f'  {size(length):<8}{to:<9}{size(page):<7}{ours:>11.5g}'
              f'{other:>11.5g}{bare:>11.5g}{ours / other:>11.3f}'
              f'{ours / bare:>8.3f}'
              f'{f"   <= {most / bare:.2f}" if target else ""}')
    return good


def ioctl_table(hosts, scale):
    """Print what of the least program's time is the ioctl itself."""
    print(f'\n  {"range":<8}{"becomes":<9}{"pages":<7}{"bare ioctl":>11}'
          f'{"and exit":>11}')
    for (length, to, page), figures in hosts['bare'].items():
        print(f'  {size(length):<8}{to:<9}{size(page):<7}'
              f'{typical(figures, "ioctl ticks") / scale:>11.5g}'
              f'{typical(figures, "ticks") / scale:>11.5g}')


def profile(vmm):
    """Return the instructions of QEMU's functions for a small conversion."""
    blocks = OUT / 'blocks'
    found = json.loads(in_lab(
        ('--memory', '2G', *WAYS['in place'],
         *compile_plugin('profile-instructions', f'out={blocks}')),
        'bench/hypercalls', vmm))
    return named(blocks, found['code']['4 KiB'])


def named(blocks, code):
    """Return the instructions of each function, the most first."""
    # Each guest has two marks, and only the second follows conversions alone.
    functions = by_function(sections(blocks)[1], code)
    return [[*name, count / PROFILED] for name, count in functions]


def print_profile(functions):
    """Print what spends the most."""
    print('\n  Instructions of user space for a conversion of 4 KiB in place: '
          f'{sum(count for *_, count in functions):.0f}\n')
    for file, function, count in functions[:FUNCTIONS]:
        print(f'  {count:>8.1f}  {function} ({file})')


def report(functions, counted, timed):
    """Keep all figures; return whether QEMU adds no more than the target."""
    kept = {'kernel': timed['kernel'], 'MHz': timed['MHz'],
            'timed': flat(timed['samples']),
            'counted': flat(counted['samples']), 'profile': functions}
    # A line for each kind of conversion, and for each function.
    keep('hypercall.json', json.dumps(kept).replace(', {', ',\n {')
         .replace(', ["', ',\n ["'))
    table('Microseconds of a conversion', timed['samples'], ['ticks'],
          timed['MHz'], False)
    ioctl_table(timed['samples'], timed['MHz'])
    table('The same, and the first write to each page afterwards',
          timed['samples'], ['ticks', 'touch ticks'], timed['MHz'], False)
    good = table('Instructions of a conversion, of QEMU and the kernel',
                 counted['samples'], ['instructions'], 1, True)
    table('The same, and the first write to each page afterwards',
          counted['samples'], ['instructions', 'touch instructions'], 1, False)
    table('Instructions of user space alone', counted['samples'],
          ['user instructions'], 1, False)
    print_profile(functions)
    return good


def measure():
    """Measure; return whether QEMU adds no more than the target."""
    vmm = compile_static('least-vmm', 'bench/least-vmm.c', *SHARED_CODE,
                         flags=('-static-pie',))
    return report(profile(vmm),
                  sessions(vmm, 1, compile_plugin('count-instructions')),
                  sessions(vmm, TURNS))
