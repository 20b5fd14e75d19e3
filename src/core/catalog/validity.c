/* SPDX-License-Identifier: Apache-2.0 */
/* Is a location one that Velero accepts? */
#include "core/catalog.h"

#include <string.h>

#include "base/error.h"
#include "base/job.h"
#include "base/strs.h"

static vmb_code note_top(void *user, const char *key, int64_t size, int64_t mtime,
                         int32_t is_prefix, vmb_error **err)
{
    static const char *const known[] = {"backups/", "restores/", "restic/",
                                        "metadata/", "plugins/",  "kopia/"};
    vmbi_strs *unknown = user;
    (void)size;
    (void)mtime;
    if (!is_prefix || unknown->n >= 3) {
        return VMB_OK;
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(known); i++) {
        if (strcmp(key, known[i]) == 0) {
            return VMB_OK;
        }
    }
    size_t len = strlen(key);
    return vmbi_strs_addn(unknown, key, len > 0 ? len - 1 : 0, err);
}

vmb_code vmbi_location_validate(const vmb_ctx *ctx, const vmbi_store_location *location,
                                const vmbi_cancel *cancel, vmb_error **err)
{
    vmbi_store store = {location, ctx->settings.resource_timeout_ns};
    vmbi_strs unknown = {0};
    struct vmb_key_sink sink = {note_top, &unknown};
    vmb_job job = {0};
    job.limits.cancel = cancel;
    job.limits = vmbi_limits_within(&job.limits, store.timeout_ns);
    vmb_code rc = vmbi_store_list(&store, &job, "", "/", &sink, err);
    if (rc == VMB_OK && unknown.n > 0) {
        vmbi_buf names = VMBI_BUF_INIT(4096);
        for (size_t i = 0; i < unknown.n; i++) {
            vmbi_buf_addf(&names, "%s%s", i > 0 ? " " : "", unknown.v[i]);
        }
        rc = vmbi_fail(err, VMB_E_INVALID,
                       "Backup store contains invalid top-level directories: [%s]",
                       names.data != NULL ? names.data : "");
        vmbi_buf_free(&names);
    }
    vmbi_strs_free(&unknown);
    return rc;
}
