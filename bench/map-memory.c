/*
 * Map memory for a device by one call, and count the instructions
 *
 * usage: map-memory type1|iommufd DEVICE
 *
 * The memory is huge pages of 2 MiB, of hugetlbfs, which were written to, and
 * as much as the guest tests/guest/timed.c converts at once.
 * DEVICE is a PCI device's address, and is VFIO's.  Prints what each of some
 * rounds took to map and to unmap it.
 *
 * See <linux/vfio.h> and <linux/iommufd.h>.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "instructions.h"

#define MIB     (1ul << 20)
/* Where a guest has memory above the hole of a PC */
#define IOVA    (4096 * MIB)
#define SIZE    (64 * MIB)

enum { ROUNDS = 5 };

static bool by_iommufd;
static int container;           /* or iommufd */
static uint32_t ioas;

static int must(int ret, const char *what)
{
    if (ret < 0) {
        err(1, "%s", what);
    }
    return ret;
}

static void open_type1(const char *device)
{
    char path[PATH_MAX], link[PATH_MAX] = "";
    int group;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", device);
    must(readlink(path, link, sizeof(link) - 1), path);
    snprintf(path, sizeof(path), "/dev/vfio/%s", basename(link));
    group = must(open(path, O_RDWR), path);
    container = must(open("/dev/vfio/vfio", O_RDWR), "/dev/vfio/vfio");
    must(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "SET_CONTAINER");
    must(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "SET_IOMMU");
}

/* Finds the character device of a PCI device. */
static int open_cdev(const char *device)
{
    char path[PATH_MAX];
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", device);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
        return must(open(path, O_RDWR), path);
    }
    errx(1, "%s: no character device", path);
}

static void open_iommufd(const char *device)
{
    struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
    struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
    struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
    int cdev = open_cdev(device);

    container = must(open("/dev/iommu", O_RDWR), "/dev/iommu");
    bind.iommufd = container;
    must(ioctl(cdev, VFIO_DEVICE_BIND_IOMMUFD, &bind), "BIND_IOMMUFD");
    must(ioctl(container, IOMMU_IOAS_ALLOC, &alloc), "IOAS_ALLOC");
    ioas = attach.pt_id = alloc.out_ioas_id;
    must(ioctl(cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach), "ATTACH");
}

static int map_by_type1(char *memory)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map), .vaddr = (uintptr_t)memory, .iova = IOVA,
        .size = SIZE, .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
    };

    return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

static int unmap_by_type1(void)
{
    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof(unmap), .iova = IOVA, .size = SIZE,
    };

    return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

static int map_by_iommufd(char *memory)
{
    struct iommu_ioas_map map = {
        .size = sizeof(map), .ioas_id = ioas, .user_va = (uintptr_t)memory,
        .iova = IOVA, .length = SIZE,
        .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
                 IOMMU_IOAS_MAP_WRITEABLE,
    };

    return ioctl(container, IOMMU_IOAS_MAP, &map);
}

static int unmap_by_iommufd(void)
{
    struct iommu_ioas_unmap unmap = {
        .size = sizeof(unmap), .ioas_id = ioas, .iova = IOVA, .length = SIZE,
    };

    return ioctl(container, IOMMU_IOAS_UNMAP, &unmap);
}

static void measure(char *memory)
{
    uint64_t before = instructions_run(), between;

    must(by_iommufd ? map_by_iommufd(memory) : map_by_type1(memory), "mapping");
    between = instructions_run();
    must(by_iommufd ? unmap_by_iommufd() : unmap_by_type1(), "unmapping");
    printf("%lu %lu\n", between - before, instructions_run() - between);
}

int main(int argc, char **argv)
{
    char *memory;

    if (argc != 3) {
        errx(1, "usage: map-memory type1|iommufd DEVICE");
    }
    by_iommufd = !strcmp(argv[1], "iommufd");
    memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED |
                  MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) {
        err(1, "%zu MiB of huge pages", SIZE / MIB);
    }
    (by_iommufd ? open_iommufd : open_type1)(argv[2]);
    for (int i = 0; i < ROUNDS; i++) {
        measure(memory);
    }
    return 0;
}
