/*
 * The entry point of an ELF kernel for PVH
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_PVH_NOTE_H
#define HW_I386_PVH_NOTE_H

/**
 * pvh_find_entry() - find the note that names the entry point for PVH
 * @notes: what a segment of notes has, of a file for x86 of 32 or 64 bits
 * @size: of @notes, in bytes
 *
 * Return: the entry point's guest-physical address, or 0 if no note names it.
 */
uint32_t pvh_find_entry(const void *notes, uint64_t size);

#endif
