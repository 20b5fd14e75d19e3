/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/ops/ls.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repo/ops/nodejson.h"
#include "repo/tree/tree.h"

enum { MAX_LINE = 8 << 20 };

typedef struct listing {
    vmbi_ops_json_fn fn;
    void *user;
    bool recursive;
    const char *base; /* path of the folder that is listed, "" for the root */
    vmbi_buf line;
    vmbi_buf path;
} listing;

static vmb_code print_one(listing *l, const char *path, const vmbi_node *node, vmb_error **err)
{
    vmbi_buf_reset(&l->line);
    vmbi_nodejson_ls(node, path, &l->line);
    vmb_code rc = vmbi_buf_check(&l->line, err, "entry of a snapshot");
    return rc == VMB_OK ? l->fn(l->user, l->line.data, l->line.len, err) : rc;
}

static vmb_code visit(void *user, const vmbi_repo_id *tree, const char *path,
                      const vmbi_node *node, bool *descend, vmb_error **err)
{
    listing *l = user;
    (void)tree;
    vmbi_buf_reset(&l->path);
    vmbi_buf_adds(&l->path, l->base);
    vmbi_buf_adds(&l->path, path);
    vmb_code rc = vmbi_buf_check(&l->path, err, "path");
    *descend = *descend && l->recursive;
    return rc == VMB_OK ? print_one(l, l->path.data, node, err) : rc;
}

/* "/a/b" of "//a/b/" */
static vmb_code clean_path(const char *path, char **out, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(1024 * 1024);
    const char *p = path;
    while (*p != '\0') {
        size_t slashes = strspn(p, "/");
        size_t len = strcspn(p + slashes, "/");
        if (len > 0) {
            vmbi_buf_addc(&b, '/');
            vmbi_buf_add(&b, p + slashes, len);
        }
        p += slashes + len;
    }
    vmb_code rc = vmbi_buf_take(&b, out, NULL, err, "path");
    vmbi_buf_free(&b);
    return rc;
}

vmb_code vmbi_ls(vmbi_repo *r, const vmbi_snapshot *s, const vmbi_ls_options *o, vmb_job *job,
                 vmbi_ops_json_fn fn, void *user, vmb_error **err)
{
    listing l = {.fn = fn, .user = user, .recursive = o->recursive,
                 .line = VMBI_BUF_INIT(MAX_LINE), .path = VMBI_BUF_INIT(1024 * 1024)};
    vmbi_tree_walk w = {.repo = r, .job = job, .visit = visit, .user = &l};
    vmbi_node node = {0};
    vmbi_repo_id root = s->tree;
    char *base = NULL;
    vmb_code rc = clean_path(o->path != NULL ? o->path : "", &base, err);
    bool whole = rc == VMB_OK && base[0] == '\0';
    if (rc == VMB_OK && !whole) {
        rc = vmbi_tree_find(r, &s->tree, base, &node, err);
        rc = rc == VMB_OK ? print_one(&l, base, &node, err) : rc;
        root = node.subtree;
    }
    l.base = base;
    if (rc == VMB_OK && (whole || node.has_subtree)) {
        rc = vmbi_tree_walk_run(&w, &root, err);
    }
    vmbi_node_done(&node);
    vmbi_free(base);
    vmbi_buf_free(&l.line);
    vmbi_buf_free(&l.path);
    return rc;
}

typedef struct dumping {
    vmbi_dump_fn fn;
    void *user;
} dumping;

static vmb_code dump_blob(void *user, size_t i, const void *data, size_t len, vmb_error *why,
                          vmb_error **err)
{
    const dumping *d = user;
    (void)i;
    return data != NULL ? d->fn(d->user, data, len, err)
                        : vmbi_fail(err, vmb_error_code(why), "%s", vmb_error_message(why));
}

vmb_code vmbi_dump(vmbi_repo *r, const vmbi_snapshot *s, const char *path, vmb_job *job,
                   vmbi_dump_fn fn, void *user, vmb_error **err)
{
    dumping d = {fn, user};
    vmbi_node node = {0};
    vmb_code rc = vmbi_tree_find(r, &s->tree, path, &node, err);
    if (rc == VMB_OK && node.type != VMBI_NODE_FILE) {
        rc = vmbi_fail(err, VMB_E_ARG, "%.1000s is no file, but a %s", path,
                       vmbi_node_type_name(node.type));
    }
    if (rc == VMB_OK) {
        rc = vmbi_tree_content(r, &node, job, dump_blob, &d, err);
    }
    vmbi_node_done(&node);
    return rc;
}
