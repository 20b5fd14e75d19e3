/* SPDX-License-Identifier: Apache-2.0 */
/* Saving a volume: files as a tree whose root is the volume's root, a disk as disk.img. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "providers/builtin.h"
#include "providers/common/objects.h"
#include "providers/volume_repo/volume_repo.h"
#include "repo/disk/disk.h"
#include "repo/tree/backup.h"

enum { MAX_TAGS = 16, MAX_TOLD = 20 };

/* One volume being saved. */
typedef struct save_call {
    vmbi_volrepo *provider;
    vmb_job *job;
    vmb_progress *progress;
    vmbi_volrepo_volume volume;
    vmbi_buf path;
    vmbi_buf identifier;
    vmbi_volrepo_session session;
    vmbi_strs tags;
    char parent[VMBI_REPO_HEX_SIZE];
    char id[VMBI_REPO_HEX_SIZE];
    uint64_t size;
    uint64_t read;
    uint64_t warnings;
} save_call;

/* restic takes "k=v" as one tag; Velero gives one for each. */
static vmb_code read_tags(save_call *c, vmb_error **err)
{
    const vmbi_json *tags = vmbi_json_get(c->volume.doc, "tags");
    vmbi_buf tag = VMBI_BUF_INIT(4096);
    vmb_code code = VMB_OK;
    for (void *it = vmbi_json_iter(tags); it != NULL && code == VMB_OK;
         it = vmbi_json_iter_next(tags, it)) {
        const char *value = vmbi_json_str(vmbi_json_iter_value(it));
        if (value == NULL || c->tags.n >= MAX_TAGS) {
            code = vmbi_fail(err, VMB_E_ARG, "volume: its tags are no strings, or too many");
            break;
        }
        vmbi_buf_reset(&tag);
        vmbi_buf_addf(&tag, "%s=%s", vmbi_json_iter_key(it), value);
        code = vmbi_buf_check(&tag, err, "tag");
        code = code == VMB_OK ? vmbi_strs_add(&c->tags, tag.data, err) : code;
    }
    vmbi_strs_sort(&c->tags);
    vmbi_buf_free(&tag);
    return code;
}

/* The parent only saves time: a repository that cannot say which it is still takes the volume. */
static vmb_code find_parent(save_call *c, vmb_error **err)
{
    const char *given = vmbi_json_get_str(c->volume.doc, "parent");
    vmbi_json *snapshot = NULL;
    vmb_error *why = NULL;
    vmb_code code = VMB_E_NOT_FOUND;
    if (given != NULL && given[0] != '\0') {
        code = vmbi_repo_snapshot_load(c->session.repo, given, c->parent, &snapshot, &why);
        vmbi_json_free(snapshot);
        if (code != VMB_E_NOT_FOUND && code != VMB_E_INVALID) {
            vmbi_error_move(err, &why);
            return code;
        }
        vmbi_job_logf(c->job, VMB_LOG_INFO, "another parent is looked for: %s",
                      vmb_error_message(why));
        vmb_error_free(vmbi_steal(&why));
    }
    code = vmbi_volrepo_parent(&c->session, &c->volume, c->parent, &why);
    if (code == VMB_E_INVALID) {
        vmbi_job_logf(c->job, VMB_LOG_WARNING, "no parent was found: %s", vmb_error_message(why));
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return code;
}

/* ---- files --------------------------------------------------------------------------------------- */

static void tree_progress(void *user, const vmbi_tree_stats *so_far)
{
    save_call *c = user;
    vmb_progress_update(c->progress, (int64_t)so_far->bytes, -1);
}

/* What cannot be read is left out; the log says what, not without end. */
static void tree_warn(void *user, const char *path, const char *text)
{
    save_call *c = user;
    c->warnings++;
    if (c->warnings <= MAX_TOLD) {
        vmbi_job_logf(c->job, VMB_LOG_WARNING, "%s: %s", path, text);
    }
}

static vmb_code save_tree(save_call *c, vmb_error **err)
{
    static const char *const images[] = {"disk.img"};
    const char *paths[] = {c->path.data};
    vmbi_tree_stats stats = {0};
    vmbi_tree_options o = {
        .paths = paths,
        .n_paths = 1,
        .content_root = true,
        .parent = c->parent[0] != '\0' ? c->parent : NULL,
        .tags = (const char *const *)c->tags.v,
        .n_tags = c->tags.n,
        .hostname = "velero",
        .threads = c->provider->threads,
        .one_file_system = true,
        .disk_images = images,
        .n_disk_images = VMBI_ARRAY_LEN(images),
        .progress = tree_progress,
        .warn = tree_warn,
        .user = c,
    };
    vmb_error *why = NULL;
    vmb_code code = vmbi_tree_backup(c->session.repo, &o, c->job, c->id, &stats, &why);
    c->size = stats.bytes;
    c->read = stats.bytes_read;
    if (c->warnings > MAX_TOLD) {
        vmbi_job_logf(c->job, VMB_LOG_WARNING, "%llu further files could not be saved",
                      (unsigned long long)(c->warnings - MAX_TOLD));
    }
    /* an empty volume is saved as such; what else is not found, such as the bucket, is a failure */
    if (code == VMB_E_NOT_FOUND && stats.root_is_empty) {
        vmb_error_free(why);
        c->id[0] = '\0';
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return code;
}

/* ---- a disk -------------------------------------------------------------------------------------- */

static void disk_progress(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    save_call *c = user;
    vmb_progress_update(c->progress, (int64_t)done_bytes, (int64_t)total_bytes);
}

static vmb_code save_disk(save_call *c, vmb_error **err)
{
    vmb_blocks_provider source;
    vmbi_disk_save_stats stats = {0};
    vmbi_disk_save_options o = {
        .parent = c->parent[0] != '\0' ? c->parent : NULL,
        .tags = (const char *const *)c->tags.v,
        .n_tags = c->tags.n,
        .hostname = "velero",
        .threads = c->provider->threads,
        .progress = disk_progress,
        .user = c,
    };
    vmb_code code = vmbi_blocks_file_new(c->path.data, false, &source, err);
    if (code != VMB_OK) {
        return code;
    }
    code = vmbi_disk_save(c->session.repo, &source, &o, c->job, c->id, &stats, err);
    source.destroy(source.user);
    c->size = stats.bytes;
    c->read = stats.bytes_read;
    return code;
}

/* ---- both ------------------------------------------------------------------------------------------- */

static vmb_code write_result(const save_call *c, vmb_sink *out, vmb_error **err)
{
    vmbi_repo_stats stats = {0};
    char *text = NULL;
    size_t len = 0;
    vmbi_repo_get_stats(c->session.repo, &stats);
    vmbi_json *r = vmbi_json_object();
    bool ok = r != NULL && vmbi_json_set_str(r, "snapshotID", c->id);
    ok = ok && vmbi_json_set_str(r, "uploaderType", "restic");
    ok = ok && vmbi_json_set_str(r, "repoIdentifier",
                                 c->identifier.data != NULL ? c->identifier.data : "");
    ok = ok && vmbi_json_set_str(r, "path", c->path.data);
    ok = ok && vmbi_json_set_str(r, "node", c->volume.node);
    ok = ok && vmbi_json_set_str(r, "namespace", c->volume.ns);
    ok = ok && vmbi_json_set_int(r, "size", (int64_t)c->size);
    ok = ok && vmbi_json_set_int(r, "incrementalSize", (int64_t)stats.bytes_new);
    ok = ok && (c->id[0] != '\0' ||
                vmbi_json_set_str(r, "message", "volume was empty so no snapshot was taken"));
    vmb_code code = ok ? vmbi_json_to_text(r, &text, &len, err) : vmbi_fail_nomem(err);
    vmbi_json_free(r);
    if (code == VMB_OK) {
        code = vmb_sink_write(out, text, len, err);
    }
    vmb_free(text);
    return code;
}

static vmb_code prepare(save_call *c, vmb_error **err)
{
    vmb_code code = vmbi_volrepo_path(c->provider, &c->volume, &c->path, err);
    if (code == VMB_OK) {
        code = vmbi_volrepo_identifier(vmbi_json_get(c->volume.doc, "location"), c->volume.ns,
                                       &c->identifier, err);
    }
    if (code == VMB_OK) {
        code = read_tags(c, err);
    }
    if (code == VMB_OK) {
        code = vmbi_volrepo_open(c->provider, c->job, c->volume.ns, true, VMBI_REPO_SHARED,
                                 &c->session, err);
    }
    if (code == VMB_OK) {
        code = vmbi_repo_load_index(c->session.repo, err);
    }
    return code == VMB_OK ? find_parent(c, err) : code;
}

vmb_code vmbi_volrepo_backup(void *user, vmb_job *job, const char *volume, size_t len,
                             vmb_progress *progress, vmb_sink *out, vmb_error **err)
{
    save_call c = {.provider = user,
                   .job = job,
                   .progress = progress,
                   .path = VMBI_BUF_INIT(4096),
                   .identifier = VMBI_BUF_INIT(4096),
                   .session = {.prefix = VMBI_BUF_INIT(1)}};
    vmb_code code = vmbi_volrepo_read(volume, len, &c.volume, err);
    if (code == VMB_OK) {
        code = prepare(&c, err);
    }
    if (code == VMB_OK) {
        code = c.volume.block ? save_disk(&c, err) : save_tree(&c, err);
    }
    if (code == VMB_OK) {
        vmb_progress_update(progress, (int64_t)c.size, (int64_t)c.size);
        vmbi_job_logf(job, VMB_LOG_INFO, "snapshot %.8s in %s, %llu bytes, %llu read%s%.8s",
                      c.id[0] != '\0' ? c.id : "(none)", c.session.prefix.data,
                      (unsigned long long)c.size, (unsigned long long)c.read,
                      c.parent[0] != '\0' ? ", parent " : "", c.parent);
        code = write_result(&c, out, err);
    }
    vmbi_volrepo_close(&c.session);
    vmbi_strs_free(&c.tags);
    vmbi_buf_free(&c.path);
    vmbi_buf_free(&c.identifier);
    vmbi_volrepo_done(&c.volume);
    return code;
}
