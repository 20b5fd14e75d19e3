/* SPDX-License-Identifier: Apache-2.0 */
/* One entry of a directory as restic's trees hold it, and its exact JSON: trees are addressed by
 * content, so equal files must give equal bytes (restic internal/data/node.go, Go's encoding/json
 * and strconv.Quote). */
#ifndef VMBI_REPO_TREE_NODE_H
#define VMBI_REPO_TREE_NODE_H

#include <time.h>

#include "repo/repo.h"

typedef enum vmbi_node_type {
    VMBI_NODE_FILE = 0,
    VMBI_NODE_DIR,
    VMBI_NODE_SYMLINK,
    VMBI_NODE_DEV, /* block device */
    VMBI_NODE_CHARDEV,
    VMBI_NODE_FIFO,
    VMBI_NODE_SOCKET,
    VMBI_NODE_IRREGULAR
} vmbi_node_type;

typedef struct vmbi_node_xattr {
    char *name;
    uint8_t *value;
    size_t len;
} vmbi_node_xattr;

typedef struct vmbi_node {
    char *name; /* raw bytes of the name */
    vmbi_node_type type;
    uint32_t mode; /* Go's FileMode; see vmbi_node_mode() */
    struct timespec mtime, atime, ctime;
    uint32_t uid, gid;
    char *user, *group; /* NULL or "": unknown */
    uint64_t inode, device_id, size, links, device;
    char *linktarget; /* raw bytes; NULL when it is no symlink */
    vmbi_node_xattr *xattrs;
    size_t n_xattrs;
    vmbi_repo_id *content; /* of files */
    size_t n_content;
    vmbi_repo_id subtree; /* of directories */
    bool has_subtree;
} vmbi_node;

void vmbi_node_done(vmbi_node *n); /* releases what it owns and zeroes it */
/* Go's FileMode for a Linux st_mode, and back. */
uint32_t vmbi_node_mode(uint32_t st_mode);
uint32_t vmbi_node_st_mode(uint32_t go_mode);
vmbi_node_type vmbi_node_type_of(uint32_t st_mode);

/* Appends the node's JSON, times in UTC. */
void vmbi_node_print(const vmbi_node *n, vmbi_buf *out);
/* Pieces of it: ,"key":"2026-…Z" and the type's name. */
void vmbi_node_print_time(vmbi_buf *out, const char *key, struct timespec t);
const char *vmbi_node_type_name(vmbi_node_type type);
/* Go's text of a FileMode: "drwxr-xr-x". */
#define VMBI_NODE_MODE_SIZE 24
void vmbi_node_mode_text(uint32_t go_mode, char out[VMBI_NODE_MODE_SIZE]);
/* Reads one node of a tree (an element of "nodes"). Names that are empty, "." or "..", or that
 * contain '/' or NUL, are refused: they lead out of the target of a restore. */
vmb_code vmbi_node_parse(const char *json, size_t len, vmbi_node *out, vmb_error **err);
/* The same without the fast way for ordinary nodes, for tests. */
vmb_code vmbi_node_parse_full(const char *json, size_t len, vmbi_node *out, vmb_error **err);

/* Go's strconv.Quote without the quotes, and its inverse (false when malformed or longer than
 * size - 1 bytes). */
void vmbi_go_quote(const char *s, size_t len, vmbi_buf *out);
bool vmbi_go_unquote(const char *s, size_t len, char *out, size_t size, size_t *out_len);

#endif
