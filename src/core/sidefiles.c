/* SPDX-License-Identifier: Apache-2.0 */
/* The files beside the archive, in Velero's names and forms, and velero-backup.json, whose
 * appearance makes the backup one. */
#include "core/backup.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"

enum { MAX_SIDE_FILE = 512 * 1024 * 1024, MAX_METADATA = 64 * 1024 * 1024 };

vmb_code vmbi_backup_file(const char *backup, const char *suffix, vmbi_buf *out, vmb_error **err)
{
    const char *mark = strstr(suffix, "%s");
    vmbi_buf_reset(out);
    vmbi_buf_addf(out, "backups/%s/", backup);
    if (mark != NULL) {
        vmbi_buf_add(out, suffix, (size_t)(mark - suffix));
        vmbi_buf_adds(out, backup);
        suffix = mark + 2;
    }
    vmbi_buf_adds(out, suffix);
    return vmbi_buf_check(out, err, "store key");
}

/* Stores bytes under a file name of the backup and tells about it. */
static vmb_code put_file(vmbi_backup *b, const char *suffix, const void *data, size_t len,
                         uint32_t flags, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmb_code rc = vmbi_backup_file(b->name, suffix, &path, err);
    if (rc == VMB_OK) {
        rc = vmbi_store_put(&b->store, &b->job, path.data, data, len, flags, err);
    }
    if (rc == VMB_OK) {
        vmbi_events_emit(b->events, VMB_EVENT_STORED, VMB_LOG_INFO, path.data, "", (int64_t)len,
                         -1);
    }
    vmbi_buf_free(&path);
    return rc;
}

/* Compact JSON text with Go's final newline, compressed. */
static vmb_code put_gz_text(vmbi_backup *b, const char *suffix, vmbi_buf *text, vmb_error **err)
{
    vmbi_buf packed = VMBI_BUF_INIT(MAX_SIDE_FILE);
    vmbi_buf_addc(text, '\n');
    vmb_code rc = vmbi_buf_check(text, err, suffix);
    if (rc == VMB_OK) {
        rc = vmbi_gzip_buf(text->data, text->len, &packed, err);
    }
    if (rc == VMB_OK) {
        rc = put_file(b, suffix, packed.data, packed.len, 0, err);
    }
    vmbi_buf_free(&packed);
    return rc;
}

static vmb_code put_gz_json(vmbi_backup *b, const char *suffix, const vmbi_json *doc,
                            vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(MAX_SIDE_FILE);
    vmb_code rc = doc != NULL ? vmbi_json_print(doc, &text, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = put_gz_text(b, suffix, &text, err);
    }
    vmbi_buf_free(&text);
    return rc;
}

/* ---- volumes ------------------------------------------------------------------------------- */

/* An entry for a claim that was not snapshotted. */
static vmbi_json *skipped_info(const vmbi_volume *v)
{
    vmbi_json *e = vmbi_json_object();
    bool ok = e != NULL && vmbi_json_set_str(e, "pvcName", v->claim);
    ok = ok && vmbi_json_set_str(e, "pvcNamespace", v->ns);
    ok = ok && vmbi_json_set_str(e, "pvName", v->pv);
    ok = ok && vmbi_json_set_bool(e, "snapshotDataMoved", false);
    ok = ok && vmbi_json_set_bool(e, "preserveLocalSnapshot", false);
    ok = ok && vmbi_json_set_bool(e, "skipped", true);
    ok = ok && vmbi_json_set_str(e, "skippedReason", v->skip_reason);
    if (ok && v->pv_info != NULL) {
        ok = vmbi_json_set(e, "pvInfo", vmbi_json_ref(v->pv_info));
    }
    if (!ok) {
        vmbi_json_free(e);
        e = NULL;
    }
    return e;
}

static vmbi_json *volume_infos(const vmbi_backup *b)
{
    vmbi_json *list = vmbi_json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < b->n_volumes && ok; i++) {
        const vmbi_volume *v = b->volumes[i];
        if (v->info != NULL) {
            /* what the run knows better than the provider */
            if (vmbi_json_get(v->info, "pvInfo") == NULL && v->pv_info != NULL) {
                ok = vmbi_json_set(v->info, "pvInfo", vmbi_json_ref(v->pv_info));
            }
            ok = ok && vmbi_json_append(list, vmbi_json_ref(v->info));
        } else if (v->skip_reason != NULL && v->pv[0] != '\0') {
            ok = vmbi_json_append(list, skipped_info(v));
        }
    }
    for (size_t i = 0; i < b->n_pod_volumes && ok; i++) {
        if (b->pod_volumes[i]->state != VMBI_FS_REFUSED) {
            ok = vmbi_json_append(list, vmbi_pod_volume_info(b->pod_volumes[i]));
        }
    }
    if (!ok) {
        vmbi_json_free(list);
        list = NULL;
    }
    return list;
}

static vmbi_json *operations(const vmbi_backup *b)
{
    vmbi_json *list = vmbi_json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < b->n_volumes && ok; i++) {
        if (b->volumes[i]->operation != NULL) {
            ok = vmbi_json_append(list, vmbi_json_ref(b->volumes[i]->operation));
        }
    }
    if (!ok) {
        vmbi_json_free(list);
        list = NULL;
    }
    return list;
}

/* ---- all files ----------------------------------------------------------------------------- */

static vmb_code put_resource_list(vmbi_backup *b, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(MAX_SIDE_FILE);
    vmb_code rc = vmbi_archive_resource_list(&b->archive, &text, err);
    if (rc == VMB_OK) {
        rc = put_gz_text(b, "%s-resource-list.json.gz", &text, err);
    }
    vmbi_buf_free(&text);
    return rc;
}

/* Takes doc over. */
static vmb_code put_and_free(vmbi_backup *b, const char *suffix, vmbi_json *doc, vmb_error **err)
{
    vmb_code rc = put_gz_json(b, suffix, doc, err);
    vmbi_json_free(doc);
    return rc;
}

vmb_code vmbi_sidefiles_put(vmbi_backup *b, vmb_error **err)
{
    vmb_code rc = put_resource_list(b, err);
    if (rc == VMB_OK) {
        rc = put_and_free(b, "%s-volumeinfo.json.gz", volume_infos(b), err);
    }
    if (rc == VMB_OK) {
        rc = put_and_free(b, "%s-itemoperations.json.gz", operations(b), err);
    }
    if (rc == VMB_OK) {
        rc = put_and_free(b, "%s-podvolumebackups.json.gz", vmbi_pod_volume_records(b), err);
    }
    if (rc == VMB_OK) {
        rc = put_and_free(b, "%s-volumesnapshots.json.gz", vmbi_json_null(), err);
    }
    if (rc == VMB_OK) {
        rc = put_gz_json(b, "%s-results.gz", b->log.results, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_runlog_finish(&b->log, err);
    }
    if (rc == VMB_OK) {
        rc = put_file(b, "%s-logs.gz", b->log.packed.data, b->log.packed.len, 0, err);
    }
    return rc;
}

static vmb_code print_metadata(const vmbi_backup *b, vmbi_buf *text, vmb_error **err)
{
    static const char *const first[] = {"kind", "apiVersion", "metadata", "spec", "status", NULL};
    return vmbi_json_print_indent(b->resource, first, text, err);
}

vmb_code vmbi_metadata_put(vmbi_backup *b, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(MAX_METADATA);
    vmb_code rc = print_metadata(b, &text, err);
    if (rc == VMB_OK) {
        rc = put_file(b, "velero-backup.json", text.data, text.len, VMB_PUT_IF_ABSENT, err);
    }
    vmbi_buf_free(&text);
    return rc;
}

enum { CLEAN_UP_SECONDS = 10 };

/* Looking and cleaning up happen also after cancellation. */
static vmb_job own_job(const vmbi_backup *b)
{
    vmb_job job = b->job;
    job.limits = vmbi_limits_within(NULL, CLEAN_UP_SECONDS * VMBI_SECOND);
    return job;
}

vmbi_metadata_state vmbi_metadata_look(vmbi_backup *b)
{
    vmb_job job = own_job(b);
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_buf text = VMBI_BUF_INIT(MAX_METADATA);
    vmbi_buf ours = VMBI_BUF_INIT(MAX_METADATA);
    vmbi_metadata_state state = VMBI_METADATA_UNKNOWN;
    vmb_code rc = vmbi_backup_file(b->name, "velero-backup.json", &path, NULL);
    if (rc == VMB_OK) {
        rc = print_metadata(b, &ours, NULL);
    }
    if (rc == VMB_OK) {
        rc = vmbi_store_get(&b->store, &job, path.data, &text, NULL);
    }
    if (rc == VMB_E_NOT_FOUND) {
        state = VMBI_METADATA_ABSENT;
    } else if (rc == VMB_OK) {
        state = text.len == ours.len && text.len > 0 && memcmp(text.data, ours.data, text.len) == 0
                    ? VMBI_METADATA_OURS
                    : VMBI_METADATA_OTHERS;
    }
    vmbi_buf_free(&path);
    vmbi_buf_free(&text);
    vmbi_buf_free(&ours);
    return state;
}

bool vmbi_metadata_remove(vmbi_backup *b)
{
    vmb_job job = own_job(b);
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmb_code rc = vmbi_backup_file(b->name, "velero-backup.json", &path, NULL);
    if (rc == VMB_OK) {
        rc = vmbi_store_remove(&b->store, &job, path.data, NULL);
    }
    vmbi_buf_free(&path);
    return rc == VMB_OK;
}

void vmbi_sidefiles_remove(vmbi_backup *b)
{
    static const char *const files[] = {
        "%s.tar.gz",
        "%s-resource-list.json.gz",
        "%s-volumeinfo.json.gz",
        "%s-itemoperations.json.gz",
        "%s-podvolumebackups.json.gz",
        "%s-volumesnapshots.json.gz",
        "%s-results.gz",
        "%s-logs.gz",
    };
    vmb_job job = own_job(b);
    vmbi_buf path = VMBI_BUF_INIT(1024);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(files); i++) {
        if (vmbi_backup_file(b->name, files[i], &path, NULL) != VMB_OK ||
            vmbi_store_remove(&b->store, &job, path.data, NULL) != VMB_OK) {
            break; /* an unreachable store answers the next one no better */
        }
    }
    vmbi_buf_free(&path);
}
