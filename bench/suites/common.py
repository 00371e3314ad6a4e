"""What the suites of scripts/bench share.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
OUT = TOP / 'build/bench'
KEPT = TOP / 'bench/results'

# What programs that make virtual machines are linked with
SHARED_CODE = tuple(map('tests/kernel/{}.c'.format,
                        ('files', 'memory', 'pool', 'tap', 'vm')))
WAYS = {'in place': ('--append', 'kvm.gmem_in_place_conversion=1'),
        'two backings': ()}


def run(*args):
    """Run a command that must work."""
    status = subprocess.run([str(arg) for arg in args], check=False,
                            cwd=TOP).returncode
    if status:
        sys.exit(f'error: {args[0]} failed with status {status}')


def compile_static(program, *sources, flags=('-static',)):
    """Compile a program for the lab; return its path."""
    OUT.mkdir(parents=True, exist_ok=True)
    run('gcc', '-O2', '-Wall', *flags, '-Itests/kernel', '-o', OUT / program,
        *sources)
    return OUT / program


def compile_plugin(name, *options):
    """Compile a plugin for the emulator; return lab/run's options for it."""
    OUT.mkdir(parents=True, exist_ok=True)
    flags = subprocess.run(['pkg-config', '--cflags', 'glib-2.0'], check=True,
                           stdout=subprocess.PIPE, text=True).stdout.split()
    plugin = OUT / f'{name}.so'
    run('gcc', '-O2', '-Wall', '-shared', '-fPIC',
        '-Ibuild/tree/include/qemu', *flags, '-o', plugin, f'bench/{name}.c')
    words = ','.join([str(plugin), *options])
    return '--qemu-arg=-plugin', f'--qemu-arg={words}'


def in_lab(options, *command):
    """Run a command in the lab; return what it wrote to its last argument."""
    result = OUT / 'result'
    result.unlink(missing_ok=True)
    run('lab/run', '--timeout', 3000, '--out', OUT, *options, *command, result)
    return result.read_text('utf-8')


def keep(name, text):
    """Write figures to where they are kept."""
    KEPT.mkdir(exist_ok=True)
    (KEPT / name).write_text(text + '\n', 'utf-8')


def size(kib):
    """Return a size as people write it."""
    return f'{kib >> 10} MiB' if kib >= 1024 else f'{kib} KiB'
