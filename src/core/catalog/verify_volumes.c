/* SPDX-License-Identifier: Apache-2.0 */
/* The deep look: volume providers read what repositories hold of the backup. */
#include "core/catalog/verify.h"

#include "base/alloc.h"
#include "base/error.h"

static void no_progress(void *user, int64_t done, int64_t total)
{
    (void)user;
    (void)done;
    (void)total;
}

/* Asks one provider after the other until one knows the snapshot. */
static vmb_code ask(vmbi_verify *v, vmb_job *job, const char *text, size_t len, bool *asked,
                    vmb_error **err)
{
    vmb_ctx *ctx = v->cat->ctx;
    vmb_progress progress = {no_progress, NULL};
    *asked = false;
    for (size_t i = 0; i < ctx->n_volumes; i++) {
        const vmb_volume_provider *p = &ctx->volumes[i];
        vmb_error *why = NULL;
        if (p->verify == NULL) {
            continue;
        }
        vmb_code rc = p->verify(p->user, job, text, len, &progress, &why);
        rc = vmbi_check_provider(&why, rc, "verify a volume");
        if (rc == VMB_E_UNSUPPORTED) {
            vmb_error_free(why);
            continue; /* another provider's */
        }
        *asked = true;
        vmbi_error_move(err, &why);
        return rc;
    }
    return VMB_OK;
}

static vmb_code check_volume(vmbi_verify *v, vmb_job *job, const vmbi_json *volume,
                             vmb_error **err)
{
    const char *id = vmbi_json_get_str(volume, "snapshotID");
    char *text = NULL;
    size_t len = 0;
    bool asked = false;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_json_to_text(volume, &text, &len, err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = ask(v, job, text, len, &asked, &why);
    if (rc == VMB_E_CANCELLED || rc == VMB_E_NOMEM) {
        vmbi_error_move(err, &why);
    } else if (rc != VMB_OK) {
        vmbi_verify_note(v, true, "volumes", "snapshot %s: %s", id, vmb_error_message(why));
        rc = VMB_OK;
    } else if (!asked) {
        vmbi_verify_note(v, true, "volumes",
                         "snapshot %s: could not be looked at: no volume provider can read it", id);
    } else {
        v->volumes++;
    }
    vmb_error_free(why);
    vmb_free(text);
    return rc;
}

vmb_code vmbi_verify_volumes(vmbi_verify *v, vmb_error **err)
{
    vmbi_backup_data data = {0};
    vmb_error *why = NULL;
    vmb_job job = vmbi_catalog_job(v->cat);
    vmb_code rc = vmbi_backup_data_read(v->cat, v->backup, &data, &why);
    rc = vmbi_verify_take(v, "volumes", rc, &why, err);
    job.backup_name = v->backup;
    for (size_t i = 0; i < vmbi_json_len(data.volumes) && rc == VMB_OK; i++) {
        rc = check_volume(v, &job, vmbi_json_at(data.volumes, i), err);
    }
    vmbi_backup_data_free(&data);
    return rc;
}
