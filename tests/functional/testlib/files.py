"""Make files that go away by themselves.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import tempfile


def file_with(content):
    """Return a file with this in it, which lives as long as the object."""
    file = tempfile.NamedTemporaryFile()
    file.write(content)
    file.flush()
    return file
