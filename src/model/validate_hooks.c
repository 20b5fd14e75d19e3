/* SPDX-License-Identifier: Apache-2.0 */
/* Validation of a Backup: hooks. */
#include <string.h>

#include "base/strs.h"
#include "model/doc_hint.h"
#include "model/glob.h"
#include "model/validate_impl.h"

static void check_command(vmbi_checker *c, const vmbi_json *exec)
{
    const vmbi_json *command = vmbi_json_get(exec, "command");
    const char *program = vmbi_json_str(vmbi_json_at(command, 0));
    size_t mark = vmbi_check_enter(c, "command");

    if (vmbi_json_is_array(command) && vmbi_json_len(command) == 0) {
        vmbi_check_error(c, NULL, "a hook needs a command");
    }
    if (program != NULL) {
        bool numbered = vmbi_value_hint(program) != NULL;

        (void)vmbi_check_enter_index(c, 0);
        if (program[0] == '\0') {
            vmbi_check_error(c, NULL, "the name of the program is empty");
        } else if (strchr(program, ' ') != NULL) {
            vmbi_check_warning(
                c,
                numbered ? "delete the number at the end if it is a callout of a "
                           "documentation page, else write each argument as an "
                           "element of its own"
                         : "write each argument as an element of its own, or "
                           "start a shell: [\"/bin/sh\", \"-c\", \"…\"]",
                "\"%.80s\" is the name of the program as a whole: no shell splits it", program);
        }
    }
    vmbi_check_leave(c, mark);
}

void vmbi_check_hook_exec(vmbi_checker *c, const vmbi_json *exec)
{
    const char *on_error = vmbi_json_get_str(exec, "onError");
    size_t mark = vmbi_check_enter(c, "onError");

    if (on_error != NULL && strcmp(on_error, "Continue") != 0 && strcmp(on_error, "Fail") != 0) {
        vmbi_check_error(c, vmbi_value_hint(on_error), "\"%.80s\" is neither Continue nor Fail",
                         on_error);
    }
    vmbi_check_leave(c, mark);
    mark = vmbi_check_enter(c, "timeout");
    vmbi_check_duration(c, vmbi_json_get(exec, "timeout"), true);
    vmbi_check_leave(c, mark);
    check_command(c, exec);
}

static void check_list(vmbi_checker *c, const vmbi_json *entry, const char *field)
{
    const vmbi_json *list = vmbi_json_get(entry, field);
    size_t mark = vmbi_check_enter(c, field);

    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        size_t inner = vmbi_check_enter_index(c, i);

        (void)vmbi_check_enter(c, "exec");
        vmbi_check_hook_exec(c, vmbi_json_get(vmbi_json_at(list, i), "exec"));
        vmbi_check_leave(c, inner);
    }
    vmbi_check_leave(c, mark);
}

/* Hooks take any glob as a namespace; a malformed one would switch off the whole list. */
static void check_namespaces(vmbi_checker *c, const vmbi_json *entry, const char *field)
{
    const vmbi_json *list = vmbi_json_get(entry, field);
    size_t mark = vmbi_check_enter(c, field);

    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(list, i));
        size_t inner = vmbi_check_enter_index(c, i);
        vmbi_glob *g = NULL;

        if (s != NULL && vmbi_value_hint(s) != NULL) {
            vmbi_check_error(c, vmbi_value_hint(s), "\"%.100s\" is no namespace", s);
        } else if (s != NULL && vmbi_glob_new(s, &g, NULL) == VMB_E_PARSE) {
            vmbi_check_error(c, NULL, "\"%.100s\" is a malformed pattern", s);
        }
        vmbi_glob_free(g);
        vmbi_check_leave(c, inner);
    }
    vmbi_check_leave(c, mark);
}

/* Only pods run hooks: a list of other resources means that the hook never runs. */
static bool may_mean_pods(const vmbi_json *list)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(list, i));

        if (s == NULL || vmbi_strcaseeq(s, "pods") || vmbi_strcaseeq(s, "pod") ||
            strcmp(s, "po") == 0 || vmbi_glob_is_pattern(s)) {
            return true;
        }
    }
    return vmbi_json_len(list) == 0;
}

static void check_resources(vmbi_checker *c, const vmbi_json *entry)
{
    const vmbi_json *in = vmbi_json_get(entry, "includedResources");
    size_t mark = vmbi_check_enter(c, "includedResources");

    vmbi_check_resource_names(c, in);
    if (!may_mean_pods(in)) {
        vmbi_check_warning(c, "write pods", "only pods run hooks: this one never runs");
    }
    vmbi_check_leave(c, mark);
    mark = vmbi_check_enter(c, "excludedResources");
    vmbi_check_resource_names(c, vmbi_json_get(entry, "excludedResources"));
    vmbi_check_leave(c, mark);
}

void vmbi_check_hook_filters(vmbi_checker *c, const vmbi_json *entry)
{
    size_t mark;

    check_namespaces(c, entry, "includedNamespaces");
    check_namespaces(c, entry, "excludedNamespaces");
    check_resources(c, entry);
    mark = vmbi_check_enter(c, "labelSelector");
    vmbi_check_selector(c, vmbi_json_get(entry, "labelSelector"));
    vmbi_check_leave(c, mark);
}

static void check_entry(vmbi_checker *c, const vmbi_json *entry)
{
    const char *name = vmbi_json_get_str(entry, "name");
    size_t mark;

    if (name != NULL && (name[0] == '\0' || vmbi_value_hint(name) != NULL)) {
        mark = vmbi_check_enter(c, "name");
        vmbi_check_warning(c, vmbi_value_hint(name), "\"%.80s\" is a poor name for a hook", name);
        vmbi_check_leave(c, mark);
    }
    vmbi_check_hook_filters(c, entry);
    check_list(c, entry, "pre");
    check_list(c, entry, "post");
    if (vmbi_json_is_object(entry) && vmbi_json_get(entry, "pre") == NULL &&
        vmbi_json_get(entry, "post") == NULL) {
        vmbi_check_warning(c, NULL, "has neither pre nor post: it does nothing");
    }
}

void vmbi_check_hooks(vmbi_checker *c, const vmbi_json *spec)
{
    const vmbi_json *list = vmbi_json_path(spec, "hooks.resources");
    size_t mark = vmbi_check_enter(c, "hooks");

    (void)vmbi_check_enter(c, "resources");
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        size_t inner = vmbi_check_enter_index(c, i);

        check_entry(c, vmbi_json_at(list, i));
        vmbi_check_leave(c, inner);
    }
    vmbi_check_leave(c, mark);
}
