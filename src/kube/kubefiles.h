/* SPDX-License-Identifier: Apache-2.0 */
/* A list of kubeconfig files read as one: the first file that names an entry defines it whole. */
#ifndef VMBI_KUBE_KUBEFILES_H
#define VMBI_KUBE_KUBEFILES_H

#include "codec/json.h"
#include "kube/kubeconfig.h"

typedef struct vmbi_kube_file {
    char *path;
    char *dir; /* of path; relative paths in the file start here */
    vmbi_json *doc;
} vmbi_kube_file;

typedef struct vmbi_kube_files {
    vmbi_kube_file *v;
    size_t n;
} vmbi_kube_files;

/* Reads the files that the sources name, those of a list only when they exist; n stays 0 when
 * there is none at all. */
vmb_code vmbi_kube_files_load(const vmbi_kube_sources *sources, vmbi_kube_files *out,
                              vmb_error **err);
void vmbi_kube_files_free(vmbi_kube_files *files);

/* The first non-empty current-context; NULL when there is none. Borrowed. */
const char *vmbi_kube_files_current(const vmbi_kube_files *files);
/* Entry `name` of a section ("clusters", "contexts", "users") and the file it stands in; the
 * value is what stands under the section's singular ("cluster" …). VMB_E_NOT_FOUND lists the names
 * there are. */
vmb_code vmbi_kube_files_find(const vmbi_kube_files *files, const char *section,
                              const char *singular, const char *name, const vmbi_json **out,
                              const vmbi_kube_file **file, vmb_error **err);

#endif
