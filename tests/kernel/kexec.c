/*
 * Start another kernel in the place of this one, at once or when this one
 * crashes
 *
 * usage: kexec now|crash KERNEL INITRD COMMAND-LINE
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <err.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_file(const char *path)
{
    int fd = open(path, O_RDONLY);

    if (fd < 0) {
        err(1, "cannot open %s", path);
    }
    return fd;
}

int main(int argc, char **argv)
{
    bool now = argc == 5 && !strcmp(argv[1], "now");

    if (argc != 5 || !(now || !strcmp(argv[1], "crash"))) {
        errx(1, "usage: kexec now|crash KERNEL INITRD COMMAND-LINE");
    }
    if (syscall(SYS_kexec_file_load, open_file(argv[2]), open_file(argv[3]),
                strlen(argv[4]) + 1, argv[4],
                now ? 0 : KEXEC_FILE_ON_CRASH)) {
        err(1, "cannot load %s", argv[2]);
    }
    if (now) {
        syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
                LINUX_REBOOT_CMD_KEXEC, NULL);
        err(1, "cannot start %s", argv[2]);
    }
    return 0;
}
