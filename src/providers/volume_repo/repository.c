/* SPDX-License-Identifier: Apache-2.0 */
/* The repository of a namespace: where it is, opening or making it, and what it has of a volume.
 * Source of the names: Velero 1.18 pkg/repository/config/config.go, pkg/restic/common.go. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "providers/common/objects.h"
#include "providers/volume_repo/volume_repo.h"

enum { MAX_KEY = 1024, OPEN_TRIES = 5 };

static const char *text_of(const vmbi_json *obj, const char *path)
{
    const char *s = vmbi_json_path_str(obj, path);
    return s != NULL ? s : "";
}

/* ---- opening ------------------------------------------------------------------------------------- */

static vmb_code open_or_make(const vmbi_repo_options *o, bool make, vmb_job *job, vmbi_repo **out,
                             vmb_error **err)
{
    vmb_code code = VMB_E_NOT_FOUND;
    for (int i = 0; i < OPEN_TRIES; i++) {
        vmb_error *why = NULL;
        code = vmbi_repo_open(o, out, &why);
        if (code == VMB_E_NOT_FOUND && make) {
            vmb_error_free(vmbi_steal(&why));
            code = vmbi_repo_init(o, out, &why);
            if (code == VMB_OK) {
                vmbi_job_logf(job, VMB_LOG_INFO, "repository %s was made", o->prefix);
            }
        }
        if (code != VMB_E_EXISTS) {
            vmbi_error_move(err, &why);
            return code;
        }
        /* another process makes it just now */
        vmbi_error_move(i + 1 == OPEN_TRIES ? err : NULL, &why);
        vmb_code slept = vmb_job_sleep(job, VMBI_SECOND, i + 1 == OPEN_TRIES ? NULL : err);
        if (slept != VMB_OK) {
            return slept;
        }
    }
    return code;
}

static vmb_code repository_prefix(vmb_job *job, const char *ns, vmbi_buf *out, vmb_error **err)
{
    const char *prefix = "";
    if (vmb_job_store(job, &prefix) == NULL) {
        return vmbi_fail(err, VMB_E_STATE, "the run has no storage location");
    }
    vmbi_buf_addf(out, "%s%srestic/%s", prefix, prefix[0] != '\0' ? "/" : "", ns);
    return vmbi_buf_check(out, err, "key of the repository");
}

static void recode(vmb_error **err, vmb_code code)
{
    if (err != NULL) {
        (void)vmbi_fail(err, code, "%s", vmb_error_message(*err));
    }
}

vmb_code vmbi_volrepo_open(vmbi_volrepo *p, vmb_job *job, const char *ns, bool make,
                           vmbi_repo_lock_kind lock, vmbi_volrepo_session *out, vmb_error **err)
{
    vmbi_volrepo_session s = {.prefix = VMBI_BUF_INIT(MAX_KEY)};
    vmbi_buf password = VMBI_BUF_INIT(64 * 1024);
    if (ns[0] == '\0' || strchr(ns, '/') != NULL || ns[0] == '.') {
        return vmbi_fail(err, VMB_E_ARG, "\"%.80s\" is no namespace", ns);
    }
    vmb_code code = repository_prefix(job, ns, &s.prefix, err);
    if (code == VMB_OK) {
        code = vmbi_volrepo_password(p, job, &password, err);
        if (code == VMB_E_NOT_FOUND) { /* that would mean: there is no repository */
            code = VMB_E_INVALID;
            recode(err, code);
        }
    }
    if (code == VMB_OK) {
        vmbi_repo_options o = {
            .store = vmb_job_store(job, NULL),
            .job = job,
            .prefix = s.prefix.data,
            .password = password.data,
            .password_len = password.len,
            .hostname = "velero",
            .compression = p->compression,
        };
        if (make) {
            (void)pthread_mutex_lock(&p->making);
        }
        code = open_or_make(&o, make, job, &s.repo, err);
        if (make) {
            (void)pthread_mutex_unlock(&p->making);
        }
    }
    vmbi_volrepo_wipe(&password);
    if (code == VMB_OK) {
        code = vmbi_repo_lock(s.repo, lock, p->lock_wait_ns, err);
    }
    if (code != VMB_OK) {
        code = vmbi_wrap(err, code, "repository %s",
                         s.prefix.data != NULL ? s.prefix.data : ns);
        vmbi_volrepo_close(&s);
        return code;
    }
    *out = s;
    return VMB_OK;
}

void vmbi_volrepo_close(vmbi_volrepo_session *s)
{
    vmbi_repo_close(s->repo);
    s->repo = NULL;
    vmbi_buf_free(&s->prefix);
}

/* ---- the parent ------------------------------------------------------------------------------------ */

typedef struct parent_search {
    const char *wanted[3]; /* tags that it must have; NULL: no further one */
    int64_t time_unix_ns;
    char *id;
} parent_search;

static bool has_tag(const vmbi_json *tags, const char *tag)
{
    for (size_t i = 0; i < vmbi_json_len(tags); i++) {
        if (vmbi_streq(vmbi_json_str(vmbi_json_at(tags, i)), tag)) {
            return true;
        }
    }
    return false;
}

static vmb_code look_at_snapshot(void *user, const char *id, const vmbi_json *snapshot,
                                 vmb_error **err)
{
    parent_search *s = user;
    const vmbi_json *tags = vmbi_json_get(snapshot, "tags");
    int64_t when = 0;
    (void)err;
    for (size_t i = 0; i < 3 && s->wanted[i] != NULL; i++) {
        if (!has_tag(tags, s->wanted[i])) {
            return VMB_OK;
        }
    }
    if (vmbi_parse_rfc3339(text_of(snapshot, "time"), &when) &&
        (s->id[0] == '\0' || when > s->time_unix_ns)) {
        s->time_unix_ns = when;
        size_t len = strlen(id);
        if (len < VMBI_REPO_HEX_SIZE) {
            memcpy(s->id, id, len + 1);
        }
    }
    return VMB_OK;
}

vmb_code vmbi_volrepo_parent(vmbi_volrepo_session *s, const vmbi_volrepo_volume *v,
                             char id[VMBI_REPO_HEX_SIZE], vmb_error **err)
{
    vmbi_buf claim = VMBI_BUF_INIT(1024);
    vmbi_buf pod = VMBI_BUF_INIT(1024);
    vmbi_buf volume = VMBI_BUF_INIT(1024);
    parent_search search = {.id = id};
    id[0] = '\0';
    vmbi_buf_addf(&claim, "pvc-uid=%s", v->claim_uid);
    vmbi_buf_addf(&pod, "pod=%s", v->pod);
    vmbi_buf_addf(&volume, "volume=%s", v->name);
    vmb_code code = vmbi_buf_check(&claim, err, "tag");
    code = code == VMB_OK ? vmbi_buf_check(&pod, err, "tag") : code;
    code = code == VMB_OK ? vmbi_buf_check(&volume, err, "tag") : code;
    if (code == VMB_OK) {
        search.wanted[0] = v->claim_uid[0] != '\0' ? claim.data : pod.data;
        search.wanted[1] = v->claim_uid[0] != '\0' ? NULL : volume.data;
        code = vmbi_repo_snapshot_list(s->repo, look_at_snapshot, &search, err);
    }
    vmbi_buf_free(&claim);
    vmbi_buf_free(&pod);
    vmbi_buf_free(&volume);
    return code;
}

/* ---- what it is called ------------------------------------------------------------------------------- */

static size_t without_slashes(const char *s)
{
    size_t len = strlen(s);
    while (len > 0 && s[len - 1] == '/') {
        len--;
    }
    return len;
}

/* "s3:https://host/bucket/prefix/restic" or, for a folder, "/path/prefix/restic" */
static void default_place(const vmbi_json *location, vmbi_buf *out)
{
    const char *provider = text_of(location, "provider");
    const char *bucket = text_of(location, "bucket");
    const char *prefix = text_of(location, "prefix");
    const vmbi_json *config = vmbi_json_get(location, "config");
    const char *url = text_of(config, "s3Url");
    const char *region = text_of(config, "region");
    if (strcmp(provider, "vmbackup.io/dir") == 0) {
        const char *path = text_of(config, "path");
        vmbi_buf_addf(out, "%.*s", (int)without_slashes(path), path);
    } else if (strcmp(provider, "aws") == 0 || strcmp(provider, "velero.io/aws") == 0 ||
               strcmp(provider, "vmbackup.io/libs3") == 0) {
        if (url[0] != '\0') {
            vmbi_buf_addf(out, "s3:%.*s", (int)without_slashes(url), url);
        } else {
            vmbi_buf_addf(out, "s3:s3%s%s.amazonaws.com", region[0] != '\0' ? "-" : "", region);
        }
    } else {
        return;
    }
    vmbi_buf_addf(out, "%s%s%s%s/restic", bucket[0] != '\0' ? "/" : "", bucket,
                  prefix[0] != '\0' ? "/" : "", prefix);
}

vmb_code vmbi_volrepo_identifier(const vmbi_json *location, const char *ns, vmbi_buf *out,
                                 vmb_error **err)
{
    const char *own = text_of(vmbi_json_get(location, "config"), "resticRepoPrefix");
    vmbi_buf_reset(out);
    default_place(location, out);
    if (own[0] != '\0' && (out->len != without_slashes(own) || out->status != VMB_OK ||
                           memcmp(own, out->data, out->len) != 0)) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED,
                         "resticRepoPrefix of the storage location names another place than its "
                         "bucket and prefix; repositories are kept in the location only");
    }
    if (out->len > 0) {
        vmbi_buf_addf(out, "/%s", ns);
    } else {
        vmbi_buf_adds(out, "");
    }
    return vmbi_buf_check(out, err, "name of the repository");
}
