"""What the lab scenarios share.

SPDX-License-Identifier: GPL-2.0-or-later
"""
