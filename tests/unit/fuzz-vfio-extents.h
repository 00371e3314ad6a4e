/*
 * Fuzzing: extents of memory that devices have
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FUZZ_VFIO_EXTENTS_H
#define FUZZ_VFIO_EXTENTS_H

/**
 * LLVMFuzzerTestOneInput: try what an input says
 * @data: any bytes
 * @size: how many
 *
 * The name is that which libFuzzer calls.  An error ends the process.
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
