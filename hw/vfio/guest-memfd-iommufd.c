/*
 * Unmapping of parts from iommufd
 *
 * iommufd takes back what was mapped by one call, as a whole. Only its calls
 * that are compatible with type1 take back parts, if the IOMMU's tables have no
 * huge pages. Devices can use the rest meanwhile.
 *
 * See IOMMU_OPTION_HUGE_PAGES and IOMMU_VFIO_IOAS in <linux/iommufd.h>.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include "qemu/lockable.h"
#include "hw/boards.h"
#include "system/iommufd.h"
#include "guest-memfd.h"

bool vfio_guest_memfd_allow_cuts(IOMMUFDBackend *be, uint32_t ioas_id)
{
    struct iommu_option option = {
        .size = sizeof(option),
        .option_id = IOMMU_OPTION_HUGE_PAGES,
        .op = IOMMU_OPTION_OP_SET,
        .object_id = ioas_id,
    };

    return machine_require_guest_memfd(current_machine) &&
           !ioctl(be->fd, IOMMU_OPTION, &option);
}

/* What the second call is about is what the first said last, of any thread. */
static QemuMutex compat_mutex;

static void __attribute__((__constructor__)) compat_init(void)
{
    qemu_mutex_init(&compat_mutex);
}

int vfio_guest_memfd_cut(IOMMUFDBackend *be, uint32_t ioas_id, uint64_t iova,
                         uint64_t size)
{
    struct iommu_vfio_ioas ioas = {
        .size = sizeof(ioas), .ioas_id = ioas_id, .op = IOMMU_VFIO_IOAS_SET,
    };
    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof(unmap), .iova = iova, .size = size,
    };

    QEMU_LOCK_GUARD(&compat_mutex);
    if (ioctl(be->fd, IOMMU_VFIO_IOAS, &ioas) ||
        ioctl(be->fd, VFIO_IOMMU_UNMAP_DMA, &unmap)) {
        return -errno;
    }
    return 0;
}
