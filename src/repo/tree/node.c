/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tree/node.h"

#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "repo/tree/nodescan.h"

enum { MAX_NAME = 4096 }; /* Linux allows 255 bytes; a quoted byte takes up to 10 */

/* Bits of Go's FileMode. */
enum {
    GO_STICKY = 1 << 20,
    GO_CHARDEV = 1 << 21,
    GO_SETGID = 1 << 22,
    GO_SETUID = 1 << 23,
    GO_SOCKET = 1 << 24,
    GO_FIFO = 1 << 25,
    GO_DEVICE = 1 << 26,
    GO_SYMLINK = 1 << 27,
    GO_IRREGULAR = 1 << 19
};
#define GO_DIR (UINT32_C(1) << 31)

static const char *const type_names[] = {"file",    "dir",  "symlink", "dev",
                                         "chardev", "fifo", "socket",  "irregular"};

void vmbi_node_done(vmbi_node *n)
{
    vmbi_free(n->name);
    vmbi_free(n->user);
    vmbi_free(n->group);
    vmbi_free(n->linktarget);
    for (size_t i = 0; i < n->n_xattrs; i++) {
        vmbi_free(n->xattrs[i].name);
        vmbi_free(n->xattrs[i].value);
    }
    vmbi_free(n->xattrs);
    vmbi_free(n->content);
    memset(n, 0, sizeof(*n));
}

vmbi_node_type vmbi_node_type_of(uint32_t st_mode)
{
    switch (st_mode & S_IFMT) {
    case S_IFREG:
        return VMBI_NODE_FILE;
    case S_IFDIR:
        return VMBI_NODE_DIR;
    case S_IFLNK:
        return VMBI_NODE_SYMLINK;
    case S_IFBLK:
        return VMBI_NODE_DEV;
    case S_IFCHR:
        return VMBI_NODE_CHARDEV;
    case S_IFIFO:
        return VMBI_NODE_FIFO;
    case S_IFSOCK:
        return VMBI_NODE_SOCKET;
    default:
        return VMBI_NODE_IRREGULAR;
    }
}

static const struct {
    uint32_t st;
    uint32_t go;
} type_bits[] = {
    {S_IFDIR, GO_DIR},     {S_IFLNK, GO_SYMLINK},
    {S_IFBLK, GO_DEVICE},  {S_IFCHR, GO_DEVICE | GO_CHARDEV},
    {S_IFIFO, GO_FIFO},    {S_IFSOCK, GO_SOCKET},
};

uint32_t vmbi_node_mode(uint32_t st_mode)
{
    uint32_t go = st_mode & 0777;
    bool known = S_ISREG(st_mode);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(type_bits); i++) {
        if ((st_mode & S_IFMT) == type_bits[i].st) {
            go |= type_bits[i].go;
            known = true;
        }
    }
    go |= known ? 0 : GO_IRREGULAR;
    go |= (st_mode & S_ISUID) != 0 ? GO_SETUID : 0;
    go |= (st_mode & S_ISGID) != 0 ? GO_SETGID : 0;
    go |= (st_mode & S_ISVTX) != 0 ? GO_STICKY : 0;
    return go;
}

uint32_t vmbi_node_st_mode(uint32_t go)
{
    uint32_t st = go & 0777;
    uint32_t type = S_IFREG;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(type_bits); i++) {
        if ((go & type_bits[i].go) == type_bits[i].go) {
            type = type_bits[i].st; /* character devices stand behind block devices */
        }
    }
    st |= (go & GO_SETUID) != 0 ? S_ISUID : 0;
    st |= (go & GO_SETGID) != 0 ? S_ISGID : 0;
    st |= (go & GO_STICKY) != 0 ? S_ISVTX : 0;
    return st | type;
}

const char *vmbi_node_type_name(vmbi_node_type type)
{
    return type_names[type];
}

void vmbi_node_mode_text(uint32_t go_mode, char out[VMBI_NODE_MODE_SIZE])
{
    static const char high[] = "dalTLDpSugct?"; /* from bit 31 down */
    static const char low[] = "rwxrwxrwx";
    size_t n = 0;
    for (size_t i = 0; i < sizeof(high) - 1; i++) {
        if ((go_mode >> (31 - i) & 1) != 0) {
            out[n++] = high[i];
        }
    }
    if (n == 0) {
        out[n++] = '-';
    }
    for (size_t i = 0; i < sizeof(low) - 1; i++) {
        out[n++] = (go_mode >> (8 - i) & 1) != 0 ? low[i] : '-';
    }
    out[n] = '\0';
}

/* ---- printing ------------------------------------------------------------------------------ */

/* Nodes are printed by the million: no formatting by text. */
static void print_key(vmbi_buf *out, const char *key)
{
    vmbi_buf_add(out, ",\"", 2);
    vmbi_buf_adds(out, key);
    vmbi_buf_add(out, "\":", 2);
}

static void print_string(vmbi_buf *out, const char *key, const char *s)
{
    print_key(out, key);
    vmbi_buf_add_json_string(out, s, strlen(s));
}

static void print_any_number(vmbi_buf *out, const char *key, uint64_t v)
{
    char digits[20];
    size_t n = sizeof(digits);
    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    print_key(out, key);
    vmbi_buf_add(out, digits + n, sizeof(digits) - n);
}

static void print_number(vmbi_buf *out, const char *key, uint64_t v)
{
    if (v != 0) {
        print_any_number(out, key, v);
    }
}

/* RFC 3339 with nanoseconds, zeros at the end of the fraction left out. */
void vmbi_node_print_time(vmbi_buf *out, const char *key, struct timespec t)
{
    char text[VMBI_RFC3339_SIZE];
    int64_t seconds = t.tv_sec; /* years 1678 to 2261 fit; others are clamped like restic's */
    const int64_t limit = INT64_C(9223372035);
    seconds = seconds > limit ? limit : seconds < -limit ? -limit : seconds;
    vmbi_format_rfc3339(seconds * VMBI_SECOND, text);
    print_key(out, key);
    vmbi_buf_addc(out, '"');
    vmbi_buf_add(out, text, 19);
    if (t.tv_nsec != 0) {
        char fraction[12];
        int n = 9;
        long v = t.tv_nsec;
        for (int i = 8; i >= 0; i--) {
            fraction[i] = (char)('0' + v % 10);
            v /= 10;
        }
        while (n > 1 && fraction[n - 1] == '0') {
            n--;
        }
        vmbi_buf_addc(out, '.');
        vmbi_buf_add(out, fraction, (size_t)n);
    }
    vmbi_buf_adds(out, "Z\"");
}

static void print_bytes(vmbi_buf *out, const uint8_t *data, size_t len)
{
    size_t size = vmbi_base64_size(len);
    vmbi_buf_addc(out, '"');
    vmbi_buf_reserve(out, size);
    if (out->status == VMB_OK) {
        vmbi_base64(data, len, out->data + out->len);
        out->len += size - 1;
    }
    vmbi_buf_addc(out, '"');
}

static void print_xattrs(const vmbi_node *n, vmbi_buf *out)
{
    if (n->n_xattrs == 0) {
        return;
    }
    vmbi_buf_adds(out, ",\"extended_attributes\":[");
    for (size_t i = 0; i < n->n_xattrs; i++) {
        vmbi_buf_adds(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        vmbi_buf_add_json_string(out, n->xattrs[i].name, strlen(n->xattrs[i].name));
        vmbi_buf_adds(out, ",\"value\":");
        print_bytes(out, n->xattrs[i].value, n->xattrs[i].len);
        vmbi_buf_addc(out, '}');
    }
    vmbi_buf_addc(out, ']');
}

static void print_id(const vmbi_repo_id *id, vmbi_buf *out)
{
    char hex[VMBI_REPO_HEX_SIZE];
    vmbi_repo_id_hex(id, hex);
    vmbi_buf_addc(out, '"');
    vmbi_buf_add(out, hex, VMBI_REPO_HEX_SIZE - 1);
    vmbi_buf_addc(out, '"');
}

static void print_content(const vmbi_node *n, vmbi_buf *out)
{
    vmbi_buf_adds(out, ",\"content\":");
    if (n->type != VMBI_NODE_FILE) {
        vmbi_buf_adds(out, "null");
        return;
    }
    vmbi_buf_addc(out, '[');
    for (size_t i = 0; i < n->n_content; i++) {
        if (i > 0) {
            vmbi_buf_addc(out, ',');
        }
        print_id(&n->content[i], out);
    }
    vmbi_buf_addc(out, ']');
}

void vmbi_node_print(const vmbi_node *n, vmbi_buf *out)
{
    vmbi_buf quoted = VMBI_BUF_INIT(MAX_NAME * 10);
    vmbi_go_quote(n->name, strlen(n->name), &quoted);
    vmbi_buf_adds(out, "{\"name\":");
    vmbi_buf_add_json_string(out, quoted.data != NULL ? quoted.data : "", quoted.len);
    if (quoted.status != VMB_OK && out->status == VMB_OK) {
        out->status = quoted.status;
    }
    vmbi_buf_free(&quoted);
    print_key(out, "type");
    vmbi_buf_addc(out, '"');
    vmbi_buf_adds(out, type_names[n->type]);
    vmbi_buf_addc(out, '"');
    print_number(out, "mode", n->mode);
    vmbi_node_print_time(out, "mtime", n->mtime);
    vmbi_node_print_time(out, "atime", n->atime);
    vmbi_node_print_time(out, "ctime", n->ctime);
    print_any_number(out, "uid", n->uid);
    print_any_number(out, "gid", n->gid);
    if (n->user != NULL && n->user[0] != '\0') {
        print_string(out, "user", n->user);
    }
    if (n->group != NULL && n->group[0] != '\0') {
        print_string(out, "group", n->group);
    }
    print_number(out, "inode", n->inode);
    print_number(out, "device_id", n->device_id);
    print_number(out, "size", n->size);
    print_number(out, "links", n->links);
    if (n->linktarget != NULL && n->linktarget[0] != '\0') {
        size_t len = strlen(n->linktarget);
        print_string(out, "linktarget", n->linktarget);
        if (!vmbi_utf8_valid(n->linktarget, len)) {
            vmbi_buf_adds(out, ",\"linktarget_raw\":");
            print_bytes(out, (const uint8_t *)n->linktarget, len);
        }
    }
    print_xattrs(n, out);
    print_number(out, "device", n->device);
    print_content(n, out);
    if (n->has_subtree) {
        vmbi_buf_adds(out, ",\"subtree\":");
        print_id(&n->subtree, out);
    }
    vmbi_buf_addc(out, '}');
}

/* ---- parsing ------------------------------------------------------------------------------- */

static vmb_code bad(vmb_error **err, const char *what)
{
    return vmbi_fail(err, VMB_E_INVALID, "tree node: %s", what);
}

static char *copy_string(const vmbi_json *obj, const char *key)
{
    const char *s = vmbi_json_get_str(obj, key);
    return vmbi_strdup(s != NULL ? s : "");
}

static bool read_time(const vmbi_json *obj, const char *key, struct timespec *out)
{
    int64_t ns = 0;
    const char *s = vmbi_json_get_str(obj, key);
    if (s == NULL || !vmbi_parse_rfc3339(s, &ns)) {
        return false;
    }
    int64_t seconds = ns / VMBI_SECOND - (ns % VMBI_SECOND < 0 ? 1 : 0);
    out->tv_sec = (time_t)seconds;
    out->tv_nsec = (long)(ns - seconds * VMBI_SECOND);
    return true;
}

static uint64_t number(const vmbi_json *obj, const char *key)
{
    int64_t v = vmbi_json_int(vmbi_json_get(obj, key), 0);
    return v > 0 ? (uint64_t)v : 0;
}

/* strlen differs when the name holds a NUL */
static bool name_is_safe(const char *name, size_t len)
{
    return len > 0 && strlen(name) == len && strchr(name, '/') == NULL &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static vmb_code read_name(const vmbi_json *obj, vmbi_node *n, vmb_error **err)
{
    const vmbi_json *v = vmbi_json_get(obj, "name");
    const char *s = vmbi_json_str(v);
    char raw[MAX_NAME];
    size_t len = 0;
    if (s == NULL || !vmbi_go_unquote(s, vmbi_json_str_len(v), raw, sizeof(raw), &len)) {
        return bad(err, "its name is missing or malformed");
    }
    if (!name_is_safe(raw, len)) {
        return bad(err, "its name would lead out of its directory");
    }
    n->name = vmbi_strdup(raw);
    return n->name != NULL ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code read_content(const vmbi_json *obj, vmbi_node *n, vmb_error **err)
{
    const vmbi_json *list = vmbi_json_get(obj, "content");
    size_t count = vmbi_json_len(list);
    n->content = vmbi_alloc_array(count, sizeof(*n->content));
    if (n->content == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < count; i++) {
        const vmbi_json *v = vmbi_json_at(list, i);
        const char *hex = vmbi_json_str(v);
        if (hex == NULL || !vmbi_repo_id_parse(hex, vmbi_json_str_len(v), &n->content[i])) {
            return bad(err, "its content has something that is no ID");
        }
    }
    n->n_content = count;
    return VMB_OK;
}

static vmb_code read_subtree(const vmbi_json *obj, vmbi_node *n, vmb_error **err)
{
    const vmbi_json *v = vmbi_json_get(obj, "subtree");
    const char *hex = vmbi_json_str(v);
    if (hex == NULL) {
        return n->type == VMBI_NODE_DIR ? bad(err, "a directory without a subtree") : VMB_OK;
    }
    if (!vmbi_repo_id_parse(hex, vmbi_json_str_len(v), &n->subtree)) {
        return bad(err, "its subtree is no ID");
    }
    n->has_subtree = true;
    return VMB_OK;
}

static vmb_code read_xattrs(const vmbi_json *obj, vmbi_node *n, vmb_error **err)
{
    const vmbi_json *list = vmbi_json_get(obj, "extended_attributes");
    size_t count = vmbi_json_len(list);
    if (count == 0) {
        return VMB_OK;
    }
    n->xattrs = vmbi_zalloc(count * sizeof(*n->xattrs));
    if (n->xattrs == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < count; i++) {
        const vmbi_json *v = vmbi_json_at(list, i);
        const char *value = vmbi_json_get_str(v, "value");
        vmbi_node_xattr *x = &n->xattrs[i];
        n->n_xattrs = i + 1;
        x->name = copy_string(v, "name");
        if (x->name == NULL) {
            return vmbi_fail_nomem(err);
        }
        vmb_code rc = vmbi_unbase64(value != NULL ? value : "", value != NULL ? strlen(value) : 0,
                                    &x->value, &x->len, err);
        if (rc != VMB_OK) {
            return rc;
        }
    }
    return VMB_OK;
}

static vmb_code read_linktarget(const vmbi_json *obj, vmbi_node *n, vmb_error **err)
{
    const char *raw = vmbi_json_get_str(obj, "linktarget_raw");
    if (raw != NULL) {
        uint8_t *bytes = NULL;
        size_t len = 0;
        vmb_code rc = vmbi_unbase64(raw, strlen(raw), &bytes, &len, err);
        if (rc == VMB_OK) {
            n->linktarget = vmbi_strndup((const char *)bytes, len);
            vmbi_free(bytes);
        }
        return rc != VMB_OK || n->linktarget != NULL ? rc : vmbi_fail_nomem(err);
    }
    if (n->type != VMBI_NODE_SYMLINK) {
        return VMB_OK;
    }
    n->linktarget = copy_string(obj, "linktarget");
    return n->linktarget != NULL ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code read_type(const vmbi_json *obj, vmbi_node *n, vmb_error **err)
{
    const char *type = vmbi_json_get_str(obj, "type");
    for (size_t i = 0; type != NULL && i < VMBI_ARRAY_LEN(type_names); i++) {
        if (strcmp(type, type_names[i]) == 0) {
            n->type = (vmbi_node_type)i;
            return VMB_OK;
        }
    }
    return bad(err, "its type is unknown");
}

vmb_code vmbi_node_parse(const char *json, size_t len, vmbi_node *out, vmb_error **err)
{
    return vmbi_node_scan(json, len, out) ? VMB_OK : vmbi_node_parse_full(json, len, out, err);
}

vmb_code vmbi_node_parse_full(const char *json, size_t len, vmbi_node *out, vmb_error **err)
{
    vmbi_json *obj = NULL;
    vmbi_node n = {0};
    vmb_code rc = vmbi_json_parse(json, len, "tree node", &obj, err);
    if (rc == VMB_OK) {
        rc = read_name(obj, &n, err);
    }
    if (rc == VMB_OK) {
        rc = read_type(obj, &n, err);
    }
    if (rc == VMB_OK && (!read_time(obj, "mtime", &n.mtime) || !read_time(obj, "atime", &n.atime) ||
                         !read_time(obj, "ctime", &n.ctime))) {
        rc = bad(err, "one of its times is malformed");
    }
    if (rc == VMB_OK) {
        n.mode = (uint32_t)number(obj, "mode");
        n.uid = (uint32_t)number(obj, "uid");
        n.gid = (uint32_t)number(obj, "gid");
        n.inode = number(obj, "inode");
        n.device_id = number(obj, "device_id");
        n.size = number(obj, "size");
        n.links = number(obj, "links");
        n.device = number(obj, "device");
        n.user = copy_string(obj, "user");
        n.group = copy_string(obj, "group");
        rc = n.user != NULL && n.group != NULL ? read_content(obj, &n, err) : vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        rc = read_subtree(obj, &n, err);
    }
    if (rc == VMB_OK) {
        rc = read_xattrs(obj, &n, err);
    }
    if (rc == VMB_OK) {
        rc = read_linktarget(obj, &n, err);
    }
    vmbi_json_free(obj);
    if (rc != VMB_OK) {
        vmbi_node_done(&n);
        return rc;
    }
    *out = n;
    return VMB_OK;
}
