/* SPDX-License-Identifier: Apache-2.0 */
/* Content of pods' volumes that was saved by filesystem backup: which of it comes back, and the
 * threads that have it brought back once the pods are there. */
#include "core/restore/podvolumes.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "base/thread.h"
#include "codec/duration.h"

enum { MAX_THREADS = 8 };
#define TELL_NS (INT64_C(100) * VMBI_MS)

/* ---- records ------------------------------------------------------------------------------- */

static bool names_pod(const vmbi_json *record, const char *ns, const char *pod)
{
    return vmbi_streq(vmbi_json_path_str(record, "spec.pod.namespace"), ns) &&
           vmbi_streq(vmbi_json_path_str(record, "spec.pod.name"), pod);
}

static bool is_complete(const vmbi_json *record)
{
    return vmbi_streq(vmbi_json_path_str(record, "status.phase"), "Completed");
}

/* With content: an empty volume has no snapshot. */
static bool has_content(const vmbi_json *record)
{
    const char *snapshot = vmbi_json_path_str(record, "status.snapshotID");
    return is_complete(record) && snapshot != NULL && snapshot[0] != '\0';
}

const vmbi_json *vmbi_restore_record_of(const vmbi_restore *r, size_t i, const char *ns,
                                        const char *pod)
{
    const vmbi_json *record = vmbi_json_at(r->pod_volumes, i);
    const char *volume = vmbi_json_path_str(record, "spec.volume");
    if (!vmbi_restore_fills(r) || volume == NULL || !has_content(record) ||
        !names_pod(record, ns, pod)) {
        return NULL;
    }
    for (size_t k = i + 1; k < vmbi_json_len(r->pod_volumes); k++) {
        const vmbi_json *later = vmbi_json_at(r->pod_volumes, k);
        if (names_pod(later, ns, pod) && has_content(later) &&
            vmbi_streq(vmbi_json_path_str(later, "spec.volume"), volume)) {
            return NULL;
        }
    }
    return record;
}

static const char *claim_of(const vmbi_json *record)
{
    return vmbi_json_get_str(vmbi_json_path(record, "metadata.annotations"), "velero.io/pvc-name");
}

const vmbi_json *vmbi_restore_record_of_claim(const vmbi_restore *r, const char *ns,
                                              const char *claim)
{
    for (size_t i = vmbi_json_len(r->pod_volumes); i > 0; i--) {
        const vmbi_json *record = vmbi_json_at(r->pod_volumes, i - 1);
        if (has_content(record) && vmbi_streq(claim_of(record), claim) &&
            vmbi_streq(vmbi_json_path_str(record, "spec.pod.namespace"), ns)) {
            return vmbi_restore_fills(r) ? record : NULL;
        }
    }
    return NULL;
}

bool vmbi_restore_fills(const vmbi_restore *r)
{
    return vmbi_restore_wants_resource(r->filter, "persistentvolumeclaims") &&
           vmbi_restore_wants_resource(r->filter, "persistentvolumes");
}

/* The annotation decides over the setting, as with backups. */
void vmbi_restore_begin_volumes(vmbi_restore *r)
{
    const char *text = vmbi_json_get_str(vmbi_json_path(r->resource, "metadata.annotations"),
                                         "velero.io/pod-volume-timeout");
    int64_t timeout = r->ctx->settings.fs_backup_timeout_ns;
    int64_t own = 0;
    if (text != NULL && vmbi_duration_parse(text, &own) && own > 0) {
        timeout = own;
    }
    r->volume_limits = vmbi_limits_within(&r->job.limits, timeout);
}

/* ---- pods ---------------------------------------------------------------------------------- */

/* Volumes that the backup could not save come back empty: nobody is to learn that too late. */
static void warn_of_lost(vmbi_restore *r, const vmbi_ritem *item)
{
    for (size_t i = 0; i < vmbi_json_len(r->pod_volumes); i++) {
        const vmbi_json *record = vmbi_json_at(r->pod_volumes, i);
        const char *volume = vmbi_json_path_str(record, "spec.volume");
        const char *why = vmbi_json_path_str(record, "status.message");
        if (names_pod(record, item->ns, item->name) && !is_complete(record)) {
            vmbi_restore_warn(r, item->target, NULL,
                              "volume %s of pod %s: the backup did not save its content%s%s",
                              volume != NULL ? volume : "", item->name,
                              why != NULL && why[0] != '\0' ? ": " : "", why != NULL ? why : "");
        }
    }
}

vmb_code vmbi_restore_note_volumes(vmbi_restore *r, const vmbi_ritem *item, const char *waiter,
                                   vmb_error **err)
{
    bool found = false;
    if (!vmbi_restore_fills(r)) {
        return VMB_OK;
    }
    warn_of_lost(r, item);
    for (size_t i = 0; i < vmbi_json_len(r->pod_volumes) && !found; i++) {
        found = vmbi_restore_record_of(r, i, item->ns, item->name) != NULL;
    }
    const char *name = vmbi_json_path_str(item->obj, "metadata.name");
    vmbi_json *entry = found ? vmbi_json_object() : NULL;
    if (!found) {
        return VMB_OK;
    }
    bool ok = entry != NULL && vmbi_json_set_str(entry, "namespace", item->target) &&
              vmbi_json_set_str(entry, "name", name != NULL ? name : item->name) &&
              vmbi_json_set_str(entry, "sourceNamespace", item->ns) &&
              vmbi_json_set_str(entry, "sourceName", item->name) &&
              vmbi_json_set_str(entry, "waiter", waiter) &&
              vmbi_json_set(entry, "spec", vmbi_json_copy(vmbi_json_get(item->obj, "spec")));
    (void)pthread_mutex_lock(&r->lock);
    ok = ok && vmbi_json_append(r->volume_pods, vmbi_json_ref(entry));
    (void)pthread_mutex_unlock(&r->lock);
    vmbi_json_free(entry);
    return ok ? VMB_OK : vmbi_fail_nomem(err);
}

/* The uid that a pod in the cluster waits for; NULL: it does not wait. */
static const char *waits_for(const vmbi_json *pod)
{
    const vmbi_json *list = vmbi_json_path(pod, "spec.initContainers");
    const vmbi_json *states = vmbi_json_path(pod, "status.initContainerStatuses");
    const char *phase = vmbi_json_path_str(pod, "status.phase");
    const char *uid = NULL;
    if (phase != NULL && phase[0] != '\0' && strcmp(phase, "Pending") != 0) {
        return NULL;
    }
    for (size_t i = 0; i < vmbi_json_len(list) && uid == NULL; i++) {
        const vmbi_json *c = vmbi_json_at(list, i);
        if (vmbi_streq(vmbi_json_get_str(c, "name"), VMBI_WAIT_CONTAINER)) {
            uid = vmbi_json_str(vmbi_json_at(vmbi_json_get(c, "args"), 0));
        }
    }
    for (size_t i = 0; i < vmbi_json_len(states); i++) {
        const vmbi_json *s = vmbi_json_at(states, i);
        if (vmbi_streq(vmbi_json_get_str(s, "name"), VMBI_WAIT_CONTAINER) &&
            vmbi_json_path(s, "state.terminated") != NULL) {
            uid = NULL;
        }
    }
    return uid;
}

bool vmbi_restore_note_waiting(vmbi_restore *r, const vmbi_ritem *item)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmbi_json *pod = NULL;
    vmb_error *why = NULL;
    bool waits = false;
    const char *name = vmbi_json_path_str(item->obj, "metadata.name");
    vmb_code rc = VMB_E_NOT_FOUND;
    if (vmbi_json_len(r->pod_volumes) > 0 && name != NULL) {
        rc = vmbi_cluster_get(&r->cluster, &r->job, "", "v1", "pods", item->target, name, &text,
                              &why);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, name, &pod, &why);
    }
    if (rc != VMB_OK && rc != VMB_E_NOT_FOUND && !vmbi_restore_is_over(r, rc, &why)) {
        vmbi_restore_error(r, item->target, why, "pod %s: its volumes may be empty", name);
    } else if (rc == VMB_OK) {
        const char *uid = waits_for(pod);
        waits = uid != NULL;
        rc = waits ? vmbi_restore_note_volumes(r, item, uid, &why) : VMB_OK;
        if (rc != VMB_OK) {
            vmbi_restore_break(r, rc, &why);
        } else if (waits) {
            vmbi_restore_info(r, item, "it is there and waits for its volumes: they are filled");
        }
    }
    vmb_error_free(why);
    vmbi_json_free(pod);
    vmbi_buf_free(&text);
    return waits;
}

vmb_code vmbi_restore_note_tried(vmbi_restore *r, const char *ns, const char *claim,
                                 vmb_error **err)
{
    static char mark;
    vmbi_buf key = VMBI_BUF_INIT(1024);
    vmbi_buf_addf(&key, "%s/%s", ns, claim);
    vmb_code rc = vmbi_buf_check(&key, err, "name of a claim");
    if (rc == VMB_OK) {
        (void)pthread_mutex_lock(&r->lock);
        rc = vmbi_map_set(&r->tried, key.data, &mark, err);
        (void)pthread_mutex_unlock(&r->lock);
    }
    vmbi_buf_free(&key);
    return rc;
}

bool vmbi_restore_has_tried(vmbi_restore *r, const char *ns, const char *claim)
{
    vmbi_buf key = VMBI_BUF_INIT(1024);
    vmbi_buf_addf(&key, "%s/%s", ns, claim);
    (void)pthread_mutex_lock(&r->lock);
    bool yes = key.status == VMB_OK && vmbi_map_has(&r->tried, key.data);
    (void)pthread_mutex_unlock(&r->lock);
    vmbi_buf_free(&key);
    return yes;
}

/* ---- filling ------------------------------------------------------------------------------- */

typedef struct filling {
    vmbi_restore *r;
    vmbi_fill_pod *pods;
    char *state; /* of each pod: 0 waits, 1 in the hands of a thread, 2 ended; lock */
    size_t n;
    size_t alive; /* threads; lock */
    bool alone;   /* the run's thread does it all */
    pthread_mutex_t lock;
} filling;

static vmb_code make_pod(vmbi_restore *r, const vmbi_json *entry, vmbi_fill_pod *p,
                         vmb_error **err)
{
    const char *ns = vmbi_json_get_str(entry, "sourceNamespace");
    const char *name = vmbi_json_get_str(entry, "sourceName");
    const vmbi_json *spec = vmbi_json_get(entry, "spec");
    vmb_code rc = vmbi_fill_pod_init(p, vmbi_json_get_str(entry, "namespace"),
                                     vmbi_json_get_str(entry, "name"),
                                     vmbi_json_get_str(entry, "waiter"), err);
    for (size_t i = 0; i < vmbi_json_len(r->pod_volumes) && rc == VMB_OK; i++) {
        const vmbi_json *record = vmbi_restore_record_of(r, i, ns, name);
        const char *volume = vmbi_json_path_str(record, "spec.volume");
        if (volume != NULL) {
            bool is_disk = vmbi_restore_is_disk(spec, volume);
            p->marks = p->marks || is_disk;
            rc = vmbi_fill_pod_add(p, volume, record, is_disk, err);
        }
    }
    return rc;
}

/* The next pod that can be tried now; NULL: none can. *left: some have not ended. */
static vmbi_fill_pod *take_pod(filling *f, bool *left)
{
    vmbi_fill_pod *found = NULL;
    int64_t now = vmbi_mono_ns();
    *left = false;
    (void)pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->n && found == NULL; i++) {
        *left = *left || f->state[i] != 2;
        if (f->state[i] == 0 && f->pods[i].due_ns <= now) {
            f->state[i] = 1;
            found = &f->pods[i];
        }
    }
    (void)pthread_mutex_unlock(&f->lock);
    return found;
}

static void *fill_pods(void *user)
{
    filling *f = user;
    bool left = true;
    while (left && !vmbi_restore_is_broken(f->r)) {
        vmbi_fill_pod *p = take_pod(f, &left);
        if (p != NULL) {
            bool ended = vmbi_fill_pod_step(f->r, p);
            (void)pthread_mutex_lock(&f->lock);
            f->state[p - f->pods] = ended ? 2 : 0;
            (void)pthread_mutex_unlock(&f->lock);
        } else if (left && vmbi_limits_sleep(&f->r->job.limits, TELL_NS, NULL, "volumes") !=
                               VMB_OK) {
            vmbi_restore_break(f->r, VMB_E_CANCELLED, NULL);
        }
        if (f->alone) { /* nobody else passes events on */
            vmbi_restore_relay(f->r);
        }
    }
    (void)pthread_mutex_lock(&f->lock);
    f->alive -= f->alive > 0 ? 1 : 0;
    (void)pthread_mutex_unlock(&f->lock);
    return NULL;
}

static bool is_alive(filling *f)
{
    (void)pthread_mutex_lock(&f->lock);
    bool alive = f->alive > 0;
    (void)pthread_mutex_unlock(&f->lock);
    return alive;
}

static void run_threads(filling *f)
{
    const vmb_ctx *ctx = f->r->ctx;
    pthread_t threads[MAX_THREADS];
    size_t wanted = ctx->serial ? 0 : (size_t)ctx->settings.volume_workers;
    size_t n = 0;
    const vmbi_limits none = {0, NULL};
    wanted = wanted < MAX_THREADS ? wanted : MAX_THREADS;
    wanted = wanted < f->n ? wanted : f->n;
    (void)pthread_mutex_lock(&f->lock);
    while (n < wanted && vmbi_thread_start(&threads[n], fill_pods, f) == 0) {
        n++;
    }
    f->alive = n;
    f->alone = n == 0;
    (void)pthread_mutex_unlock(&f->lock);
    if (n == 0) {
        (void)fill_pods(f);
    }
    while (is_alive(f)) {
        vmbi_restore_relay(f->r);
        (void)vmbi_limits_sleep(&none, TELL_NS, NULL, "volumes");
    }
    for (size_t i = 0; i < n; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    vmbi_restore_relay(f->r);
}

static bool is_to_come(vmbi_restore *r, const char *ns, const char *claim)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmbi_json *pvc = NULL;
    bool yes = vmbi_cluster_get(&r->cluster, &r->job, "", "v1", "persistentvolumeclaims", ns, claim,
                                &text, NULL) == VMB_OK &&
               vmbi_json_parse(text.data != NULL ? text.data : "", text.len, claim, &pvc, NULL) ==
                   VMB_OK &&
               vmbi_json_get(vmbi_json_path(pvc, "metadata.annotations"), VMBI_CONTENT_NOTE) != NULL;
    vmbi_json_free(pvc);
    vmbi_buf_free(&text);
    return yes;
}

/* Claims that are there and empty, since no pod of the restore mounts them. Those whose filling
 * failed have their error already. */
static void warn_of_empty(vmbi_restore *r, const filling *f)
{
    for (size_t i = 0; i < vmbi_json_len(r->pod_volumes) && !vmbi_restore_is_broken(r); i++) {
        const vmbi_json *record = vmbi_json_at(r->pod_volumes, i);
        const char *claim = claim_of(record);
        const char *ns = vmbi_json_path_str(record, "spec.pod.namespace");
        const char *pod = vmbi_json_path_str(record, "spec.pod.name");
        bool tried = claim == NULL || ns == NULL || !has_content(record);
        const char *target = tried ? "" : vmbi_restore_target(r->filter, ns);
        for (size_t k = 0; k < f->n && !tried; k++) {
            tried = vmbi_streq(f->pods[k].ns, target) && vmbi_streq(f->pods[k].name, pod);
        }
        if (!tried && !vmbi_restore_has_tried(r, target, claim) && is_to_come(r, target, claim)) {
            vmbi_restore_warn(r, target, NULL,
                              "claim %s is empty: the pod %s, into which its content belongs, was "
                              "not restored", claim, pod != NULL ? pod : "");
        }
    }
}

void vmbi_restore_pod_volumes(vmbi_restore *r)
{
    size_t n = vmbi_json_len(r->volume_pods);
    filling f = {.r = r};
    vmb_error *why = NULL;
    vmb_code rc = VMB_OK;
    if (n > 0) {
        f.pods = vmbi_alloc_array(n, sizeof(*f.pods));
        f.state = vmbi_zalloc(n);
        rc = f.pods != NULL && f.state != NULL ? VMB_OK : vmbi_fail_nomem(&why);
    }
    for (size_t i = 0; i < n && rc == VMB_OK; i++) {
        rc = make_pod(r, vmbi_json_at(r->volume_pods, i), &f.pods[i], &why);
        f.n++;
    }
    (void)pthread_mutex_init(&f.lock, NULL);
    if (rc != VMB_OK) {
        vmbi_restore_break(r, rc, &why);
    } else if (n > 0) {
        run_threads(&f);
    }
    if (rc == VMB_OK && vmbi_restore_fills(r)) {
        warn_of_empty(r, &f);
    }
    for (size_t i = 0; i < f.n; i++) {
        vmbi_fill_pod_done(&f.pods[i]);
    }
    (void)pthread_mutex_destroy(&f.lock);
    vmbi_free(f.pods);
    vmbi_free(f.state);
    vmb_error_free(why);
}
