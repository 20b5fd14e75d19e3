/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of loading a folder: walking files (walk.c), turning documents into objects
 * (objects.c). Private to this provider. */
#ifndef VMBI_CLUSTER_DIR_LOAD_H
#define VMBI_CLUSTER_DIR_LOAD_H

#include "providers/cluster_dir/tree.h"

enum {
    VMBI_DIR_MAX_FILES = 20000,
    VMBI_DIR_MAX_OBJECTS = 200000,
    VMBI_DIR_MAX_FOLDERS = 32, /* nested */
    VMBI_DIR_MAX_LISTS = 4     /* nested */
};
#define VMBI_DIR_MAX_TOTAL_BYTES ((size_t)512 * 1024 * 1024)

/* An object whose kind is not resolved yet: definitions may follow in a later file. */
typedef struct vmbi_dir_pending {
    char *group;
    char *kind;
    vmbi_dir_item *item; /* key holds the plain name until resolved */
} vmbi_dir_pending;

typedef struct vmbi_dir_loader {
    vmbi_dir_tree *tree;
    vmbi_dir_pending *pending;
    size_t n;
    size_t cap;
    size_t bytes;     /* of all files read */
    const char *file; /* the one being read, borrowed from tree->files */
} vmbi_dir_loader;

void vmbi_dir_loader_free(vmbi_dir_loader *ld);
/* Visits files in byte order of their names, folder by folder, and adds their documents. */
vmb_code vmbi_dir_walk(vmbi_dir_loader *ld, const char *path, vmb_error **err);
/* One document of the current file (vmbi_doc_fn). */
vmb_code vmbi_dir_add_document(void *loader, vmbi_json *doc, int line, vmb_error **err);
/* Sorts the pending objects into the tree's resources. */
vmb_code vmbi_dir_resolve(vmbi_dir_loader *ld, vmb_error **err);

#endif
