/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/positions.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"

enum { MAX_KEYS_BYTES = 64 * 1024 * 1024 };

vmb_code vmbi_positions_new(vmbi_positions **out, vmb_error **err)
{
    vmbi_positions *p = vmbi_zalloc(sizeof(*p));

    if (p == NULL) {
        return vmbi_fail_nomem(err);
    }
    p->n = 1;
    vmbi_buf_init(&p->keys, MAX_KEYS_BYTES);
    *out = p;
    return VMB_OK;
}

void vmbi_positions_free(vmbi_positions *p)
{
    if (p != NULL) {
        vmbi_free(p->nodes);
        vmbi_buf_free(&p->keys);
        vmbi_free(p);
    }
}

vmb_code vmbi_positions_add(vmbi_positions *p, const char *key, int line, int column, uint32_t *out,
                            vmb_error **err)
{
    vmbi_position node = {.line = line, .column = column, .key = VMBI_POSITION_NO_KEY};

    if (p->n >= p->cap) {
        size_t cap = p->cap == 0 ? 64 : p->cap * 2;
        vmbi_position *nodes = vmbi_realloc_array(p->nodes, cap, sizeof(*nodes));

        if (nodes == NULL) {
            return vmbi_fail_nomem(err);
        }
        p->nodes = nodes;
        p->cap = cap;
    }
    if (key != NULL) {
        node.key = (uint32_t)p->keys.len;
        vmbi_buf_add(&p->keys, key, strlen(key) + 1);
        if (p->keys.status != VMB_OK) {
            return vmbi_buf_check(&p->keys, err, "keys of a document");
        }
    }
    *out = (uint32_t)p->n; /* documents are far below 2^32 nodes */
    p->nodes[p->n++] = node;
    return VMB_OK;
}

void vmbi_positions_link(vmbi_positions *p, uint32_t parent, uint32_t *last, uint32_t node)
{
    if (*last == 0) {
        p->nodes[parent].first_child = node;
    } else {
        p->nodes[*last].next = node;
    }
    *last = node;
}

const char *vmbi_positions_key(const vmbi_positions *p, uint32_t node)
{
    uint32_t key = p->nodes[node].key;

    return key == VMBI_POSITION_NO_KEY ? NULL : p->keys.data + key;
}

uint32_t vmbi_positions_child(const vmbi_positions *p, uint32_t parent, const char *key,
                              size_t key_len)
{
    uint32_t i = p->nodes[parent].first_child;

    for (; i != 0; i = p->nodes[i].next) {
        const char *k = vmbi_positions_key(p, i);

        if (k != NULL && strlen(k) == key_len && memcmp(k, key, key_len) == 0) {
            return i;
        }
    }
    return 0;
}

static uint32_t element(const vmbi_positions *p, uint32_t parent, const char *digits, size_t len)
{
    uint64_t n;
    uint32_t i = p->nodes[parent].first_child;

    if (!vmbi_parse_u64(digits, len, &n)) {
        return 0;
    }
    for (; i != 0 && n > 0; n--) {
        i = p->nodes[i].next;
    }
    return i;
}

/* One step of a path: `key`, `.key`, `[3]` or `["key"]`; moves *path behind it. 0 when it leads
 * nowhere. */
static uint32_t step(const vmbi_positions *p, uint32_t node, const char **path)
{
    const char *s = *path;
    size_t n;

    if (s[0] == '[' && s[1] == '"') {
        const char *close = strstr(s + 2, "\"]");

        if (close == NULL) {
            return 0;
        }
        *path = close + 2;
        return vmbi_positions_child(p, node, s + 2, (size_t)(close - s) - 2);
    }
    if (s[0] == '[') {
        n = strcspn(s, "]");
        if (s[n] == '\0') {
            return 0;
        }
        *path = s + n + 1;
        return element(p, node, s + 1, n - 1);
    }
    if (s[0] == '.') {
        s++;
    }
    n = strcspn(s, ".[");
    *path = s + n;
    return vmbi_positions_child(p, node, s, n);
}

bool vmbi_positions_find(const vmbi_positions *p, const char *path, int *line, int *column)
{
    uint32_t node;

    if (p == NULL || p->root == 0) {
        return false;
    }
    node = p->root;
    while (*path != '\0' && node != 0) {
        node = step(p, node, &path);
    }
    if (node == 0) {
        return false;
    }
    *line = p->nodes[node].line;
    *column = p->nodes[node].column;
    return true;
}

void vmbi_cursor_move(vmbi_cursor *c, const char *to)
{
    for (; c->at < to; c->at++) {
        if (*c->at == '\n') {
            c->line++;
            c->column = 1;
        } else if (((unsigned char)*c->at & 0xc0) != 0x80) {
            c->column++;
        }
    }
}
