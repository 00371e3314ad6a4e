/*
 * Guest memory that other processes map by its file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_RAM_BY_FD_H
#define SYSTEM_RAM_BY_FD_H

/**
 * ram_by_fd_check: whether another process can be given the guest's memory
 * @what: kind of what would give it, for the error
 * @id: name that the user gave to that, or NULL
 * @errp: pointer to an error
 *
 * Where memory is converted in place, a process that has mapped its file gets
 * a SIGBUS when it accesses private memory, and the guest decides what it
 * accesses.  QEMU survives that, others don't; and no protocol tells them which
 * memory is shared, but that of vfio-user, by which what becomes private cannot
 * be unmapped unless it is in the pieces in which it was mapped.
 *
 * Context: any thread, once the accelerator is set up.
 *
 * Return: true if so.
 */
bool ram_by_fd_check(const char *what, const char *id, Error **errp);

#endif
