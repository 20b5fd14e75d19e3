/* SPDX-License-Identifier: Apache-2.0 */
/* A note in the store that a restore has begun and not ended. A run that finds the note of the same
 * restore (name, spec, backup) continues it: what was made since then counts as made, whatever the
 * cluster's controllers have done with it meanwhile. The note goes when a restore has come to its
 * end, so that a restore that is simply done twice is told of differences as ever. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "core/restore/restore.h"

enum { MAX_NOTE = 8 * 1024 * 1024, MAX_UID = 128 };

/* The server's clock makes creation times, ours the start. */
#define SKEW_NS (INT64_C(300) * VMBI_SECOND)

static const char note_name[] = "vmbackup-unfinished.json";
static const char *const stage_names[] = {"objects", "volumes", "hooks"};

static vmb_code note_path(const vmbi_restore *r, vmbi_buf *path, vmb_error **err)
{
    vmbi_buf_addf(path, "restores/%s/%s", r->name, note_name);
    return vmbi_buf_check(path, err, "store key");
}

static const char *backup_uid(const vmbi_restore *r)
{
    const char *uid = vmbi_json_path_str(r->backup, "metadata.uid");
    return uid != NULL ? uid : "";
}

/* ---- writing ------------------------------------------------------------------------------- */

static vmb_code put_note(vmbi_restore *r, vmbi_restore_stage stage, vmb_error **err)
{
    char since[VMBI_RFC3339_SIZE];
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_json *doc = vmbi_json_object();
    char *text = NULL;
    size_t len = 0;
    vmbi_format_rfc3339(r->since_unix_ns, since);
    stage = stage > r->stage ? stage : r->stage; /* what the former run may have done stays so */
    bool ok = doc != NULL && vmbi_json_set_str(doc, "uid", r->uid);
    ok = ok && vmbi_json_set_str(doc, "backupUid", backup_uid(r));
    ok = ok && vmbi_json_set_str(doc, "startTimestamp", since);
    ok = ok && vmbi_json_set_str(doc, "stage", stage_names[stage]);
    ok = ok && vmbi_json_set(doc, "spec", vmbi_json_ref(vmbi_json_get(r->resource, "spec")));
    vmb_code rc = ok ? vmbi_json_to_text(doc, &text, &len, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = note_path(r, &path, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_store_put(&r->store, &r->job, path.data, text, len, 0, err);
    }
    vmb_free(text);
    vmbi_json_free(doc);
    vmbi_buf_free(&path);
    return rc;
}

void vmbi_restore_enter(vmbi_restore *r, vmbi_restore_stage stage)
{
    const vmbi_json *work = stage == VMBI_RESTORE_VOLUMES ? r->volume_pods : r->hook_pods;
    vmb_error *why = NULL;
    if (stage == VMBI_RESTORE_HOOKS && r->passed_by > 0) {
        vmbi_restore_warn(
            r, NULL, NULL,
            "the interrupted run had begun with hooks: those of the %lld pods that it "
            "had made are not run again",
            (long long)r->passed_by);
    }
    if (!r->noted || vmbi_json_len(work) == 0) {
        return;
    }
    vmb_code rc = put_note(r, stage, &why);
    if (rc != VMB_OK && !vmbi_restore_is_over(r, rc, &why)) {
        vmbi_restore_info(r, NULL, "note in the store: %s", vmb_error_message(why));
    }
    vmb_error_free(why);
}

void vmbi_restore_end(vmbi_restore *r)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmb_error *why = NULL;
    if (r->noted && note_path(r, &path, &why) == VMB_OK &&
        vmbi_store_remove(&r->store, &r->job, path.data, &why) != VMB_OK &&
        r->ctx->log_fn != NULL) {
        r->ctx->log_fn(r->ctx->log_user, VMB_LOG_WARNING, vmb_error_message(why));
    }
    vmb_error_free(why);
    vmbi_buf_free(&path);
}

/* ---- reading ------------------------------------------------------------------------------- */

static vmbi_json *get_note(vmbi_restore *r)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_buf text = VMBI_BUF_INIT(MAX_NOTE);
    vmbi_json *doc = NULL;
    if (note_path(r, &path, NULL) == VMB_OK &&
        vmbi_store_get(&r->store, &r->job, path.data, &text, NULL) == VMB_OK && text.len > 0) {
        (void)vmbi_json_parse(text.data, text.len, note_name, &doc, NULL); /* no note, then */
    }
    vmbi_buf_free(&path);
    vmbi_buf_free(&text);
    return doc;
}

/* Is it the note of this very restore? */
static bool is_ours(const vmbi_restore *r, const vmbi_json *note, int64_t *since)
{
    const char *uid = vmbi_json_get_str(note, "uid");
    const char *start = vmbi_json_get_str(note, "startTimestamp");
    return uid != NULL && uid[0] != '\0' && strlen(uid) <= MAX_UID &&
           (r->own_uid || strcmp(uid, r->uid) == 0) &&
           vmbi_streq(vmbi_json_get_str(note, "backupUid"), backup_uid(r)) &&
           vmbi_json_get(note, "spec") != NULL &&
           vmbi_json_equal(vmbi_json_get(note, "spec"), r->spec) && start != NULL &&
           vmbi_parse_rfc3339(start, since);
}

static vmb_code take_up(vmbi_restore *r, const vmbi_json *note, vmb_error **err)
{
    const char *stage = vmbi_json_get_str(note, "stage");
    vmbi_json *meta = vmbi_json_get(r->resource, "metadata");
    if (!vmbi_json_set_str(meta, "uid", vmbi_json_get_str(note, "uid"))) {
        return vmbi_fail_nomem(err);
    }
    r->uid = vmbi_json_get_str(meta, "uid");
    r->resumed = true;
    r->noted = true;
    r->stage = VMBI_RESTORE_HOOKS; /* what it cannot tell counts as done */
    for (size_t i = 0; stage != NULL && i < VMBI_ARRAY_LEN(stage_names); i++) {
        if (strcmp(stage, stage_names[i]) == 0) {
            r->stage = (vmbi_restore_stage)i;
        }
    }
    vmbi_restore_info(r, NULL, "continues the restore that was interrupted (stage %s)",
                      stage_names[r->stage]);
    return VMB_OK;
}

vmb_code vmbi_restore_begin(vmbi_restore *r, vmb_error **err)
{
    vmb_error *why = NULL;
    r->since_unix_ns = r->start_unix_ns;
    if (r->store.location->read_only) {
        return VMB_OK;
    }
    vmbi_json *note = get_note(r);
    int64_t since = 0;
    vmb_code rc = VMB_OK;
    if (note != NULL && is_ours(r, note, &since)) {
        r->since_unix_ns = since;
        rc = take_up(r, note, err);
    } else {
        rc = put_note(r, VMBI_RESTORE_OBJECTS, &why);
        r->noted = rc == VMB_OK;
        if (rc == VMB_E_NOMEM || rc == VMB_E_CANCELLED) {
            vmbi_error_move(err, &why);
        } else if (rc != VMB_OK) { /* files of the restore will not be stored either */
            vmbi_restore_info(r, NULL, "could not be continued after an interruption: %s",
                              vmb_error_message(why));
            rc = VMB_OK;
        }
    }
    vmb_error_free(why);
    vmbi_json_free(note);
    return rc;
}

/* ---- objects ------------------------------------------------------------------------------- */

bool vmbi_restore_has_made(vmbi_restore *r, const vmbi_ritem *item, const vmbi_json *live)
{
    const vmbi_json *labels = vmbi_json_path(live, "metadata.labels");
    const char *made = vmbi_json_path_str(live, "metadata.creationTimestamp");
    int64_t at = 0;
    bool yes = (item->lost || r->resumed) &&
               vmbi_streq(vmbi_json_get_str(labels, "velero.io/restore-name"), r->restore_label) &&
               vmbi_streq(vmbi_json_get_str(labels, "velero.io/backup-name"), r->backup_label) &&
               made != NULL && vmbi_parse_rfc3339(made, &at) && at >= r->since_unix_ns - SKEW_NS;
    if (yes) {
        vmbi_restore_info(r, item, "was made by this restore before");
    }
    return yes;
}

bool vmbi_restore_follows_up(vmbi_restore *r, bool resumed)
{
    if (!resumed || r->stage != VMBI_RESTORE_HOOKS) {
        return true;
    }
    (void)pthread_mutex_lock(&r->lock);
    r->passed_by++;
    (void)pthread_mutex_unlock(&r->lock);
    return false;
}
