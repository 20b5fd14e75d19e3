/* SPDX-License-Identifier: Apache-2.0 */
/* Filesystem backup into repositories of restic's format, one for each namespace, where and how
 * Velero keeps them. It reads the volumes on the node that it runs on. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/duration.h"
#include "providers/builtin.h"
#include "providers/volume_repo/volume_repo.h"

enum { LOCK_WAIT_SECONDS = 300, MAX_THREADS = 64 };

static const char default_pods[] = "/var/lib/kubelet/pods";

static void volrepo_destroy(void *user)
{
    vmbi_volrepo *p = user;
    if (p == NULL) {
        return;
    }
    if (p->password != NULL) {
        explicit_bzero(p->password, strlen(p->password));
    }
    vmbi_free(p->password);
    vmbi_free(p->password_file);
    vmbi_free(p->host_pods);
    vmbi_free(p->node);
    vmbi_free(p->ns);
    (void)pthread_mutex_destroy(&p->making);
    vmbi_free(p);
}

/* Pods of another node have their volumes elsewhere. */
static vmb_code volrepo_bid(void *user, vmb_job *job, const char *volume, size_t len,
                            int32_t *score, vmb_error **err)
{
    const vmbi_volrepo *p = user;
    vmbi_volrepo_volume v = {0};
    (void)job;
    vmb_code code = vmbi_volrepo_read(volume, len, &v, err);
    if (code == VMB_OK) {
        *score = p->node[0] == '\0' || strcmp(p->node, v.node) == 0 ? 100 : 0;
    }
    vmbi_volrepo_done(&v);
    return code;
}

/* ---- settings ------------------------------------------------------------------------------------ */

static bool set_compression(const char *value, vmbi_repo_compression *out)
{
    static const struct {
        const char *name;
        vmbi_repo_compression value;
    } known[] = {{"auto", VMBI_REPO_AUTO}, {"off", VMBI_REPO_OFF}, {"max", VMBI_REPO_MAX}};
    for (size_t i = 0; i < VMBI_ARRAY_LEN(known); i++) {
        if (strcmp(known[i].name, value) == 0) {
            *out = known[i].value;
            return true;
        }
    }
    return false;
}

static bool set_text(char **slot, const char *value)
{
    char *copy = vmbi_strdup(value);
    if (copy == NULL) {
        return false;
    }
    vmbi_free(*slot);
    *slot = copy;
    return true;
}

static vmb_code bad(vmb_error **err, const char *key, const char *wanted)
{
    return vmbi_fail(err, VMB_E_ARG, "volume.repo: setting \"%s\" is %s", key, wanted);
}

static vmb_code read_setting(vmbi_volrepo *p, const char *key, const vmbi_json *value,
                             vmb_error **err)
{
    const char *text = vmbi_json_str(value);
    char **slot = strcmp(key, "password") == 0       ? &p->password
                  : strcmp(key, "passwordFile") == 0 ? &p->password_file
                  : strcmp(key, "hostPods") == 0     ? &p->host_pods
                  : strcmp(key, "node") == 0         ? &p->node
                  : strcmp(key, "namespace") == 0    ? &p->ns
                                                     : NULL;
    if (slot != NULL) {
        if (text == NULL || (text[0] == '\0' && slot != &p->node && slot != &p->ns)) {
            return bad(err, key, "empty or no string");
        }
        return set_text(slot, text) ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (strcmp(key, "compression") == 0) {
        return text != NULL && set_compression(text, &p->compression)
                   ? VMB_OK
                   : bad(err, key, "none of auto, off, max");
    }
    if (strcmp(key, "lockWait") == 0) {
        return text != NULL && vmbi_duration_parse(text, &p->lock_wait_ns) && p->lock_wait_ns >= 0
                   ? VMB_OK
                   : bad(err, key, "no duration");
    }
    if (strcmp(key, "threads") == 0) {
        int64_t n = vmbi_json_int(value, 0);
        p->threads = n >= 1 && n <= MAX_THREADS ? (size_t)n : 0;
        return p->threads != 0 ? VMB_OK : bad(err, key, "no number from 1 to 64");
    }
    return vmbi_fail(err, VMB_E_ARG,
                     "volume.repo: setting \"%s\" is unknown; known are \"compression\", "
                     "\"hostPods\", \"lockWait\", \"namespace\", \"node\", \"password\", "
                     "\"passwordFile\" and \"threads\"",
                     key);
}

static vmb_code read_settings(vmbi_volrepo *p, const vmbi_json *settings, vmb_error **err)
{
    vmb_code code = VMB_OK;
    for (void *it = vmbi_json_iter(settings); it != NULL && code == VMB_OK;
         it = vmbi_json_iter_next(settings, it)) {
        code = read_setting(p, vmbi_json_iter_key(it), vmbi_json_iter_value(it), err);
    }
    if (code == VMB_OK && p->password != NULL && p->password_file != NULL) {
        code = vmbi_fail(err, VMB_E_ARG,
                         "volume.repo: \"password\" and \"passwordFile\" exclude each other");
    }
    if (code == VMB_OK && p->host_pods[0] != '/') {
        code = bad(err, "hostPods", "no absolute path");
    }
    return code;
}

vmb_code vmbi_volume_repo_new(const vmbi_json *settings, vmb_volume_provider *out, vmb_error **err)
{
    vmbi_volrepo *p = vmbi_zalloc(sizeof *p);
    if (p == NULL || pthread_mutex_init(&p->making, NULL) != 0) {
        vmbi_free(p);
        return vmbi_fail_nomem(err);
    }
    p->lock_wait_ns = LOCK_WAIT_SECONDS * VMBI_SECOND;
    p->host_pods = vmbi_strdup(default_pods);
    p->node = vmbi_strdup("");
    p->ns = vmbi_strdup("");
    bool ok = p->host_pods != NULL && p->node != NULL && p->ns != NULL;
    vmb_code code = ok ? read_settings(p, settings, err) : vmbi_fail_nomem(err);
    if (code != VMB_OK) {
        volrepo_destroy(p);
        return code;
    }
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    out->api_version = VMB_PROVIDER_API;
    out->name = "volume.repo";
    out->user = p;
    out->destroy = volrepo_destroy;
    out->bid = volrepo_bid;
    out->backup = vmbi_volrepo_backup;
    out->restore = vmbi_volrepo_restore;
    out->remove = vmbi_volrepo_remove;
    out->verify = vmbi_volrepo_verify;
    return VMB_OK;
}
