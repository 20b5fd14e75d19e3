/* SPDX-License-Identifier: Apache-2.0 */
/* Validation of a Restore: the content of spec. */
#include <string.h>

#include "base/strs.h"
#include "model/doc_hint.h"
#include "model/labelname.h"
#include "model/restore.h"
#include "model/validate_impl.h"

static bool is_set(const vmbi_json *spec, const char *field)
{
    const char *s = vmbi_json_get_str(spec, field);

    return s != NULL && s[0] != '\0';
}

/* Exactly one of the two names the backup. */
static void check_source(vmbi_checker *c, const vmbi_json *spec)
{
    bool backup = is_set(spec, "backupName");
    bool schedule = is_set(spec, "scheduleName");
    size_t mark;

    if (backup == schedule) {
        mark = vmbi_check_enter(c, schedule ? "scheduleName" : "backupName");
        vmbi_check_error(c,
                         backup ? "delete one of the two"
                                : "name the backup here, or a schedule in scheduleName for its "
                                  "latest one",
                         backup ? "cannot be used together with backupName"
                                : "neither a backup nor a schedule is named");
        vmbi_check_leave(c, mark);
    }
    if (backup) {
        vmbi_check_name(c, spec, "backupName", "name of a Backup");
    }
    if (schedule) {
        vmbi_check_name(c, spec, "scheduleName", "name of a Schedule");
    }
}

static void check_never(vmbi_checker *c, const vmbi_json *spec)
{
    const vmbi_json *list = vmbi_json_get(spec, "includedResources");
    size_t mark = vmbi_check_enter(c, "includedResources");

    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(list, i));
        size_t inner = vmbi_check_enter_index(c, i);

        for (const char *const *n = vmbi_restore_never; s != NULL && *n != NULL; n++) {
            if (strcmp(s, *n) == 0) {
                vmbi_check_error(c, "delete it", "%s are never restored", s);
            }
        }
        vmbi_check_leave(c, inner);
    }
    vmbi_check_leave(c, mark);
}

static void check_mapping(vmbi_checker *c, const vmbi_json *spec)
{
    const vmbi_json *map = vmbi_json_get(spec, "namespaceMapping");
    size_t mark = vmbi_check_enter(c, "namespaceMapping");

    for (void *it = vmbi_json_iter(map); it != NULL; it = vmbi_json_iter_next(map, it)) {
        const char *from = vmbi_json_iter_key(it);
        const char *to = vmbi_json_str(vmbi_json_iter_value(it));
        size_t inner = vmbi_check_enter(c, from);

        if (!vmbi_dns_label_ok(from, strlen(from))) {
            vmbi_check_error(c, vmbi_value_hint(from), "\"%.100s\" is no name of a namespace",
                             from);
        }
        if (to != NULL && !vmbi_dns_label_ok(to, strlen(to))) {
            vmbi_check_error(c, vmbi_value_hint(to), "\"%.100s\" is no name of a namespace", to);
        }
        vmbi_check_leave(c, inner);
    }
    vmbi_check_leave(c, mark);
}

static void check_policy(vmbi_checker *c, const vmbi_json *spec)
{
    const char *policy = vmbi_json_get_str(spec, "existingResourcePolicy");
    size_t mark;

    if (policy != NULL && policy[0] != '\0' && strcmp(policy, "none") != 0 &&
        strcmp(policy, "update") != 0) {
        mark = vmbi_check_enter(c, "existingResourcePolicy");
        vmbi_check_error(c, vmbi_value_hint(policy), "\"%.80s\" is neither none nor update",
                         policy);
        vmbi_check_leave(c, mark);
    }
}

/* ---- hooks --------------------------------------------------------------------------------- */

static void check_container(vmbi_checker *c, const vmbi_json *container)
{
    static const char *const needed[] = {"name", "image"};

    if (!vmbi_json_is_object(container)) {
        vmbi_check_error(c, NULL, "must be an object, not of type %s",
                         vmbi_json_type_name(container));
        return;
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(needed); i++) {
        if (!is_set(container, needed[i])) {
            size_t mark = vmbi_check_enter(c, needed[i]);

            vmbi_check_error(c, NULL, "is missing: an init container of a hook needs it");
            vmbi_check_leave(c, mark);
        }
    }
    if (vmbi_json_len(vmbi_json_get(container, "command")) == 0) {
        size_t mark = vmbi_check_enter(c, "command");

        vmbi_check_error(c, NULL, "is missing: an init container of a hook needs it");
        vmbi_check_leave(c, mark);
    }
}

static void check_init(vmbi_checker *c, const vmbi_json *init)
{
    const vmbi_json *list = vmbi_json_get(init, "initContainers");
    size_t mark = vmbi_check_enter(c, "timeout");

    vmbi_check_duration(c, vmbi_json_get(init, "timeout"), false);
    vmbi_check_leave(c, mark);
    mark = vmbi_check_enter(c, "initContainers");
    if (!vmbi_json_is_null(list) && !vmbi_json_is_array(list)) {
        vmbi_check_error(c, NULL, "must be a list of containers");
    }
    for (size_t i = 0; i < vmbi_json_len(list) && vmbi_json_is_array(list); i++) {
        size_t inner = vmbi_check_enter_index(c, i);

        check_container(c, vmbi_json_at(list, i));
        vmbi_check_leave(c, inner);
    }
    vmbi_check_leave(c, mark);
}

static void check_exec_times(vmbi_checker *c, const vmbi_json *exec)
{
    static const char *const fields[] = {"execTimeout", "waitTimeout"};

    for (size_t i = 0; i < VMBI_ARRAY_LEN(fields); i++) {
        size_t mark = vmbi_check_enter(c, fields[i]);

        vmbi_check_duration(c, vmbi_json_get(exec, fields[i]), false);
        vmbi_check_leave(c, mark);
    }
}

static void check_hook(vmbi_checker *c, const vmbi_json *hook)
{
    const vmbi_json *exec = vmbi_json_get(hook, "exec");
    const vmbi_json *init = vmbi_json_get(hook, "init");
    size_t mark;

    if (vmbi_json_is_object(hook) && vmbi_json_is_null(exec) && vmbi_json_is_null(init)) {
        vmbi_check_warning(c, NULL, "has neither exec nor init: it does nothing");
    }
    if (vmbi_json_is_object(exec)) {
        mark = vmbi_check_enter(c, "exec");
        vmbi_check_hook_exec(c, exec);
        check_exec_times(c, exec);
        vmbi_check_leave(c, mark);
    }
    if (vmbi_json_is_object(init)) {
        mark = vmbi_check_enter(c, "init");
        check_init(c, init);
        vmbi_check_leave(c, mark);
    }
}

static void check_entry(vmbi_checker *c, const vmbi_json *entry)
{
    const vmbi_json *list = vmbi_json_get(entry, "postHooks");
    size_t mark;

    vmbi_check_hook_filters(c, entry);
    mark = vmbi_check_enter(c, "postHooks");
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        size_t inner = vmbi_check_enter_index(c, i);

        check_hook(c, vmbi_json_at(list, i));
        vmbi_check_leave(c, inner);
    }
    vmbi_check_leave(c, mark);
}

static void check_hooks(vmbi_checker *c, const vmbi_json *spec)
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

void vmbi_check_restore(vmbi_checker *c, const vmbi_json *spec)
{
    const vmbi_json *status = vmbi_json_get(spec, "restoreStatus");
    size_t mark;

    check_source(c, spec);
    vmbi_check_namespaces(c, spec);
    vmbi_check_resource_pair(c, spec, "includedResources", "excludedResources");
    check_never(c, spec);
    vmbi_check_selectors(c, spec);
    check_mapping(c, spec);
    check_policy(c, spec);
    vmbi_check_configmap(c, spec, "resourceModifier", "resource modifier");
    mark = vmbi_check_enter(c, "restoreStatus");
    vmbi_check_resource_pair(c, status, "includedResources", "excludedResources");
    vmbi_check_leave(c, mark);
    mark = vmbi_check_enter(c, "itemOperationTimeout");
    vmbi_check_duration(c, vmbi_json_get(spec, "itemOperationTimeout"), false);
    vmbi_check_leave(c, mark);
    check_hooks(c, spec);
}
