/* SPDX-License-Identifier: Apache-2.0 */
/* Every field of a Backup and of a Restore (Velero 1.18, config/crd/v1/bases/velero.io_backups.yaml
 * and …_restores.yaml, and OADP's older names), and paths that address them. */
#ifndef VMBI_MODEL_FIELDS_H
#define VMBI_MODEL_FIELDS_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef enum vmbi_field_type {
    VMBI_FIELD_STRING,
    VMBI_FIELD_BOOL,
    VMBI_FIELD_INT,
    VMBI_FIELD_DURATION, /* a string in Go's form */
    VMBI_FIELD_STRINGS,  /* list of strings */
    VMBI_FIELD_MAP,      /* strings by free keys */
    VMBI_FIELD_OBJECT,   /* members below */
    VMBI_FIELD_OBJECTS,  /* list of objects with members below */
    VMBI_FIELD_ANY       /* not looked into */
} vmbi_field_type;

enum { VMBI_FIELD_NULLABLE = 1, VMBI_FIELD_REQUIRED = 2 };

typedef struct vmbi_field {
    const char *name; /* NULL ends a table */
    vmbi_field_type type;
    unsigned flags;
    const struct vmbi_field *members; /* of OBJECT and OBJECTS */
} vmbi_field;

/* The whole resources, as fields of type OBJECT. */
extern const vmbi_field vmbi_backup_fields;
extern const vmbi_field vmbi_restore_fields;

const vmbi_field *vmbi_fields_find(const vmbi_field *members, const char *name);
/* The field whose name is nearest to a misspelt one; NULL when none is near. */
const char *vmbi_fields_nearest(const vmbi_field *members, const char *name);
/* "text, text": what a value of the type looks like, for messages. */
const char *vmbi_field_type_text(vmbi_field_type type);

enum { VMBI_PATH_MAX_BYTES = 1024, VMBI_PATH_MAX_STEPS = 32 };

typedef struct vmbi_path_step {
    const char *key; /* NULL: an index */
    size_t index;
} vmbi_path_step;

typedef struct vmbi_path {
    char text[VMBI_PATH_MAX_BYTES]; /* keys, NUL-terminated */
    vmbi_path_step steps[VMBI_PATH_MAX_STEPS];
    size_t n;
    vmbi_field_type type; /* of what the path leads to */
} vmbi_path;

/* Parses "spec.hooks.resources[0].pre[0].exec.command" and checks it against the table. Entries of
 * maps: metadata.labels["velero.io/x"] or metadata.labels.velero.io/x. VMB_E_ARG with the nearest
 * known field for anything unknown. The table is that of `root`; the plain one is a Backup's. */
vmb_code vmbi_path_parse_in(const vmbi_field *root, const char *path, vmbi_path *out,
                            vmb_error **err);
vmb_code vmbi_path_parse(const char *path, vmbi_path *out, vmb_error **err);

#endif
