/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of one backup in a store: a location with its prefix, and whole-object helpers. */
#ifndef VMBI_CORE_STORE_H
#define VMBI_CORE_STORE_H

#include "base/buf.h"
#include "core/context.h"

typedef struct vmbi_store {
    const vmbi_store_location *location;
    int64_t timeout_ns; /* of single small operations */
} vmbi_store;

/* "<prefix>/<path>" into out (reset first). */
vmb_code vmbi_store_key(const vmbi_store *s, const char *path, vmbi_buf *out, vmb_error **err);
/* path is below the prefix in all of these. */
vmb_code vmbi_store_put(const vmbi_store *s, vmb_job *job, const char *path, const void *data,
                        size_t len, uint32_t flags, vmb_error **err);
vmb_code vmbi_store_get(const vmbi_store *s, vmb_job *job, const char *path, vmbi_buf *out,
                        vmb_error **err);
/* *size (may be NULL): of the object when it exists. */
vmb_code vmbi_store_exists(const vmbi_store *s, vmb_job *job, const char *path, bool *yes,
                           int64_t *size, vmb_error **err);
vmb_code vmbi_store_remove(const vmbi_store *s, vmb_job *job, const char *path, vmb_error **err);
/* Lists below "<prefix>/<path>"; keys are given without the location's prefix. */
vmb_code vmbi_store_list(const vmbi_store *s, vmb_job *job, const char *path,
                         const char *delimiter, vmb_key_sink *out, vmb_error **err);

/* A streamed object. */
typedef struct vmbi_put {
    const vmb_store_provider *provider;
    vmb_job *job;
    void *op; /* NULL: not open */
    int64_t bytes;
} vmbi_put;
vmb_code vmbi_put_begin(vmbi_put *p, const vmbi_store *s, vmb_job *job, const char *path,
                        uint32_t flags, vmb_error **err);
vmb_code vmbi_put_write(void *put, const void *data, size_t len, vmb_error **err);
vmb_code vmbi_put_commit(vmbi_put *p, vmb_error **err);
void vmbi_put_abort(vmbi_put *p); /* does nothing when not open */

#endif
