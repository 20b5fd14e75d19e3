/* SPDX-License-Identifier: Apache-2.0 */
/* Validation of a Backup or Restore: the parts share a path that follows the value being looked at. */
#ifndef VMBI_MODEL_VALIDATE_IMPL_H
#define VMBI_MODEL_VALIDATE_IMPL_H

#include "model/backup.h"
#include "model/fields.h"

typedef struct vmbi_checker {
    vmbi_problems *p;
    char path[1024];
    size_t len; /* of path; cut back to leave a member */
    const vmbi_field *root; /* the table of the kind */
    const char *kind;       /* for messages: "Backup" */
} vmbi_checker;

/* Extend the path by a member or an element; return the length to cut back to. */
size_t vmbi_check_enter(vmbi_checker *c, const char *key);
size_t vmbi_check_enter_index(vmbi_checker *c, size_t index);
void vmbi_check_leave(vmbi_checker *c, size_t len);
/* Report on the value at the path. remedy may be NULL. */
void vmbi_check_error(vmbi_checker *c, const char *remedy, const char *fmt, ...) VMBI_PRINTF(3, 4);
void vmbi_check_warning(vmbi_checker *c, const char *remedy, const char *fmt, ...)
    VMBI_PRINTF(3, 4);

/* Types, unknown and missing members of a value, by the table; also all below it. */
void vmbi_check_type(vmbi_checker *c, const vmbi_json *v, const vmbi_field *field);
/* metadata of the resource: names, labels, annotations. */
void vmbi_check_metadata(vmbi_checker *c, const vmbi_json *root);
/* Content of spec, without hooks. */
void vmbi_check_spec(vmbi_checker *c, const vmbi_json *spec);
void vmbi_check_hooks(vmbi_checker *c, const vmbi_json *spec);
/* The same of a Restore, hooks included. */
void vmbi_check_restore(vmbi_checker *c, const vmbi_json *spec);

/* Pieces that several parts use; the path is at the value. Wrong types are passed over. */
void vmbi_check_labels(vmbi_checker *c, const vmbi_json *labels);
void vmbi_check_selector(vmbi_checker *c, const vmbi_json *selector);
void vmbi_check_duration(vmbi_checker *c, const vmbi_json *v, bool negative_allowed);
/* Reports entries of the excluding list that the including one has, too; each once. The path is at
 * the parent of the two. */
void vmbi_check_common(vmbi_checker *c, const vmbi_json *parent, const char *in_field,
                       const char *ex_field);
void vmbi_check_resource_names(vmbi_checker *c, const vmbi_json *list);
/* A pair of lists of resource names, '*' allowed as the only include. */
void vmbi_check_resource_pair(vmbi_checker *c, const vmbi_json *parent, const char *in_field,
                              const char *ex_field);
/* includedNamespaces and excludedNamespaces; labelSelector and orLabelSelectors. */
void vmbi_check_namespaces(vmbi_checker *c, const vmbi_json *spec);
void vmbi_check_selectors(vmbi_checker *c, const vmbi_json *spec);
/* A name of an object (DNS-1123 subdomain) in a field. */
void vmbi_check_name(vmbi_checker *c, const vmbi_json *parent, const char *field,
                     const char *what);
/* A reference {kind: configmap, name}. */
void vmbi_check_configmap(vmbi_checker *c, const vmbi_json *spec, const char *field,
                          const char *what);
/* Namespaces and resources of an entry of hooks.resources. */
void vmbi_check_hook_filters(vmbi_checker *c, const vmbi_json *entry);
void vmbi_check_hook_exec(vmbi_checker *c, const vmbi_json *exec);

#endif
