/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/kubefiles.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/yaml.h"
#include "kube/file.h"

enum { FILES_MAX = 64, NAMES_SIZE = 400 };

static const char *const sections[] = {"clusters", "contexts", "users"};

static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return vmbi_strdup(".");
    }
    return slash == path ? vmbi_strdup("/") : vmbi_strndup(path, (size_t)(slash - path));
}

/* Every entry of a section is an object with a name that stands once. */
static vmb_code check_section(const vmbi_kube_file *file, const char *section, vmb_error **err)
{
    const vmbi_json *list = vmbi_json_get(file->doc, section);
    if (!vmbi_json_is_null(list) && !vmbi_json_is_array(list)) {
        return vmbi_fail(err, VMB_E_INVALID, "kubeconfig %s: %s: must be a list, not %s",
                         file->path, section, vmbi_json_type_name(list));
    }
    size_t n = vmbi_json_len(list);
    for (size_t i = 0; i < n; i++) {
        const char *name = vmbi_json_get_str(vmbi_json_at(list, i), "name");
        if (name == NULL) {
            return vmbi_fail(err, VMB_E_INVALID, "kubeconfig %s: %s[%zu]: no name", file->path,
                             section, i);
        }
        for (size_t k = 0; k < i; k++) {
            if (vmbi_streq(name, vmbi_json_get_str(vmbi_json_at(list, k), "name"))) {
                return vmbi_fail(err, VMB_E_INVALID, "kubeconfig %s: %s: \"%s\" stands twice",
                                 file->path, section, name);
            }
        }
    }
    return VMB_OK;
}

static vmb_code check_doc(const vmbi_kube_file *file, vmb_error **err)
{
    const char *kind = vmbi_json_get_str(file->doc, "kind");
    const char *version = vmbi_json_get_str(file->doc, "apiVersion");
    const vmbi_json *current = vmbi_json_get(file->doc, "current-context");
    if (!vmbi_json_is_object(file->doc)) {
        return vmbi_fail(err, VMB_E_INVALID, "kubeconfig %s: must be a mapping, not %s",
                         file->path, vmbi_json_type_name(file->doc));
    }
    if ((kind != NULL && strcmp(kind, "Config") != 0) ||
        (version != NULL && strcmp(version, "v1") != 0)) {
        return vmbi_fail(err, VMB_E_INVALID, "kubeconfig %s: is a %s of %s, not a Config of v1",
                         file->path, kind != NULL ? kind : "document",
                         version != NULL ? version : "no apiVersion");
    }
    if (!vmbi_json_is_null(current) && !vmbi_json_is_string(current)) {
        return vmbi_fail(err, VMB_E_INVALID,
                         "kubeconfig %s: current-context: must be a string, not %s", file->path,
                         vmbi_json_type_name(current));
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(sections); i++) {
        vmb_code rc = check_section(file, sections[i], err);
        if (rc != VMB_OK) {
            return rc;
        }
    }
    return VMB_OK;
}

static void file_done(vmbi_kube_file *file)
{
    vmbi_free(file->path);
    vmbi_free(file->dir);
    vmbi_json_free(file->doc);
    *file = (vmbi_kube_file){0};
}

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!vmbi_is_space(text[i])) {
            return false;
        }
    }
    return true;
}

static vmb_code file_load(const char *path, vmbi_kube_file *out, vmb_error **err)
{
    vmbi_kube_file file = {0};
    char *text = NULL;
    size_t len = 0;
    vmb_code rc = vmbi_kube_file_read(path, VMBI_DOC_MAX_BYTES, "kubeconfig", &text, &len, err);
    if (rc != VMB_OK) {
        return rc;
    }
    file.path = vmbi_strdup(path);
    file.dir = dir_of(path);
    if (file.path == NULL || file.dir == NULL) {
        rc = vmbi_fail_nomem(err);
        goto out;
    }
    if (is_blank(text, len)) { /* `touch ~/.kube/config` is a config without entries */
        file.doc = vmbi_json_object();
        rc = file.doc != NULL ? VMB_OK : vmbi_fail_nomem(err);
    } else {
        rc = vmbi_doc_parse(text, len, path, NULL, &file.doc, NULL, err);
        if (rc != VMB_OK) {
            rc = vmbi_wrap(err, rc, "kubeconfig");
        }
    }
    if (rc == VMB_OK) {
        rc = check_doc(&file, err);
    }
    if (rc == VMB_OK) {
        *out = file;
        file = (vmbi_kube_file){0};
    }
out:
    explicit_bzero(text, len);
    vmbi_free(text);
    file_done(&file);
    return rc;
}

static vmb_code add_file(vmbi_kube_files *files, const char *path, bool optional, vmb_error **err)
{
    vmb_error *e = NULL;
    if (files->n == FILES_MAX) {
        return vmbi_fail(err, VMB_E_LIMIT, "kubeconfig: more than %d files", (int)FILES_MAX);
    }
    vmbi_kube_file *v = vmbi_realloc_array(files->v, files->n + 1, sizeof(*v));
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    files->v = v;
    vmb_code rc = file_load(path, &v[files->n], &e);
    if (rc == VMB_OK) {
        files->n++;
    } else if (rc == VMB_E_NOT_FOUND && optional) {
        vmb_error_free(e);
        rc = VMB_OK;
    } else {
        vmbi_error_move(err, &e);
    }
    return rc;
}

static vmb_code load_home(vmbi_kube_files *files, const char *home, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(4096);
    vmbi_buf_addf(&path, "%s/.kube/config", home);
    vmb_code rc = vmbi_buf_check(&path, err, "kubeconfig path");
    if (rc == VMB_OK) {
        rc = add_file(files, path.data, true, err);
    }
    vmbi_buf_free(&path);
    return rc;
}

vmb_code vmbi_kube_files_load(const vmbi_kube_sources *sources, vmbi_kube_files *out,
                              vmb_error **err)
{
    vmbi_kube_files files = {0};
    vmbi_strs paths = {0};
    vmb_code rc = VMB_OK;
    if (sources->explicit_path != NULL) {
        rc = add_file(&files, sources->explicit_path, false, err);
    } else if (sources->list != NULL) {
        rc = vmbi_strs_split(&paths, sources->list, ':', err);
        for (size_t i = 0; rc == VMB_OK && i < paths.n; i++) {
            if (paths.v[i][0] != '\0') {
                rc = add_file(&files, paths.v[i], true, err);
            }
        }
    } else if (sources->home != NULL) {
        rc = load_home(&files, sources->home, err);
    }
    vmbi_strs_free(&paths);
    if (rc != VMB_OK) {
        vmbi_kube_files_free(&files);
        return rc;
    }
    *out = files;
    return VMB_OK;
}

void vmbi_kube_files_free(vmbi_kube_files *files)
{
    for (size_t i = 0; i < files->n; i++) {
        file_done(&files->v[i]);
    }
    vmbi_free(files->v);
    *files = (vmbi_kube_files){0};
}

const char *vmbi_kube_files_current(const vmbi_kube_files *files)
{
    for (size_t i = 0; i < files->n; i++) {
        const char *name = vmbi_json_get_str(files->v[i].doc, "current-context");
        if (name != NULL && name[0] != '\0') {
            return name;
        }
    }
    return NULL;
}

/* "known: a, b, c", cut where the room ends. */
static void list_names(const vmbi_kube_files *files, const char *section, vmbi_buf *out)
{
    const char *before = "known: ";
    for (size_t i = 0; i < files->n; i++) {
        const vmbi_json *list = vmbi_json_get(files->v[i].doc, section);
        for (size_t k = 0; k < vmbi_json_len(list); k++) {
            const char *name = vmbi_json_get_str(vmbi_json_at(list, k), "name");
            if (out->len + strlen(name) + 8 > NAMES_SIZE) {
                vmbi_buf_adds(out, ", …");
                return;
            }
            vmbi_buf_adds(out, before);
            vmbi_buf_adds(out, name);
            before = ", ";
        }
    }
    if (out->len == 0) {
        vmbi_buf_adds(out, "there are none");
    }
}

vmb_code vmbi_kube_files_find(const vmbi_kube_files *files, const char *section,
                              const char *singular, const char *name, const vmbi_json **out,
                              const vmbi_kube_file **file, vmb_error **err)
{
    for (size_t i = 0; i < files->n; i++) {
        const vmbi_json *list = vmbi_json_get(files->v[i].doc, section);
        for (size_t k = 0; k < vmbi_json_len(list); k++) {
            const vmbi_json *entry = vmbi_json_at(list, k);
            if (!vmbi_streq(vmbi_json_get_str(entry, "name"), name)) {
                continue;
            }
            const vmbi_json *value = vmbi_json_get(entry, singular);
            if (!vmbi_json_is_null(value) && !vmbi_json_is_object(value)) {
                return vmbi_fail(err, VMB_E_INVALID,
                                 "kubeconfig %s: %s \"%s\": must be a mapping, not %s",
                                 files->v[i].path, singular, name, vmbi_json_type_name(value));
            }
            *out = value;
            *file = &files->v[i];
            return VMB_OK;
        }
    }
    vmbi_buf names = VMBI_BUF_INIT(NAMES_SIZE + 64);
    list_names(files, section, &names);
    vmb_code rc = vmbi_fail(err, VMB_E_NOT_FOUND, "kubeconfig %s%s: no %s \"%s\"; %s",
                            files->v[0].path, files->n > 1 ? " and others" : "", singular, name,
                            names.data != NULL ? names.data : "");
    vmbi_buf_free(&names);
    return rc;
}
