/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of an opened disk, for its own files and for tests. */
#ifndef VMBI_REPO_DISK_READ_H
#define VMBI_REPO_DISK_READ_H

#include "repo/disk/cache.h"
#include "repo/disk/disk.h"
#include "repo/disk/layout.h"

struct vmbi_disk {
    vmbi_disk_layout layout;
    vmbi_disk_cache *cache;
    vmb_job *job;
};

#endif
