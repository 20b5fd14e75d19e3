/* SPDX-License-Identifier: Apache-2.0 */
/* The fast way to read a node: over its bytes, for nodes as they nearly always are. Whatever is
 * out of the ordinary, wrong things too, is left to the full parser. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/strs.h"
#include "codec/jscan.h"
#include "repo/tree/nodescan.h"

enum { SHORT_STRING = 1024 };

enum field {
    F_NAME,
    F_TYPE,
    F_MODE,
    F_MTIME,
    F_ATIME,
    F_CTIME,
    F_UID,
    F_GID,
    F_USER,
    F_GROUP,
    F_INODE,
    F_DEVICE_ID,
    F_SIZE,
    F_LINKS,
    F_CONTENT,
    F_SUBTREE,
    FIELDS
};

static const char *const field_names[FIELDS] = {
    "name", "type", "mode",  "mtime",     "atime", "ctime", "uid",     "gid",
    "user", "group", "inode", "device_id", "size",  "links", "content", "subtree"};

static size_t field_of(vmbi_slice key)
{
    size_t i = 0;
    while (i < FIELDS && (strlen(field_names[i]) != key.len ||
                          memcmp(field_names[i], key.p, key.len) != 0)) {
        i++;
    }
    return i;
}

static bool scan_number(vmbi_slice raw, uint64_t max, uint64_t *out)
{
    *out = 0;
    return raw.p == NULL || ((raw.p[0] != '0' || raw.len == 1) &&
                             vmbi_parse_u64(raw.p, raw.len, out) && *out <= max);
}

static bool scan_time(vmbi_slice raw, struct timespec *out)
{
    char text[48];
    int64_t ns = 0;
    if (raw.p == NULL || memchr(raw.p, '\\', raw.len) != NULL || !vmbi_jscan_string(raw, text, sizeof(text)) ||
        !vmbi_parse_rfc3339(text, &ns)) {
        return false;
    }
    int64_t seconds = ns / VMBI_SECOND - (ns % VMBI_SECOND < 0 ? 1 : 0);
    out->tv_sec = (time_t)seconds;
    out->tv_nsec = (long)(ns - seconds * VMBI_SECOND);
    return true;
}

static char *scan_text(vmbi_slice raw)
{
    char text[SHORT_STRING] = "";
    if (raw.p != NULL && (memchr(raw.p, '\\', raw.len) != NULL ||
                          !vmbi_jscan_string(raw, text, sizeof(text)))) {
        return NULL;
    }
    return vmbi_utf8_valid(text, strlen(text)) ? vmbi_strdup(text) : NULL;
}

/* Escapes, and what is no UTF-8, are rare in names. */
static char *scan_name(vmbi_slice raw)
{
    if (raw.p == NULL || raw.len < 3 || raw.len > SHORT_STRING || raw.p[0] != '"') {
        return NULL;
    }
    const char *name = raw.p + 1;
    size_t len = raw.len - 2;
    bool dots = (len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.');
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)name[i] < 0x20 || name[i] == '\\' || name[i] == '/' || name[i] == '"') {
            return NULL;
        }
    }
    return !dots && vmbi_utf8_valid(name, len) ? vmbi_strndup(name, len) : NULL;
}

static bool scan_id(vmbi_slice raw, vmbi_repo_id *out)
{
    return raw.len == 2 * VMBI_REPO_ID_SIZE + 2 && raw.p[0] == '"' &&
           vmbi_repo_id_parse(raw.p + 1, raw.len - 2, out);
}

static bool scan_content(vmbi_slice raw, vmbi_node *n)
{
    vmbi_jscan s;
    vmbi_slice item;
    int more = 0;
    if (raw.p == NULL || raw.p[0] != '[' || !vmbi_jscan_array(&s, raw.p, raw.len)) {
        return false;
    }
    /* each ID takes 67 bytes with its comma */
    n->content = vmbi_alloc_array(raw.len / (2 * VMBI_REPO_ID_SIZE + 2) + 1, sizeof(*n->content));
    if (n->content == NULL) {
        return false;
    }
    while ((more = vmbi_jscan_element(&s, &item)) == 1) {
        if (!scan_id(item, &n->content[n->n_content])) {
            return false;
        }
        n->n_content++;
    }
    return more == 0;
}

static bool scan_members(const char *json, size_t len, vmbi_slice v[FIELDS])
{
    vmbi_jscan s;
    vmbi_slice key;
    vmbi_slice value;
    int more = 0;
    if (!vmbi_jscan_object(&s, json, len)) {
        return false;
    }
    while ((more = vmbi_jscan_member(&s, &key, &value)) == 1) {
        size_t field = field_of(key);
        if (field == FIELDS || v[field].p != NULL) {
            return false;
        }
        v[field] = value;
    }
    return more == 0;
}

static bool is_text(vmbi_slice raw, const char *text)
{
    return raw.p != NULL && raw.len == strlen(text) && memcmp(raw.p, text, raw.len) == 0;
}

static bool scan_numbers(const vmbi_slice v[FIELDS], vmbi_node *n)
{
    uint64_t mode = 0;
    uint64_t uid = 0;
    uint64_t gid = 0;
    bool ok = scan_number(v[F_MODE], UINT32_MAX, &mode) && scan_number(v[F_UID], UINT32_MAX, &uid) &&
              scan_number(v[F_GID], UINT32_MAX, &gid) &&
              scan_number(v[F_INODE], INT64_MAX, &n->inode) &&
              scan_number(v[F_DEVICE_ID], INT64_MAX, &n->device_id) &&
              scan_number(v[F_SIZE], INT64_MAX, &n->size) &&
              scan_number(v[F_LINKS], INT64_MAX, &n->links);
    n->mode = (uint32_t)mode;
    n->uid = (uint32_t)uid;
    n->gid = (uint32_t)gid;
    return ok;
}

bool vmbi_node_scan(const char *json, size_t len, vmbi_node *out)
{
    vmbi_slice v[FIELDS] = {{NULL, 0}};
    vmbi_node n = {0};
    bool ok = scan_members(json, len, v);
    bool file = ok && is_text(v[F_TYPE], "\"file\"");
    n.type = file ? VMBI_NODE_FILE : VMBI_NODE_DIR;
    ok = ok && (file || is_text(v[F_TYPE], "\"dir\"")) && scan_numbers(v, &n);
    ok = ok && scan_time(v[F_MTIME], &n.mtime) && scan_time(v[F_ATIME], &n.atime) &&
         scan_time(v[F_CTIME], &n.ctime);
    if (ok && file) {
        ok = scan_content(v[F_CONTENT], &n) && v[F_SUBTREE].p == NULL;
    } else if (ok) {
        n.has_subtree = true;
        ok = is_text(v[F_CONTENT], "null") && scan_id(v[F_SUBTREE], &n.subtree);
    }
    if (ok) {
        n.name = scan_name(v[F_NAME]);
        n.user = scan_text(v[F_USER]);
        n.group = scan_text(v[F_GROUP]);
        ok = n.name != NULL && n.user != NULL && n.group != NULL;
    }
    if (!ok) {
        vmbi_node_done(&n);
        return false;
    }
    *out = n;
    return true;
}
