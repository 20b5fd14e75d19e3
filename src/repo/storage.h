/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files of a repository in a store, below its prefix. Any thread. */
#ifndef VMBI_REPO_STORAGE_H
#define VMBI_REPO_STORAGE_H

#include <pthread.h>

#include <vmbackup/provider.h>

#include "base/buf.h"
#include "base/compiler.h"

typedef struct vmbi_storage {
    const vmb_store_provider *store; /* borrowed */
    vmb_job *job;                    /* borrowed */
    char *prefix;                    /* owned; "" or ends in '/' */
    pthread_mutex_t serial;          /* held around calls of a VMB_PROVIDER_SERIAL store */
} vmbi_storage;

vmb_code vmbi_storage_init(vmbi_storage *s, const vmb_store_provider *store, vmb_job *job,
                           const char *prefix, vmb_error **err);
void vmbi_storage_done(vmbi_storage *s);

/* VMB_PUT_IF_ABSENT in flags as in the vtable. job NULL: the storage's own. */
vmb_code vmbi_storage_put(vmbi_storage *s, vmb_job *job, const char *path, const void *data,
                          size_t len, uint32_t flags, vmb_error **err);
/* Appends a whole file to out; its ceiling gives VMB_E_LIMIT. */
vmb_code vmbi_storage_get(vmbi_storage *s, const char *path, vmbi_buf *out, vmb_error **err);
/* Exactly len bytes from offset; fewer: VMB_E_INVALID. */
vmb_code vmbi_storage_read(vmbi_storage *s, const char *path, uint64_t offset, void *out,
                           size_t len, vmb_error **err);
vmb_code vmbi_storage_exists(vmbi_storage *s, vmb_job *job, const char *path, bool *yes,
                             vmb_error **err);
vmb_code vmbi_storage_remove(vmbi_storage *s, vmb_job *job, const char *path, vmb_error **err);

/* Files below the folder `path` ("keys/"), at any depth: name is the part behind the last '/'. */
typedef vmb_code (*vmbi_storage_list_fn)(void *user, const char *path, const char *name,
                                         int64_t size_bytes, vmb_error **err);
vmb_code vmbi_storage_list(vmbi_storage *s, const char *path, vmbi_storage_list_fn fn, void *user,
                           vmb_error **err);

#endif
