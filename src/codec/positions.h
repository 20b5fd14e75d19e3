/* SPDX-License-Identifier: Apache-2.0 */
/* Where the values of a document stand: a tree beside the JSON tree. Nodes are numbers (0: none),
 * so that an alias shares the children of its anchor. */
#ifndef VMBI_CODEC_POSITIONS_H
#define VMBI_CODEC_POSITIONS_H

#include "base/buf.h"
#include "codec/yaml.h"

typedef struct vmbi_position {
    int line, column; /* from 1 */
    uint32_t first_child;
    uint32_t next; /* sibling */
    uint32_t key;  /* offset in keys, or VMBI_POSITION_NO_KEY: element of an array */
} vmbi_position;

#define VMBI_POSITION_NO_KEY UINT32_MAX

struct vmbi_positions {
    vmbi_position *nodes; /* nodes[0] is not used */
    size_t n, cap;
    uint32_t root;
    vmbi_buf keys; /* NUL-terminated strings */
};

vmb_code vmbi_positions_new(vmbi_positions **out, vmb_error **err);
/* A new node without parent; key NULL for array elements and the root. */
vmb_code vmbi_positions_add(vmbi_positions *p, const char *key, int line, int column, uint32_t *out,
                            vmb_error **err);
/* Appends node to the children of parent behind *last (0: as the first), and moves *last. */
void vmbi_positions_link(vmbi_positions *p, uint32_t parent, uint32_t *last, uint32_t node);
/* Child of an object; 0 when absent. */
uint32_t vmbi_positions_child(const vmbi_positions *p, uint32_t parent, const char *key,
                              size_t key_len);
/* NULL for the element of an array. */
const char *vmbi_positions_key(const vmbi_positions *p, uint32_t node);

/* Line and column of a byte, counting characters. Callers that ask for rising offsets pass the same
 * cursor again. */
typedef struct vmbi_cursor {
    const char *at;
    int line, column;
} vmbi_cursor;
void vmbi_cursor_move(vmbi_cursor *c, const char *to);

#endif
