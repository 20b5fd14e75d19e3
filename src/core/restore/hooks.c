/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks of restored pods: init containers that are put into the pod, and commands that run once its
 * containers do (Velero 1.18, internal/hook). */
#include "core/restore/hooks.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/digest.h"
#include "codec/duration.h"
#include "model/incexc.h"
#include "model/selector.h"

#define POLL_NS (INT64_C(500) * VMBI_MS)

static const char init_image[] = "init.hook.restore.velero.io/container-image";
static const char init_name[] = "init.hook.restore.velero.io/container-name";
static const char init_command[] = "init.hook.restore.velero.io/command";
static const char exec_command[] = "post.hook.restore.velero.io/command";

/* ---- which hooks a pod has ----------------------------------------------------------------- */

static vmb_code read_list(const vmbi_json *list, vmbi_strs *out, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < vmbi_json_len(list) && rc == VMB_OK; i++) {
        const char *s = vmbi_json_str(vmbi_json_at(list, i));
        rc = s != NULL ? vmbi_strs_add(out, s, err) : VMB_OK;
    }
    return rc;
}

/* Does an entry of hooks.resources apply? Namespaces are those of the target. */
static bool applies(const vmbi_json *entry, const char *ns, const vmbi_json *pod, vmb_code *rc,
                    vmb_error **err)
{
    vmbi_strs in = {0};
    vmbi_strs ex = {0};
    vmbi_incexc names = {0};
    const vmbi_json *tree = vmbi_json_get(entry, "labelSelector");
    vmb_selector *selector = NULL;
    *rc = read_list(vmbi_json_get(entry, "includedNamespaces"), &in, err);
    if (*rc == VMB_OK) {
        *rc = read_list(vmbi_json_get(entry, "excludedNamespaces"), &ex, err);
    }
    if (*rc == VMB_OK) {
        *rc = vmbi_incexc_init(&names, &in, &ex, err);
    }
    if (*rc == VMB_OK && vmbi_json_is_object(tree)) {
        *rc = vmbi_selector_from_tree(tree, "labelSelector", &selector, err);
    }
    bool yes = *rc == VMB_OK && vmbi_incexc_wants(&names, ns) &&
               (selector == NULL ||
                vmbi_selector_matches_tree(selector, vmbi_json_path(pod, "metadata.labels")));
    vmbi_strs_free(&in);
    vmbi_strs_free(&ex);
    vmbi_incexc_free(&names);
    vmbi_selector_free(selector);
    return yes;
}

/* A command of an annotation: a JSON list, or one word. */
static vmbi_json *parse_command(const char *text)
{
    vmbi_json *list = NULL;
    if (text[0] == '[' && vmbi_json_parse(text, strlen(text), "command", &list, NULL) == VMB_OK) {
        return list;
    }
    list = vmbi_json_array();
    if (list != NULL && text[0] != '\0' && !vmbi_json_append_str(list, text)) {
        vmbi_json_free(list);
        list = NULL;
    }
    return list;
}

/* ---- init containers ----------------------------------------------------------------------- */

static vmb_code add_annotated(const vmbi_json *notes, vmbi_json *out, vmb_error **err)
{
    const char *name = vmbi_json_get_str(notes, init_name);
    const char *command = vmbi_json_get_str(notes, init_command);
    vmbi_json *c = vmbi_json_object();
    uint8_t random[4];
    char made[40];
    char hex[9];
    vmbi_random(random, sizeof(random));
    vmbi_hex(random, sizeof(random), hex);
    (void)snprintf(made, sizeof(made), "velero-restore-init-%s", hex);
    bool ok = c != NULL;
    ok = ok && vmbi_json_set_str(c, "image", vmbi_json_get_str(notes, init_image));
    ok = ok && vmbi_json_set_str(c, "name", name != NULL && name[0] != '\0' ? name : made);
    if (ok && command != NULL && command[0] != '\0') {
        ok = vmbi_json_set(c, "command", parse_command(command));
    }
    if (!ok) {
        vmbi_json_free(c);
        return vmbi_fail_nomem(err);
    }
    return vmbi_json_append(out, c) ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code add_from_spec(const vmbi_restore *r, const vmbi_ritem *item, vmbi_json *out,
                              vmb_error **err)
{
    const vmbi_json *entries = vmbi_json_path(r->spec, "hooks.resources");
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < vmbi_json_len(entries) && rc == VMB_OK; i++) {
        const vmbi_json *entry = vmbi_json_at(entries, i);
        const vmbi_json *hooks = vmbi_json_get(entry, "postHooks");
        if (!applies(entry, item->target, item->obj, &rc, err)) {
            continue;
        }
        for (size_t k = 0; k < vmbi_json_len(hooks); k++) {
            const vmbi_json *list = vmbi_json_path(vmbi_json_at(hooks, k), "init.initContainers");
            for (size_t n = 0; n < vmbi_json_len(list); n++) {
                if (!vmbi_json_append(out, vmbi_json_copy(vmbi_json_at(list, n)))) {
                    return vmbi_fail_nomem(err);
                }
            }
        }
    }
    return rc;
}

static bool is_waiter(const vmbi_json *container)
{
    const char *name = vmbi_json_get_str(container, "name");
    return vmbi_streq(name, "restore-wait") || vmbi_streq(name, "restic-wait");
}

/* What waits for volumes first, then the hooks, then the pod's own. */
static bool prepend(vmbi_json *spec, const vmbi_json *added)
{
    const vmbi_json *own = vmbi_json_get(spec, "initContainers");
    vmbi_json *list = vmbi_json_array();
    bool ok = list != NULL;
    size_t first = vmbi_json_len(own) > 0 && is_waiter(vmbi_json_at(own, 0)) ? 1 : 0;
    for (size_t i = 0; ok && i < first; i++) {
        ok = vmbi_json_append(list, vmbi_json_ref(vmbi_json_at(own, i)));
    }
    for (size_t i = 0; ok && i < vmbi_json_len(added); i++) {
        ok = vmbi_json_append(list, vmbi_json_ref(vmbi_json_at(added, i)));
    }
    for (size_t i = first; ok && i < vmbi_json_len(own); i++) {
        ok = vmbi_json_append(list, vmbi_json_ref(vmbi_json_at(own, i)));
    }
    if (!ok) {
        vmbi_json_free(list);
        return false;
    }
    return vmbi_json_set(spec, "initContainers", list);
}

vmb_code vmbi_restore_init_hooks(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    const vmbi_json *notes = vmbi_json_path(item->obj, "metadata.annotations");
    const char *image = vmbi_json_get_str(notes, init_image);
    vmbi_json *added = vmbi_json_array();
    vmb_code rc = added != NULL ? VMB_OK : vmbi_fail_nomem(err);
    if (rc == VMB_OK && image != NULL && image[0] != '\0') {
        rc = add_annotated(notes, added, err);
    } else if (rc == VMB_OK) {
        rc = add_from_spec(r, item, added, err);
    }
    if (rc == VMB_OK && vmbi_json_len(added) > 0 &&
        !prepend(vmbi_json_ensure_object(item->obj, "spec"), added)) {
        rc = vmbi_fail_nomem(err);
    }
    vmbi_json_free(added);
    return rc;
}

/* ---- commands ------------------------------------------------------------------------------ */

/* One hook: {"container","command":[],"onError","execTimeout","waitTimeout","waitForReady"}. */
static vmbi_json *from_annotations(const vmbi_json *notes)
{
    static const struct {
        const char *annotation;
        const char *field;
    } texts[] = {
        {"post.hook.restore.velero.io/container", "container"},
        {"post.hook.restore.velero.io/on-error", "onError"},
        {"post.hook.restore.velero.io/exec-timeout", "execTimeout"},
        {"post.hook.restore.velero.io/wait-timeout", "waitTimeout"},
    };
    bool ready = false;
    const char *text = vmbi_json_get_str(notes, "post.hook.restore.velero.io/wait-for-ready");
    vmbi_json *hook = vmbi_json_object();
    bool ok = hook != NULL &&
              vmbi_json_set(hook, "command", parse_command(vmbi_json_get_str(notes, exec_command)));
    for (size_t i = 0; i < VMBI_ARRAY_LEN(texts) && ok; i++) {
        const char *value = vmbi_json_get_str(notes, texts[i].annotation);
        ok = value == NULL || vmbi_json_set_str(hook, texts[i].field, value);
    }
    if (ok && text != NULL && vmbi_parse_bool(text, &ready)) {
        ok = vmbi_json_set_bool(hook, "waitForReady", ready);
    }
    if (!ok) {
        vmbi_json_free(hook);
        return NULL;
    }
    return hook;
}

static vmb_code exec_hooks_of(const vmbi_restore *r, const vmbi_ritem *item, vmbi_json *out,
                              vmb_error **err)
{
    const vmbi_json *notes = vmbi_json_path(item->obj, "metadata.annotations");
    const vmbi_json *entries = vmbi_json_path(r->spec, "hooks.resources");
    const char *command = vmbi_json_get_str(notes, exec_command);
    vmb_code rc = VMB_OK;
    if (command != NULL && command[0] != '\0') {
        return vmbi_json_append(out, from_annotations(notes)) ? VMB_OK : vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < vmbi_json_len(entries) && rc == VMB_OK; i++) {
        const vmbi_json *entry = vmbi_json_at(entries, i);
        const vmbi_json *hooks = vmbi_json_get(entry, "postHooks");
        if (!applies(entry, item->target, item->obj, &rc, err)) {
            continue;
        }
        for (size_t k = 0; k < vmbi_json_len(hooks) && rc == VMB_OK; k++) {
            const vmbi_json *exec = vmbi_json_get(vmbi_json_at(hooks, k), "exec");
            if (vmbi_json_is_object(exec) && !vmbi_json_append(out, vmbi_json_copy(exec))) {
                rc = vmbi_fail_nomem(err);
            }
        }
    }
    return rc;
}

vmb_code vmbi_restore_note_pod(vmbi_restore *r, const vmbi_ritem *item, vmb_error **err)
{
    vmbi_json *hooks = vmbi_json_array();
    vmbi_json *entry = vmbi_json_object();
    vmb_code rc =
        hooks != NULL && entry != NULL ? exec_hooks_of(r, item, hooks, err) : vmbi_fail_nomem(err);
    bool needed = rc == VMB_OK && vmbi_json_len(hooks) > 0;
    const char *name = vmbi_json_path_str(item->obj, "metadata.name");
    if (needed) {
        bool ok = vmbi_json_set_str(entry, "namespace", item->target) &&
                  vmbi_json_set_str(entry, "name", name != NULL ? name : item->name) &&
                  vmbi_json_set(entry, "hooks", vmbi_json_ref(hooks)) &&
                  vmbi_json_set_int(entry, "next", 0);
        (void)pthread_mutex_lock(&r->lock);
        ok = ok && vmbi_json_append(r->hook_pods, vmbi_json_ref(entry));
        (void)pthread_mutex_unlock(&r->lock);
        rc = ok ? VMB_OK : vmbi_fail_nomem(err);
    }
    vmbi_json_free(hooks);
    vmbi_json_free(entry);
    return rc;
}

/* ---- running them -------------------------------------------------------------------------- */

static int64_t duration_of(const vmbi_json *hook, const char *field)
{
    const char *text = vmbi_json_get_str(hook, field);
    int64_t ns = 0;
    return text != NULL && vmbi_duration_parse(text, &ns) && ns > 0 ? ns : 0;
}

static const char *container_of(const vmbi_json *hook, const vmbi_json *pod)
{
    const char *name = vmbi_json_get_str(hook, "container");
    return name != NULL && name[0] != '\0'
               ? name
               : vmbi_json_get_str(vmbi_json_at(vmbi_json_path(pod, "spec.containers"), 0), "name");
}

/* Is the container up, or ready when the hook wants that? */
static bool is_up(const vmbi_json *hook, const vmbi_json *pod)
{
    const char *name = container_of(hook, pod);
    const vmbi_json *list = vmbi_json_path(pod, "status.containerStatuses");
    bool ready = vmbi_json_bool(vmbi_json_get(hook, "waitForReady"), false);
    for (size_t i = 0; name != NULL && i < vmbi_json_len(list); i++) {
        const vmbi_json *s = vmbi_json_at(list, i);
        if (vmbi_streq(vmbi_json_get_str(s, "name"), name)) {
            return ready ? vmbi_json_bool(vmbi_json_get(s, "ready"), false)
                         : vmbi_json_path(s, "state.running") != NULL;
        }
    }
    return false;
}

static bool has_container(const vmbi_json *hook, const vmbi_json *pod)
{
    const char *name = container_of(hook, pod);
    const vmbi_json *list = vmbi_json_path(pod, "spec.containers");
    for (size_t i = 0; name != NULL && i < vmbi_json_len(list); i++) {
        if (vmbi_streq(vmbi_json_get_str(vmbi_json_at(list, i), "name"), name)) {
            return true;
        }
    }
    return false;
}

static vmb_code drop_output(void *user, const void *data, size_t len, vmb_error **err)
{
    (void)user;
    (void)data;
    (void)len;
    (void)err;
    return VMB_OK;
}

static vmb_code exec_one(vmbi_restore *r, const char *ns, const char *name, const vmbi_json *hook,
                         const vmbi_json *pod, vmb_error **err)
{
    const vmb_exec_provider *p = &r->ctx->exec;
    const vmbi_json *command = vmbi_json_get(hook, "command");
    size_t n = vmbi_json_len(command);
    int64_t timeout = duration_of(hook, "execTimeout");
    struct vmb_sink sink = {drop_output, NULL};
    vmb_job job = r->job;
    int32_t exit_code = -1;
    if (p->exec == NULL) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED, "no exec provider is registered");
    }
    const char **argv = vmbi_alloc_array(n > 0 ? n : 1, sizeof(*argv));
    if (argv == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < n; i++) {
        const char *word = vmbi_json_str(vmbi_json_at(command, i));
        argv[i] = word != NULL ? word : "";
    }
    job.limits = vmbi_limits_within(&r->job.limits,
                                    timeout > 0 ? timeout : r->ctx->settings.hook_timeout_ns);
    vmb_code rc = p->exec(p->user, &job, ns, name, container_of(hook, pod), argv, n, &sink, &sink,
                          &exit_code, err);
    rc = vmbi_check_provider(err, rc, "run a command");
    vmbi_free(argv);
    if (rc == VMB_OK && exit_code != 0) {
        rc = vmbi_fail(err, VMB_E_PROVIDER, "command ended with exit code %d", (int)exit_code);
    }
    return rc;
}

static void report(vmbi_restore *r, const char *ns, const char *name, const vmbi_json *hook,
                   const vmb_error *why)
{
    const char *program = vmbi_json_str(vmbi_json_at(vmbi_json_get(hook, "command"), 0));
    program = program != NULL ? program : "";
    r->hooks_failed += why != NULL ? 1 : 0;
    if (why != NULL) {
        vmbi_restore_error(r, ns, why, "post-restore hook %s of pod %s failed", program, name);
    } else {
        vmbi_restore_info(r, NULL, "post-restore hook %s of pod %s/%s ended", program, ns, name);
    }
}

/* Ends a pod's hooks with one error for each that is left. */
static void give_up(vmbi_restore *r, vmbi_json *entry, const char *text)
{
    const char *ns = vmbi_json_get_str(entry, "namespace");
    const char *name = vmbi_json_get_str(entry, "name");
    const vmbi_json *hooks = vmbi_json_get(entry, "hooks");
    for (size_t i = (size_t)vmbi_json_int(vmbi_json_get(entry, "next"), 0);
         i < vmbi_json_len(hooks); i++) {
        vmb_error *why = NULL;
        (void)vmbi_fail(&why, VMB_E_STATE, "%s", text);
        report(r, ns, name, vmbi_json_at(hooks, i), why);
        vmb_error_free(why);
    }
    (void)vmbi_json_set_int(entry, "next", (int64_t)vmbi_json_len(hooks));
}

/* Runs what can run now. True: nothing is left to do for the pod. */
static bool advance(vmbi_restore *r, vmbi_json *entry, int64_t start_ns)
{
    const char *ns = vmbi_json_get_str(entry, "namespace");
    const char *name = vmbi_json_get_str(entry, "name");
    const vmbi_json *hooks = vmbi_json_get(entry, "hooks");
    size_t next = (size_t)vmbi_json_int(vmbi_json_get(entry, "next"), 0);
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmbi_json *pod = NULL;
    vmb_error *why = NULL;
    if (next >= vmbi_json_len(hooks)) {
        return true;
    }
    vmb_code rc = vmbi_cluster_get(&r->cluster, &r->job, "", "v1", "pods", ns, name, &text, &why);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, name, &pod, &why);
    }
    const char *phase = vmbi_json_path_str(pod, "status.phase");
    const vmbi_json *hook = vmbi_json_at(hooks, next);
    int64_t wait = duration_of(hook, "waitTimeout");
    if (rc != VMB_OK || vmbi_streq(phase, "Succeeded") || vmbi_streq(phase, "Failed")) {
        give_up(r, entry,
                rc != VMB_OK ? vmb_error_message(why)
                             : "the pod has ended: the hook was not executed");
    } else if (!has_container(hook, pod)) {
        (void)vmbi_fail(&why, VMB_E_NOT_FOUND, "the pod has no such container");
        report(r, ns, name, hook, why);
        (void)vmbi_json_set_int(entry, "next", (int64_t)next + 1);
    } else if (is_up(hook, pod)) {
        vmb_code done = exec_one(r, ns, name, hook, pod, &why);
        report(r, ns, name, hook, done != VMB_OK ? why : NULL);
        (void)vmbi_json_set_int(entry, "next", (int64_t)next + 1);
        if (done != VMB_OK && vmbi_streq(vmbi_json_get_str(hook, "onError"), "Fail")) {
            give_up(r, entry, "not executed: a hook before it failed");
        }
    } else if (wait > 0 && vmbi_mono_ns() - start_ns > wait) {
        (void)vmbi_fail(&why, VMB_E_TIMEOUT, "the container did not come up within waitTimeout");
        report(r, ns, name, hook, why);
        (void)vmbi_json_set_int(entry, "next", (int64_t)next + 1);
    }
    vmb_error_free(why);
    vmbi_json_free(pod);
    vmbi_buf_free(&text);
    return vmbi_json_int(vmbi_json_get(entry, "next"), 0) >= (int64_t)vmbi_json_len(hooks);
}

void vmbi_restore_run_hooks(vmbi_restore *r)
{
    int64_t start = vmbi_mono_ns();
    int64_t longest =
        vmbi_backup_duration_ns(r->spec, "itemOperationTimeout", VMBI_BACKUP_OPERATION_TIMEOUT_NS);
    for (size_t i = 0; i < vmbi_json_len(r->hook_pods); i++) {
        r->hooks_attempted +=
            (int64_t)vmbi_json_len(vmbi_json_get(vmbi_json_at(r->hook_pods, i), "hooks"));
    }
    while (vmbi_json_len(r->hook_pods) > 0 && !vmbi_restore_is_broken(r)) {
        size_t left = 0;
        for (size_t i = 0; i < vmbi_json_len(r->hook_pods); i++) {
            vmbi_json *entry = vmbi_json_at(r->hook_pods, i);
            if (vmbi_mono_ns() - start > longest) {
                give_up(r, entry, "not executed: the pod did not come up in time");
            }
            left += advance(r, entry, start) ? 0 : 1;
            vmbi_restore_relay(r);
        }
        if (left == 0 || vmbi_limits_sleep(&r->job.limits, POLL_NS, NULL, "hooks") != VMB_OK) {
            return;
        }
    }
}
