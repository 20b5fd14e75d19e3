/* SPDX-License-Identifier: Apache-2.0 */
/* Reading everything that was saved of a volume: trees and content, each against its digest. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "providers/volume_repo/volume_repo.h"
#include "repo/tree/tree.h"

typedef struct verify_call {
    vmb_job *job;
    vmb_progress *progress;
    vmbi_volrepo_session session;
    int64_t bytes;
} verify_call;

/* A blob that could be read has been compared with its digest. */
static vmb_code check_blob(void *user, size_t i, const void *data, size_t len, vmb_error *why,
                           vmb_error **err)
{
    verify_call *c = user;
    (void)i;
    if (data == NULL) {
        vmb_code code = vmb_error_code(why);
        return vmbi_fail(err, code != VMB_OK ? code : VMB_E_INVALID, "%s",
                         vmb_error_message(why));
    }
    c->bytes += (int64_t)len;
    vmb_progress_update(c->progress, c->bytes, -1);
    return VMB_OK;
}

static vmb_code check_node(void *user, const vmbi_repo_id *tree, const char *path,
                           const vmbi_node *node, bool *descend, vmb_error **err)
{
    verify_call *c = user;
    (void)tree;
    (void)descend;
    if (node->type != VMBI_NODE_FILE) {
        return VMB_OK;
    }
    vmb_code code = vmbi_tree_content(c->session.repo, node, c->job, check_blob, c, err);
    return code == VMB_OK ? VMB_OK : vmbi_wrap(err, code, "%s", path);
}

static vmb_code verify_saved(verify_call *c, const char *id, vmb_error **err)
{
    char full[VMBI_REPO_HEX_SIZE];
    vmbi_repo_id root;
    vmb_code code = vmbi_repo_load_index(c->session.repo, err);
    if (code == VMB_OK) {
        code = vmbi_tree_of_snapshot(c->session.repo, id, full, &root, err);
    }
    if (code == VMB_OK) {
        vmbi_tree_walk w = {
            .repo = c->session.repo, .job = c->job, .visit = check_node, .user = c};
        code = vmbi_tree_walk_run(&w, &root, err);
    }
    return code;
}

vmb_code vmbi_volrepo_verify(void *user, vmb_job *job, const char *snapshot, size_t snapshot_len,
                             vmb_progress *progress, vmb_error **err)
{
    verify_call c = {.job = job, .progress = progress, .session = {.prefix = VMBI_BUF_INIT(1)}};
    vmbi_volrepo_saved saved = {0};
    vmb_code code = vmbi_volrepo_read_saved(snapshot, snapshot_len, &saved, err);
    if (code == VMB_OK && saved.id[0] != '\0') { /* an empty volume has nothing to read */
        code = vmbi_volrepo_open(user, job, saved.ns, false, VMBI_REPO_SHARED, &c.session, err);
        code = code == VMB_OK ? verify_saved(&c, saved.id, err) : code;
    }
    vmbi_volrepo_close(&c.session);
    vmbi_json_free(saved.doc);
    return code;
}
