/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/common/objects.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/digest.h"

static vmb_code parse_answer(char *text, size_t len, const char *what, vmbi_json **out,
                             vmb_error **err)
{
    vmb_code code = vmbi_json_parse(text, len, what, out, err);
    vmb_free(text);
    return code;
}

static vmb_code no_cluster(vmb_error **err, const char *resource)
{
    return vmbi_fail(err, VMB_E_UNSUPPORTED, "%s: the run has no cluster", resource);
}

vmb_code vmbi_fetch(vmb_job *job, const char *group, const char *resource, const char *ns,
                    const char *name, vmbi_json **out, vmb_error **err)
{
    vmb_cluster *cluster = vmb_job_cluster(job);
    char *text = NULL;
    size_t len = 0;
    if (cluster == NULL) {
        return no_cluster(err, resource);
    }
    vmb_code code =
        vmb_cluster_get(cluster, job, group, NULL, resource, ns, name, &text, &len, err);
    return code == VMB_OK ? parse_answer(text, len, resource, out, err) : code;
}

vmb_code vmbi_fetch_list(vmb_job *job, const char *group, const char *resource, const char *ns,
                         const char *label_selector, vmbi_json **out, vmb_error **err)
{
    vmb_cluster *cluster = vmb_job_cluster(job);
    char *text = NULL;
    size_t len = 0;
    if (cluster == NULL) {
        return no_cluster(err, resource);
    }
    vmb_code code =
        vmb_cluster_list(cluster, job, group, NULL, resource, ns, label_selector, &text, &len, err);
    return code == VMB_OK ? parse_answer(text, len, resource, out, err) : code;
}

bool vmbi_served(vmb_job *job, const char *group, const char *resource)
{
    vmb_cluster *cluster = vmb_job_cluster(job);
    return cluster != NULL && vmb_cluster_serves(cluster, group, resource) != 0;
}

vmb_code vmbi_result_set_tree(vmb_action_result *result, const vmbi_json *item, vmb_error **err)
{
    char *text = NULL;
    size_t len = 0;
    vmb_code code = vmbi_json_to_text(item, &text, &len, err);
    if (code == VMB_OK) {
        code = vmb_action_result_set_item(result, text, len, err);
    }
    vmbi_free(text);
    return code;
}

const char *vmbi_name_of(const vmbi_json *obj)
{
    const char *s = vmbi_json_path_str(obj, "metadata.name");
    return s != NULL ? s : "";
}

const char *vmbi_namespace_of(const vmbi_json *obj)
{
    const char *s = vmbi_json_path_str(obj, "metadata.namespace");
    return s != NULL ? s : "";
}

const char *vmbi_label_of(const vmbi_json *obj, const char *key)
{
    return vmbi_json_get_str(vmbi_json_path(obj, "metadata.labels"), key);
}

const char *vmbi_annotation_of(const vmbi_json *obj, const char *key)
{
    return vmbi_json_get_str(vmbi_json_path(obj, "metadata.annotations"), key);
}

/* `null` where a map is expected means an empty one. */
static bool set_in(vmbi_json *obj, const char *map, const char *key, const char *value)
{
    vmbi_json *meta = vmbi_json_ensure_object(obj, "metadata");
    if (meta == NULL) {
        return false;
    }
    if (vmbi_json_is_null(vmbi_json_get(meta, map))) {
        vmbi_json_del(meta, map);
    }
    vmbi_json *m = vmbi_json_ensure_object(meta, map);
    return m != NULL && vmbi_json_set_str(m, key, value);
}

bool vmbi_set_label(vmbi_json *obj, const char *key, const char *value)
{
    return set_in(obj, "labels", key, value);
}

bool vmbi_set_annotation(vmbi_json *obj, const char *key, const char *value)
{
    return set_in(obj, "annotations", key, value);
}

void vmbi_job_logf(const vmb_job *job, int32_t level, const char *fmt, ...)
{
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n > 0) {
        vmb_job_log(job, level, line);
    }
}

void vmbi_label_safe(const char *name, char out[VMBI_LABEL_SIZE])
{
    size_t len = strlen(name);
    if (len < VMBI_LABEL_SIZE) {
        memcpy(out, name, len + 1);
        return;
    }
    uint8_t digest[32];
    char hex[7];
    vmbi_sha256(name, len, digest);
    vmbi_hex(digest, 3, hex);
    memcpy(out, name, 57);
    memcpy(out + 57, hex, sizeof hex);
}
