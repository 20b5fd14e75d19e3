/* SPDX-License-Identifier: Apache-2.0 */
/* Private to blocks_file/: one opened file or block device. */
#ifndef VMBI_BLOCKS_FILE_FILE_H
#define VMBI_BLOCKS_FILE_FILE_H

#include <vmbackup/volume.h>

#include "base/compiler.h"

typedef struct vmbi_blocks_file {
    int fd;
    bool is_device;
    char *path; /* for messages */
} vmbi_blocks_file;

/* Pushes holes as zeros and the rest as data. */
vmb_code vmbi_blocks_file_extents(void *user, vmb_job *job, int64_t offset_bytes,
                                  int64_t length_bytes, const char *since, vmb_extent_sink *out,
                                  vmb_error **err);
/* Makes a range read as zeros, as cheaply as the file system or device can. */
vmb_code vmbi_blocks_file_zero(void *user, vmb_job *job, int64_t offset_bytes,
                               int64_t length_bytes, vmb_error **err);
vmb_code vmbi_blocks_file_write(const vmbi_blocks_file *f, const void *data, size_t len,
                                int64_t offset_bytes, vmb_error **err);

#endif
