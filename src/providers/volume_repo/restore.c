/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing a volume back into the place of a pod's volume, and forgetting what was saved. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "providers/builtin.h"
#include "providers/common/objects.h"
#include "providers/volume_repo/volume_repo.h"
#include "repo/disk/disk.h"
#include "repo/tree/restore.h"

enum { MAX_TOLD = 20 };

static const char *first_text(const vmbi_json *doc, const char *const *paths, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *s = vmbi_json_path_str(doc, paths[i]);
        if (s != NULL && s[0] != '\0') {
            return s;
        }
    }
    return "";
}

vmb_code vmbi_volrepo_read_saved(const char *text, size_t len, vmbi_volrepo_saved *out,
                                 vmb_error **err)
{
    static const char *const ids[] = {"snapshotID", "status.snapshotID", "spec.snapshotID"};
    static const char *const places[] = {"namespace", "spec.sourceNamespace", "spec.tags.ns",
                                         "spec.pod.namespace"};
    static const char *const types[] = {"uploaderType", "spec.uploaderType"};
    vmb_code code = vmbi_json_parse(text, len, "snapshot", &out->doc, err);
    if (code != VMB_OK) {
        return code;
    }
    const char *type = first_text(out->doc, types, VMBI_ARRAY_LEN(types));
    out->id = first_text(out->doc, ids, VMBI_ARRAY_LEN(ids));
    out->ns = first_text(out->doc, places, VMBI_ARRAY_LEN(places));
    if (out->ns[0] == '\0') {
        return vmbi_fail(err, VMB_E_ARG, "snapshot: it does not tell its namespace");
    }
    /* Velero up to 1.18 means restic when it says nothing */
    return type[0] == '\0' || strcmp(type, "restic") == 0
               ? VMB_OK
               : vmbi_fail(err, VMB_E_UNSUPPORTED, "snapshot: %.40s repositories are not read",
                           type);
}

/* ---- restore ---------------------------------------------------------------------------------------- */

typedef struct restore_call {
    vmb_job *job;
    vmb_progress *progress;
    vmbi_volrepo_session session;
    uint64_t warnings;
} restore_call;

static void tree_progress(void *user, const vmbi_restore_stats *so_far)
{
    restore_call *c = user;
    vmb_progress_update(c->progress, (int64_t)so_far->bytes, -1);
}

static void tree_warn(void *user, const char *path, const char *text)
{
    restore_call *c = user;
    c->warnings++;
    if (c->warnings <= MAX_TOLD) {
        vmbi_job_logf(c->job, VMB_LOG_WARNING, "%s: %s", path, text);
    }
}

static vmb_code restore_tree(restore_call *c, const char *id, const char *path, vmb_error **err)
{
    vmbi_restore_stats stats = {0};
    vmbi_restore_options o = {
        .snapshot = id,
        .target = path,
        .overwrite = VMBI_OVERWRITE_ALWAYS, /* as restic; nothing else uses the volume now */
        .progress = tree_progress,
        .warn = tree_warn,
        .user = c,
    };
    vmb_code code = vmbi_tree_restore(c->session.repo, &o, c->job, &stats, err);
    if (code == VMB_OK && c->warnings > 0) {
        code = vmbi_fail(err, VMB_E_INVALID, "%llu files could not be restored",
                         (unsigned long long)c->warnings);
    }
    return code;
}

static void disk_progress(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    restore_call *c = user;
    vmb_progress_update(c->progress, (int64_t)done_bytes, (int64_t)total_bytes);
}

static vmb_code restore_disk(restore_call *c, const char *id, const char *path, vmb_error **err)
{
    vmb_blocks_provider target;
    vmbi_disk_restore_stats stats = {0};
    vmbi_disk_restore_options o = {.snapshot = id, .progress = disk_progress, .user = c};
    vmb_code code = vmbi_blocks_file_new(path, true, &target, err);
    if (code != VMB_OK) {
        return code;
    }
    code = vmbi_disk_restore(c->session.repo, &target, &o, c->job, &stats, err);
    target.destroy(target.user);
    return code;
}

static vmb_code fill_place(vmbi_volrepo *p, restore_call *c, const vmbi_volrepo_saved *saved, bool block,
                           const char *path, vmb_error **err)
{
    vmb_code code =
        vmbi_volrepo_open(p, c->job, saved->ns, false, VMBI_REPO_SHARED, &c->session, err);
    if (code == VMB_OK) {
        code = vmbi_repo_load_index(c->session.repo, err);
    }
    if (code == VMB_OK) {
        code = block ? restore_disk(c, saved->id, path, err) : restore_tree(c, saved->id, path, err);
    }
    return code;
}

vmb_code vmbi_volrepo_restore(void *user, vmb_job *job, const char *volume, size_t len,
                              const char *snapshot, size_t snapshot_len, vmb_progress *progress,
                              vmb_error **err)
{
    vmbi_volrepo *p = user;
    restore_call c = {.job = job, .progress = progress, .session = {.prefix = VMBI_BUF_INIT(1)}};
    vmbi_volrepo_volume v = {0};
    vmbi_volrepo_saved saved = {0};
    vmbi_buf path = VMBI_BUF_INIT(4096);
    vmb_code code = vmbi_volrepo_read(volume, len, &v, err);
    if (code == VMB_OK) {
        code = vmbi_volrepo_read_saved(snapshot, snapshot_len, &saved, err);
    }
    if (code == VMB_OK && saved.id[0] == '\0' && v.waiter[0] == '\0') {
        goto out; /* it was empty */
    }
    if (code == VMB_OK) {
        code = vmbi_volrepo_path(p, &v, &path, err);
    }
    if (code == VMB_OK && saved.id[0] != '\0') {
        vmb_error *why = NULL;
        code = fill_place(p, &c, &saved, v.block, path.data, &why);
        if (code == VMB_E_NOT_FOUND) { /* that would mean: the pod's volume is not there yet */
            code = vmbi_fail(err, VMB_E_INVALID, "%s", vmb_error_message(why));
            vmb_error_free(vmbi_steal(&why));
        } else {
            vmbi_error_move(err, &why);
        }
    }
    if (code == VMB_OK && v.waiter[0] != '\0' && !v.block) {
        code = vmbi_volrepo_mark(path.data, v.waiter, err);
    }
out:
    vmbi_volrepo_close(&c.session);
    vmbi_json_free(saved.doc);
    vmbi_buf_free(&path);
    vmbi_volrepo_done(&v);
    return code;
}

/* ---- remove ----------------------------------------------------------------------------------------- */

/* Forgets the snapshot; its data goes with the next prune. */
vmb_code vmbi_volrepo_remove(void *user, vmb_job *job, const char *snapshot, size_t snapshot_len,
                             vmb_error **err)
{
    vmbi_volrepo_session session = {.prefix = VMBI_BUF_INIT(1)};
    vmbi_volrepo_saved saved = {0};
    vmbi_json *tree = NULL;
    char id[VMBI_REPO_HEX_SIZE];
    vmb_error *why = NULL;
    vmb_code code = vmbi_volrepo_read_saved(snapshot, snapshot_len, &saved, &why);
    if (code == VMB_OK && saved.id[0] != '\0') {
        code = vmbi_volrepo_open(user, job, saved.ns, false, VMBI_REPO_EXCLUSIVE, &session, &why);
        if (code == VMB_OK) {
            code = vmbi_repo_snapshot_load(session.repo, saved.id, id, &tree, &why);
        }
        if (code == VMB_OK) {
            code = vmbi_repo_snapshot_delete(session.repo, id, &why);
        }
    }
    vmbi_volrepo_close(&session);
    vmbi_json_free(tree);
    vmbi_json_free(saved.doc);
    if (code == VMB_E_NOT_FOUND) { /* gone already, or the whole repository is */
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return code;
}
