"""Serve files to guests, and take files from them, by HTTP.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import subprocess
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

# as guests see the host's own addresses through QEMU's user network
HOST = '10.0.2.2'


class Handler(SimpleHTTPRequestHandler):
    """Serves a directory, into which it puts what guests post."""

    def do_POST(self):
        """Take a file."""
        data = self.rfile.read(int(self.headers['Content-Length']))
        Path(self.translate_path(self.path)).write_bytes(data)
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def served(directory):
    """Serve a directory to guests; yield the address."""
    server = ThreadingHTTPServer(('127.0.0.1', 0),
                                 partial(Handler, directory=directory))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://{HOST}:{server.server_port}'
    finally:
        server.shutdown()


def package(directory, name):
    """Make a Debian package and an index, for apt."""
    root = directory / name
    for path, text in (
            ('DEBIAN/control', f'Package: {name}\nVersion: 1\n'
             'Architecture: all\nMaintainer: nobody <nobody@localhost>\n'
             'Description: a package\n'),
            (f'usr/bin/{name}', '#!/bin/sh\necho installed\n')):
        file = root / path
        file.parent.mkdir(parents=True)
        file.write_text(text, 'utf-8')
        file.chmod(0o755)
    subprocess.run(['dpkg-deb', '--root-owner-group', '--build', root,
                    directory], check=True, stdout=subprocess.DEVNULL)
    with (directory / 'Packages').open('wb') as index:
        subprocess.run(['dpkg-scanpackages', '.'], cwd=directory, check=True,
                       stdout=index, stderr=subprocess.DEVNULL)
