/* SPDX-License-Identifier: Apache-2.0 */
/* Disks as blocks, and what providers of volumes call back. */
#include <vmbackup/volume.h>

#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "base/job.h"
#include "providers/builtin.h"

/* The table as it was in the first release: no more is written into the caller's memory, whose
 * header may be that old. */
#define FIRST_SIZE (offsetof(vmb_blocks_provider, flush) + sizeof(void (*)(void)))

vmb_code vmb_blocks_open_file(const char *path, int32_t write, vmb_blocks_provider *out,
                              vmb_error **err)
{
    vmb_blocks_provider table;
    if (path == NULL || path[0] == '\0' || out == NULL || (write != 0 && write != 1)) {
        return vmbi_fail(err, VMB_E_ARG,
                         "vmb_blocks_open_file: path or out is missing, or write is not 0 or 1");
    }
    vmb_code rc = vmbi_blocks_file_new(path, write == 1, &table, err);
    if (rc == VMB_OK) {
        table.struct_size = FIRST_SIZE;
        memcpy(out, &table, FIRST_SIZE);
    }
    return rc;
}

vmb_code vmb_extent_sink_push(vmb_extent_sink *sink, int64_t offset_bytes, int64_t length_bytes,
                              int32_t kind, vmb_error **err)
{
    int64_t end = 0;
    if (sink == NULL || offset_bytes < 0 || length_bytes <= 0 ||
        __builtin_add_overflow(offset_bytes, length_bytes, &end) ||
        (kind != VMB_EXTENT_DATA && kind != VMB_EXTENT_ZERO && kind != VMB_EXTENT_UNCHANGED)) {
        return vmbi_fail(err, VMB_E_ARG,
                         "vmb_extent_sink_push: sink, offset_bytes, length_bytes or kind is wrong");
    }
    return sink->push(sink->user, offset_bytes, length_bytes, kind, err);
}

const vmb_store_provider *vmb_job_store(const vmb_job *job, const char **prefix)
{
    if (prefix != NULL) {
        *prefix = job != NULL && job->store != NULL && job->store_prefix != NULL
                      ? job->store_prefix
                      : "";
    }
    return job != NULL ? job->store : NULL;
}

void vmb_progress_update(vmb_progress *progress, int64_t done_bytes, int64_t total_bytes)
{
    if (progress != NULL && progress->update != NULL && done_bytes >= 0 && total_bytes >= -1) {
        progress->update(progress->user, done_bytes, total_bytes);
    }
}
