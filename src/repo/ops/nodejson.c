/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/ops/nodejson.h"

#include <string.h>

static void add_string(vmbi_buf *out, const char *key, const char *s)
{
    vmbi_buf_addf(out, "\"%s\":", key);
    vmbi_buf_add_json_string(out, s, strlen(s));
}

static void add_number(vmbi_buf *out, const char *key, uint64_t v)
{
    if (v != 0) {
        vmbi_buf_addf(out, ",\"%s\":%llu", key, (unsigned long long)v);
    }
}

static void add_permissions(vmbi_buf *out, uint32_t mode)
{
    char text[VMBI_NODE_MODE_SIZE];
    vmbi_node_mode_text(mode, text);
    vmbi_buf_addf(out, ",\"permissions\":\"%s\"", text);
}

static void add_times(vmbi_buf *out, const vmbi_node *n)
{
    vmbi_node_print_time(out, "mtime", n->mtime);
    vmbi_node_print_time(out, "atime", n->atime);
    vmbi_node_print_time(out, "ctime", n->ctime);
}

void vmbi_nodejson_ls(const vmbi_node *n, const char *path, vmbi_buf *out)
{
    vmbi_buf_addc(out, '{');
    add_string(out, "name", n->name);
    vmbi_buf_addf(out, ",\"type\":\"%s\",", vmbi_node_type_name(n->type));
    add_string(out, "path", path);
    vmbi_buf_addf(out, ",\"uid\":%u,\"gid\":%u", n->uid, n->gid);
    if (n->type == VMBI_NODE_FILE) {
        vmbi_buf_addf(out, ",\"size\":%llu", (unsigned long long)n->size);
    }
    add_number(out, "mode", n->mode);
    add_permissions(out, n->mode);
    add_times(out, n);
    add_number(out, "inode", n->inode);
    vmbi_buf_adds(out, ",\"message_type\":\"node\",\"struct_type\":\"node\"}");
}

void vmbi_nodejson_find(const vmbi_node *n, const char *path, vmbi_buf *out)
{
    vmbi_buf_addc(out, '{');
    add_string(out, "path", path);
    add_permissions(out, n->mode);
    vmbi_buf_addf(out, ",\"type\":\"%s\"", vmbi_node_type_name(n->type));
    add_number(out, "mode", n->mode);
    add_times(out, n);
    vmbi_buf_addf(out, ",\"uid\":%u,\"gid\":%u", n->uid, n->gid);
    const char *const names[] = {"user", n->user, "group", n->group};
    for (size_t i = 0; i < 4; i += 2) {
        if (names[i + 1] != NULL && names[i + 1][0] != '\0') {
            vmbi_buf_addc(out, ',');
            add_string(out, names[i], names[i + 1]);
        }
    }
    add_number(out, "device_id", n->device_id);
    add_number(out, "size", n->size);
    add_number(out, "links", n->links);
    if (n->linktarget != NULL && n->linktarget[0] != '\0') {
        vmbi_buf_addc(out, ',');
        add_string(out, "linktarget", n->linktarget);
    }
    vmbi_buf_addc(out, '}');
}
