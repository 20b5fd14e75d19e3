/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks that a pod carries in its annotations: KubeVirt's freeze and thaw come this way. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "codec/duration.h"
#include "model/hooks_impl.h"

enum { KEY_MAX = 64 };

/* Value of "<prefix>hook.backup.velero.io/<name>"; "" when absent. */
static const char *annotation(const vmbi_json *annotations, const char *prefix, const char *name)
{
    char key[KEY_MAX];
    const char *v;

    (void)snprintf(key, sizeof(key), "%shook.backup.velero.io/%s", prefix, name);
    v = vmbi_json_get_str(annotations, key);
    return v != NULL ? v : "";
}

static vmb_code warn(vmbi_hook_list *l, const char *prefix, const char *name, const char *value,
                     const char *why, vmb_error **err)
{
    char text[256];

    (void)snprintf(text, sizeof(text), "annotation %shook.backup.velero.io/%s: \"%.60s\" %s",
                   prefix, name, value, why);
    return vmbi_strs_add(&l->warnings, text, err);
}

/* A JSON list of strings; false when it is anything else. null elements are empty strings. */
static bool parse_argv(const char *text, vmbi_strs *argv, vmb_code *code, vmb_error **err)
{
    vmbi_json *list = NULL;
    bool ok = vmbi_json_parse(text, strlen(text), "hook command", &list, NULL) == VMB_OK &&
              vmbi_json_is_array(list) && vmbi_json_len(list) > 0;

    for (size_t i = 0; ok && i < vmbi_json_len(list); i++) {
        const vmbi_json *v = vmbi_json_at(list, i);

        ok = vmbi_json_is_string(v) || vmbi_json_is_null(v);
    }
    for (size_t i = 0; ok && *code == VMB_OK && i < vmbi_json_len(list); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(list, i));

        *code = vmbi_strs_add(argv, s != NULL ? s : "", err);
    }
    vmbi_json_free(list);
    return ok;
}

/* Text that is no JSON list is one argument as a whole: there is no shell and no splitting. */
static vmb_code command_argv(vmbi_hook_list *l, const char *prefix, const char *text,
                             vmbi_strs *argv, vmb_error **err)
{
    vmb_code code = VMB_OK;

    if (text[0] == '[' && parse_argv(text, argv, &code, err)) {
        return code;
    }
    if (code == VMB_OK && text[0] == '[') {
        code = warn(l, prefix, "command", text,
                    "is no JSON list of strings: the whole text is taken as the command", err);
    }
    return code == VMB_OK ? vmbi_strs_add(argv, text, err) : code;
}

static vmb_code read_on_error(vmbi_hook_list *l, const char *prefix, const char *text,
                              vmbi_on_error *out, vmb_error **err)
{
    if (strcmp(text, "Continue") == 0) {
        *out = VMBI_ON_ERROR_CONTINUE;
    } else if (strcmp(text, "Fail") == 0) {
        *out = VMBI_ON_ERROR_FAIL;
    } else {
        *out = VMBI_ON_ERROR_UNSET;
        if (text[0] != '\0') {
            return warn(l, prefix, "on-error", text,
                        "is neither Continue nor Fail: taken as not set", err);
        }
    }
    return VMB_OK;
}

static vmb_code read_timeout(vmbi_hook_list *l, const char *prefix, const char *text, int64_t *out,
                             vmb_error **err)
{
    int64_t ns = 0;

    *out = 0;
    if (text[0] == '\0') {
        return VMB_OK;
    }
    if (!vmbi_duration_parse(text, &ns)) {
        return warn(l, prefix, "timeout", text, "is no duration: the default is used", err);
    }
    *out = ns < 0 ? -1 : ns;
    return VMB_OK;
}

static vmb_code add_with_prefix(vmbi_hook_list *l, const vmbi_json *pod, const char *prefix,
                                int64_t default_timeout_ns, vmb_error **err)
{
    const vmbi_json *annotations = vmbi_json_path(pod, "metadata.annotations");
    const char *command = annotation(annotations, prefix, "command");
    vmbi_hook_draft draft = {.source = VMBI_HOOK_ANNOTATION, .name = ""};
    vmbi_strs argv = {0};
    vmb_code code;

    if (command[0] == '\0') {
        return VMB_OK;
    }
    draft.container = annotation(annotations, prefix, "container");
    draft.argv = &argv;
    code = command_argv(l, prefix, command, &argv, err);
    if (code == VMB_OK) {
        code = read_on_error(l, prefix, annotation(annotations, prefix, "on-error"),
                             &draft.on_error, err);
    }
    if (code == VMB_OK) {
        code = read_timeout(l, prefix, annotation(annotations, prefix, "timeout"),
                            &draft.timeout_ns, err);
    }
    if (code == VMB_OK) {
        code = vmbi_hooks_add(l, pod, &draft, default_timeout_ns, err);
    }
    vmbi_strs_free(&argv);
    return code;
}

vmb_code vmbi_hooks_add_annotated(vmbi_hook_list *l, const vmbi_json *pod, vmbi_hook_phase phase,
                                  int64_t default_timeout_ns, vmb_error **err)
{
    vmb_code code =
        add_with_prefix(l, pod, phase == VMBI_HOOK_PRE ? "pre." : "post.", default_timeout_ns, err);

    /* Annotations without a phase are Velero's oldest form; they mean pre. */
    if (code == VMB_OK && l->n == 0 && phase == VMBI_HOOK_PRE) {
        code = add_with_prefix(l, pod, "", default_timeout_ns, err);
    }
    return code;
}
