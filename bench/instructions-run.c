/*
 * Print how many instructions the emulator ran; 0 without its plugin.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdio.h>

#include "instructions.h"

int main(void)
{
    printf("%" PRIu64 "\n", instructions_run());
    return 0;
}
