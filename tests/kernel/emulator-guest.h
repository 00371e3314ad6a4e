/*
 * Code for nested guests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef EMULATOR_GUEST_H
#define EMULATOR_GUEST_H

/* What each does stands in emulator-guest.c. */
extern const char emu_start[], emu_move[], emu_cpuid[], emu_msr[],
                  emu_vmmcall[], emu_mmio[], emu_cr[], emu_dr[], emu_int[],
                  emu_int_end[], emu_int3[], emu_int3_end[], emu_cr8[],
                  emu_cr8_end[], emu_notify[], emu_return[], emu_injected[],
                  emu_once[], emu_handler[], emu_end[];

#endif
