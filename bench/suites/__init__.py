"""The suites of scripts/bench, a module each.

SPDX-License-Identifier: GPL-2.0-or-later
"""
