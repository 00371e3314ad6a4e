/*
 * Library for programs in the lab that are not C: see instructions.h
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "instructions.h"

uint64_t ask_instructions_run(void)
{
    return instructions_run();
}

uint64_t ask_longest_hold(void)
{
    return longest_hold();
}
