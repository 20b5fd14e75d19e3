/* SPDX-License-Identifier: Apache-2.0 */
/* Reading trees without holding their nodes. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "repo/tree/tree.h"

enum {
    MAX_DEPTH = 1000,
    MAX_WALK_BYTES = 512 << 20,
    RUN_MAX_BYTES = 8 * 1024 * 1024, /* of one request */
    RUN_MAX_GAP = 64 * 1024          /* of bytes that nobody wants, between two blobs */
};

/* ---- one tree ---------------------------------------------------------------------------------- */

vmb_code vmbi_tree_reader_open(vmbi_repo *r, const vmbi_repo_id *id, vmbi_tree_reader *t,
                               vmb_error **err)
{
    vmbi_slice nodes;
    memset(t, 0, sizeof(*t));
    vmbi_buf_init(&t->text, VMBI_REPO_MAX_BLOB);
    vmb_code rc = vmbi_repo_load_blob(r, VMBI_BLOB_TREE, id, &t->text, err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (t->text.data == NULL || !vmbi_jscan_find(t->text.data, t->text.len, "nodes", &nodes) ||
        !vmbi_jscan_array(&t->scan, nodes.p, nodes.len)) {
        char hex[VMBI_REPO_HEX_SIZE];
        vmbi_repo_id_hex(id, hex);
        return vmbi_fail(err, VMB_E_INVALID, "the tree %s is malformed", hex);
    }
    return VMB_OK;
}

vmb_code vmbi_tree_reader_next(vmbi_tree_reader *t, const vmbi_node **node, vmb_error **err)
{
    vmbi_slice item;
    vmbi_node_done(&t->node);
    *node = NULL;
    int more = vmbi_jscan_element(&t->scan, &item);
    if (more <= 0) {
        return more == 0 ? VMB_OK : vmbi_fail(err, VMB_E_INVALID, "a tree is malformed");
    }
    vmb_code rc = vmbi_node_parse(item.p, item.len, &t->node, err);
    *node = rc == VMB_OK ? &t->node : NULL;
    return rc;
}

void vmbi_tree_reader_close(vmbi_tree_reader *t)
{
    vmbi_node_done(&t->node);
    vmbi_buf_free(&t->text);
}

vmb_code vmbi_tree_find(vmbi_repo *r, const vmbi_repo_id *root, const char *path, vmbi_node *out,
                        vmb_error **err)
{
    vmbi_repo_id tree = *root;
    const char *rest = path + strspn(path, "/");
    vmb_code rc = rest[0] != '\0' ? VMB_OK
                                  : vmbi_fail(err, VMB_E_ARG, "\"%.200s\" names no entry", path);
    while (rc == VMB_OK) {
        vmbi_tree_reader t;
        const vmbi_node *node = NULL;
        size_t len = strcspn(rest, "/");
        const char *next = rest + len + strspn(rest + len, "/");
        rc = vmbi_tree_reader_open(r, &tree, &t, err);
        do {
            rc = rc == VMB_OK ? vmbi_tree_reader_next(&t, &node, err) : rc;
        } while (rc == VMB_OK && node != NULL &&
                 (strncmp(node->name, rest, len) != 0 || node->name[len] != '\0'));
        if (rc == VMB_OK && (node == NULL || (*next != '\0' && !node->has_subtree))) {
            rc = vmbi_fail(err, VMB_E_NOT_FOUND, "%.1000s is not in the snapshot", path);
        } else if (rc == VMB_OK && *next == '\0') {
            *out = t.node;
            t.node = (vmbi_node){0};
            vmbi_tree_reader_close(&t);
            return VMB_OK;
        } else if (rc == VMB_OK) {
            tree = node->subtree;
            rest = next;
        }
        vmbi_tree_reader_close(&t);
    }
    return rc;
}

/* ---- all below a tree -------------------------------------------------------------------------- */

typedef struct frame {
    vmbi_tree_reader reader;
    vmbi_repo_id id;
    size_t path_len; /* of the directory */
} frame;

typedef struct walking {
    const vmbi_tree_walk *w;
    frame *frames; /* MAX_DEPTH */
    size_t n;
    size_t bytes;
    vmbi_buf path;
} walking;

static bool ends_walk(vmb_code rc)
{
    return rc == VMB_E_NOMEM || rc == VMB_E_CANCELLED || rc == VMB_E_TIMEOUT;
}

static vmb_code enter(walking *k, const vmbi_repo_id *id, vmb_error **err)
{
    vmb_error *why = NULL;
    if (k->n == MAX_DEPTH) { /* a tree that contains itself ends here, too */
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d directories deep", MAX_DEPTH);
    }
    frame *f = &k->frames[k->n];
    vmb_code rc = vmbi_tree_reader_open(k->w->repo, id, &f->reader, &why);
    if (rc == VMB_OK && k->bytes + f->reader.text.len > MAX_WALK_BYTES) {
        rc = vmbi_fail(&why, VMB_E_LIMIT, "the trees on the way take more than %d MiB",
                       MAX_WALK_BYTES >> 20);
    }
    if (rc == VMB_OK) {
        f->id = *id;
        f->path_len = k->path.len;
        k->bytes += f->reader.text.len;
        k->n++;
        return VMB_OK;
    }
    vmbi_tree_reader_close(&f->reader);
    if (k->w->unreadable != NULL && !ends_walk(rc)) {
        rc = k->w->unreadable(k->w->user, id, k->path.len > 0 ? k->path.data : "/", why, err);
        vmb_error_free(why);
        return rc;
    }
    vmbi_error_move(err, &why);
    return rc;
}

static void leave(walking *k)
{
    frame *f = &k->frames[--k->n];
    k->bytes -= f->reader.text.len;
    vmbi_tree_reader_close(&f->reader);
}

static vmb_code step(walking *k, vmb_error **err)
{
    frame *f = &k->frames[k->n - 1];
    const vmbi_node *node = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_limits_check(&k->w->job->limits, err, "walk over a snapshot");
    if (rc != VMB_OK) {
        return rc;
    }
    k->path.len = f->path_len;
    if (k->path.data != NULL) {
        k->path.data[k->path.len] = '\0';
    }
    rc = vmbi_tree_reader_next(&f->reader, &node, &why);
    if (rc != VMB_OK && k->w->unreadable != NULL && !ends_walk(rc)) {
        rc = k->w->unreadable(k->w->user, &f->id, k->path.len > 0 ? k->path.data : "/", why, err);
        vmb_error_free(why);
        leave(k);
        return rc;
    }
    vmbi_error_move(err, &why);
    if (rc != VMB_OK || node == NULL) {
        leave(k);
        return rc;
    }
    vmbi_buf_addc(&k->path, '/');
    vmbi_buf_adds(&k->path, node->name);
    rc = vmbi_buf_check(&k->path, err, "path");
    bool descend = node->has_subtree;
    if (rc == VMB_OK) {
        rc = k->w->visit(k->w->user, &f->id, k->path.data, node, &descend, err);
    }
    return rc == VMB_OK && descend && node->has_subtree ? enter(k, &node->subtree, err) : rc;
}

vmb_code vmbi_tree_walk_run(const vmbi_tree_walk *w, const vmbi_repo_id *root, vmb_error **err)
{
    walking k = {.w = w, .path = VMBI_BUF_INIT(1024 * 1024)};
    k.frames = vmbi_alloc_array(MAX_DEPTH, sizeof(*k.frames));
    vmb_code rc = k.frames != NULL ? enter(&k, root, err) : vmbi_fail_nomem(err);
    while (rc == VMB_OK && k.n > 0) {
        rc = step(&k, err);
    }
    while (k.n > 0) {
        leave(&k);
    }
    vmbi_free(k.frames);
    vmbi_buf_free(&k.path);
    return rc;
}

/* ---- content ----------------------------------------------------------------------------------- */

typedef struct shifted {
    vmbi_repo_blob_fn fn;
    void *user;
    size_t first; /* number of the run's first blob in the file */
} shifted;

static vmb_code hand_on(void *user, size_t i, const void *data, size_t len, vmb_error *why,
                        vmb_error **err)
{
    const shifted *s = user;
    return s->fn(s->user, s->first + i, data, len, why, err);
}

bool vmbi_tree_joins(const vmbi_blob_place *first, const vmbi_blob_place *last,
                     const vmbi_blob_place *p)
{
    uint64_t end = (uint64_t)last->offset + last->stored_len;
    return p->pack == last->pack && p->offset >= end && p->offset - end <= RUN_MAX_GAP &&
           (uint64_t)p->offset + p->stored_len - first->offset <= RUN_MAX_BYTES;
}

size_t vmbi_tree_run_length(vmbi_repo *r, const vmbi_node *node, size_t i,
                            vmbi_blob_place places[VMBI_TREE_RUN_MAX])
{
    size_t n = 0;
    while (i + n < node->n_content && n < VMBI_TREE_RUN_MAX) {
        vmbi_blob_place *p = &places[n];
        if (!vmbi_repo_find_blob(r, VMBI_BLOB_DATA, &node->content[i + n], p)) {
            break;
        }
        if (n > 0) {
            if (!vmbi_tree_joins(&places[0], &places[n - 1], p)) {
                break;
            }
        }
        n++;
    }
    return n;
}

vmb_code vmbi_tree_content(vmbi_repo *r, const vmbi_node *file, vmb_job *job, vmbi_repo_blob_fn fn,
                           void *user, vmb_error **err)
{
    vmbi_blob_place places[VMBI_TREE_RUN_MAX];
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < file->n_content && rc == VMB_OK;) {
        shifted s = {fn, user, i};
        size_t n = vmbi_tree_run_length(r, file, i, places);
        if (n == 0) {
            char hex[VMBI_REPO_HEX_SIZE];
            vmbi_repo_id_hex(&file->content[i], hex);
            return vmbi_fail(err, VMB_E_NOT_FOUND, "the index has no blob %s", hex);
        }
        rc = vmbi_repo_load_run(r, VMBI_BLOB_DATA, &file->content[i], places, n, true, hand_on, &s,
                                err);
        i += n;
        if (rc == VMB_OK) {
            rc = vmbi_limits_check(&job->limits, err, "read a file of a snapshot");
        }
    }
    return rc;
}
