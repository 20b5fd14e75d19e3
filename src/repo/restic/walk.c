/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/restic/walk.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/jscan.h"

static vmb_code tell(vmbi_walk *w, const char *kind, const char *file, const vmbi_repo_id *blob,
                     const char *message, vmb_error **err)
{
    char hex[VMBI_REPO_HEX_SIZE] = "";

    if (blob != NULL) {
        vmbi_repo_id_hex(blob, hex);
    }
    return w->problem(w->user, kind, file, hex, message, err);
}

static vmb_code push(vmbi_walk *w, const vmbi_repo_id *tree, vmb_error **err)
{
    if (w->stack_n == w->stack_cap) {
        const size_t cap = w->stack_cap == 0 ? 256 : w->stack_cap * 2;
        vmbi_repo_id *v = vmbi_realloc_array(w->stack, cap, sizeof(*v));

        if (v == NULL) {
            return vmbi_fail_nomem(err);
        }
        w->stack = v;
        w->stack_cap = cap;
    }
    w->stack[w->stack_n++] = *tree;
    return VMB_OK;
}

/* Marks a blob; *fresh: for the first time. A blob that the index does not know is a problem. */
static vmb_code mark(vmbi_walk *w, vmbi_blob_type type, const vmbi_repo_id *id,
                     const vmbi_repo_id *parent, bool *fresh, vmb_error **err)
{
    const size_t record = vmbi_restic_index_record(w->r->index, type, id);
    vmbi_buf text = VMBI_BUF_INIT(200);
    char hex[VMBI_REPO_HEX_SIZE];
    vmb_code code = VMB_OK;

    *fresh = false;
    if (record < w->used_records) {
        *fresh = !vmbi_walk_is_used(w, record);
        w->used[record / 8] = (uint8_t)(w->used[record / 8] | 1u << (record % 8));
        return VMB_OK;
    }
    if (parent != NULL) {
        vmbi_repo_id_hex(parent, hex);
        vmbi_buf_addf(&text, "needed by tree %s, and in no index", hex);
    } else {
        vmbi_buf_adds(&text, "needed by a snapshot, and in no index");
    }
    code = tell(w, type == VMBI_BLOB_TREE ? "tree" : "blob", "", id,
                text.data != NULL ? text.data : "in no index", err);
    vmbi_buf_free(&text);
    return code;
}

static bool is_null(vmbi_slice v)
{
    return v.p == NULL || (v.len == 4 && memcmp(v.p, "null", 4) == 0);
}

static bool is_id(vmbi_slice v, vmbi_repo_id *out)
{
    return v.len == 2 * VMBI_REPO_ID_SIZE + 2 && v.p[0] == '"' &&
           vmbi_repo_id_parse(v.p + 1, v.len - 2, out);
}

static bool is_string(vmbi_slice v, const char *text)
{
    return v.len == strlen(text) + 2 && v.p[0] == '"' && memcmp(v.p + 1, text, v.len - 2) == 0;
}

static vmb_code walk_content(vmbi_walk *w, const vmbi_repo_id *tree, vmbi_slice content,
                             vmb_error **err)
{
    vmbi_jscan s;
    vmbi_slice item;
    vmbi_repo_id id;
    bool fresh = false;
    int rc = 0;
    vmb_code code = VMB_OK;

    if (!vmbi_jscan_array(&s, content.p, content.len)) {
        return tell(w, "tree", "", tree, "the content of a file is no list", err);
    }
    while (code == VMB_OK && (rc = vmbi_jscan_element(&s, &item)) == 1) {
        code = is_id(item, &id) ? mark(w, VMBI_BLOB_DATA, &id, tree, &fresh, err)
                                : tell(w, "tree", "", tree, "the content of a file holds no ID", err);
    }
    return code == VMB_OK && rc != 0 ? tell(w, "tree", "", tree, "malformed JSON", err) : code;
}

typedef struct node {
    vmbi_slice name, type, content, subtree;
} node;

static bool scan_node(vmbi_slice raw, node *n)
{
    vmbi_jscan s;
    vmbi_slice key, value;
    int rc = 0;

    memset(n, 0, sizeof(*n));
    if (!vmbi_jscan_object(&s, raw.p, raw.len)) {
        return false;
    }
    while ((rc = vmbi_jscan_member(&s, &key, &value)) == 1) {
        if (key.len == 4 && memcmp(key.p, "name", 4) == 0) {
            n->name = value;
        } else if (key.len == 4 && memcmp(key.p, "type", 4) == 0) {
            n->type = value;
        } else if (key.len == 7 && memcmp(key.p, "content", 7) == 0) {
            n->content = value;
        } else if (key.len == 7 && memcmp(key.p, "subtree", 7) == 0) {
            n->subtree = value;
        }
    }
    return rc == 0;
}

static bool bad_name(vmbi_slice name)
{
    return name.len < 3 || name.p[0] != '"' || memchr(name.p, '/', name.len) != NULL ||
           is_string(name, ".") || is_string(name, "..");
}

static bool known_type(vmbi_slice type)
{
    static const char *const types[] = {"file", "dir", "symlink", "dev", "chardev", "fifo", "socket",
                                        "irregular"};
    size_t i = 0;

    for (i = 0; type.p != NULL && i < VMBI_ARRAY_LEN(types); i++) {
        if (is_string(type, types[i])) {
            return true;
        }
    }
    return false;
}

static vmb_code walk_node(vmbi_walk *w, const vmbi_repo_id *tree, vmbi_slice raw, vmb_error **err)
{
    node n;
    vmbi_repo_id sub;
    bool fresh = false;
    vmb_code code = VMB_OK;

    if (!scan_node(raw, &n)) {
        return tell(w, "tree", "", tree, "a node is malformed", err);
    }
    if (bad_name(n.name)) {
        code = tell(w, "tree", "", tree, "the name of a node is empty or not allowed", err);
    }
    if (code == VMB_OK && !known_type(n.type)) {
        code = tell(w, "tree", "", tree, "a node has an unknown type", err);
    }
    if (code == VMB_OK && n.type.p != NULL && is_string(n.type, "file") && is_null(n.content)) {
        code = tell(w, "tree", "", tree, "a file has no list of blobs", err);
    }
    if (code == VMB_OK && !is_null(n.content)) {
        code = walk_content(w, tree, n.content, err);
    }
    if (code == VMB_OK && n.type.p != NULL && is_string(n.type, "dir") && is_null(n.subtree)) {
        code = tell(w, "tree", "", tree, "a directory has no tree", err);
    }
    if (code != VMB_OK || is_null(n.subtree)) {
        return code;
    }
    if (!is_id(n.subtree, &sub)) {
        return tell(w, "tree", "", tree, "the tree of a directory is no ID", err);
    }
    code = mark(w, VMBI_BLOB_TREE, &sub, tree, &fresh, err);
    return code == VMB_OK && fresh ? push(w, &sub, err) : code;
}

static vmb_code walk_text(vmbi_walk *w, const vmbi_repo_id *tree, vmb_error **err)
{
    vmbi_jscan s;
    vmbi_slice nodes, item;
    int rc = 0;
    vmb_code code = VMB_OK;

    if (!vmbi_jscan_find(w->text.data, w->text.len, "nodes", &nodes)) {
        return tell(w, "tree", "", tree, "no list of nodes", err);
    }
    if (is_null(nodes)) {
        return VMB_OK;
    }
    if (!vmbi_jscan_array(&s, nodes.p, nodes.len)) {
        return tell(w, "tree", "", tree, "no list of nodes", err);
    }
    while (code == VMB_OK && (rc = vmbi_jscan_element(&s, &item)) == 1) {
        code = walk_node(w, tree, item, err);
    }
    return code == VMB_OK && rc != 0 ? tell(w, "tree", "", tree, "malformed JSON", err) : code;
}

static bool ends_walk(vmb_code code)
{
    return code == VMB_E_CANCELLED || code == VMB_E_TIMEOUT || code == VMB_E_NOMEM ||
           code == VMB_E_NET || code == VMB_E_SERVER;
}

static vmb_code walk_stack(vmbi_walk *w, vmb_error **err)
{
    vmb_code code = VMB_OK;

    while (code == VMB_OK && w->stack_n > 0) {
        const vmbi_repo_id tree = w->stack[--w->stack_n];
        vmb_error *why = NULL;

        code = vmbi_limits_check(&w->r->storage.job->limits, err, "walk over the trees");
        if (code != VMB_OK) {
            break;
        }
        w->trees++;
        code = vmbi_repo_load_blob(&w->r->base, VMBI_BLOB_TREE, &tree, &w->text, &why);
        if (code == VMB_OK) {
            code = walk_text(w, &tree, err);
        } else if (ends_walk(code)) {
            vmbi_error_move(err, &why);
        } else {
            code = tell(w, "tree", "", &tree, vmb_error_message(why), err);
        }
        vmb_error_free(why);
    }
    return code;
}

static vmb_code walk_snapshot(void *user, const char *id, const vmbi_json *snapshot,
                              vmb_error **err)
{
    vmbi_walk *w = user;
    char path[VMBI_RESTIC_PATH];
    vmbi_repo_id own, tree;
    bool fresh = false;
    vmb_code code = VMB_OK;

    if (!vmbi_repo_id_parse(id, strlen(id), &own)) {
        return vmbi_fail(err, VMB_E_INTERNAL, "snapshot %s: no ID", id);
    }
    vmbi_restic_path(path, "snapshots/", &own);
    if (snapshot == NULL) {
        return tell(w, "snapshot", path, NULL, "damaged: it cannot be read", err);
    }
    if (!vmbi_repo_id_parse(vmbi_json_get_str(snapshot, "tree"), 2 * VMBI_REPO_ID_SIZE, &tree)) {
        return vmbi_fail(err, VMB_E_INTERNAL, "snapshot %s: no tree", id); /* was checked */
    }
    code = mark(w, VMBI_BLOB_TREE, &tree, NULL, &fresh, err);
    if (code == VMB_OK && fresh) {
        code = push(w, &tree, err);
    }
    return code == VMB_OK ? walk_stack(w, err) : code;
}

vmb_code vmbi_walk_all(vmbi_walk *w, vmb_error **err)
{
    vmb_code code = VMB_OK;

    w->used_records = vmbi_restic_index_records(w->r->index);
    w->used = vmbi_zalloc(w->used_records / 8 + 1);
    if (w->used == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_buf_init(&w->text, VMBI_REPO_MAX_BLOB);
    code = vmbi_restic_snapshot_list(&w->r->base, walk_snapshot, w, err);
    vmbi_buf_free(&w->text);
    vmbi_free(w->stack);
    w->stack = NULL;
    return code;
}
