/* SPDX-License-Identifier: Apache-2.0 */
/* Locks between processes: files below locks/ that everybody reads. Stale ones still count until
 * somebody breaks them, as with restic. Source: restic internal/repository/lock.go. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "codec/digest.h"
#include "repo/restic/restic.h"

static const char dir[] = "locks/";

enum { LOCK_MAX = 64 << 10, READ_TRIES = 3 };
#define REFRESH_EVERY (300 * VMBI_SECOND)
#define REFRESH_AGAIN (60 * VMBI_SECOND) /* after a failure */
#define STALE_AFTER (1800 * VMBI_SECOND)
#define TRUST_FOR (1350 * VMBI_SECOND) /* 22.5 minutes: well before others may call it stale */
#define SETTLE (200 * VMBI_MS)         /* for two that lock at the same time to see each other */
#define LOOK_EVERY (10 * VMBI_SECOND)
#define CLEANUP_TIME (30 * VMBI_SECOND)

typedef struct lock_info {
    int64_t time_unix_ns;
    bool exclusive;
    char hostname[128];
    char username[128];
    int64_t pid;
} lock_info;

/* A job that ends by itself and hears no cancellation: for refreshing and giving back. */
static vmb_job quiet_job(const vmbi_restic *r)
{
    vmb_job job = *r->storage.job;

    job.limits = (vmbi_limits){vmbi_mono_ns() + CLEANUP_TIME, NULL};
    return job;
}

static vmb_code lock_parse(const char *text, size_t len, const char *path, lock_info *out,
                           vmb_error **err)
{
    vmbi_json *v = NULL;
    const char *t = NULL, *host = NULL, *user = NULL;
    vmb_code code = vmbi_json_parse(text, len, path, &v, err);

    if (code != VMB_OK) {
        return code;
    }
    memset(out, 0, sizeof(*out));
    t = vmbi_json_get_str(v, "time");
    host = vmbi_json_get_str(v, "hostname");
    user = vmbi_json_get_str(v, "username");
    if (t == NULL || !vmbi_parse_rfc3339(t, &out->time_unix_ns)) {
        code = vmbi_fail(err, VMB_E_INVALID, "%s: \"time\" is missing or malformed", path);
    }
    out->exclusive = vmbi_json_bool(vmbi_json_get(v, "exclusive"), false);
    out->pid = vmbi_json_int(vmbi_json_get(v, "pid"), 0);
    memcpy(out->hostname, host != NULL ? host : "", host != NULL ? strnlen(host, 127) : 0);
    memcpy(out->username, user != NULL ? user : "", user != NULL ? strnlen(user, 127) : 0);
    vmbi_json_free(v);
    return code;
}

static vmb_code lock_read(vmbi_restic *r, const vmbi_repo_id *id, lock_info *out, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(LOCK_MAX);
    char path[VMBI_RESTIC_PATH];
    vmb_code code = vmbi_restic_load_file(r, dir, id, &text, err);

    vmbi_restic_path(path, dir, id);
    if (code == VMB_OK) {
        code = lock_parse(text.data != NULL ? text.data : "", text.len, path, out, err);
    }
    vmbi_buf_free(&text);
    return code;
}

static bool is_stale(const vmbi_restic *r, const lock_info *l)
{
    if (vmbi_unix_ns() - l->time_unix_ns > STALE_AFTER) {
        return true;
    }
    return strcmp(l->hostname, r->hostname) == 0 && l->pid > 0 && l->pid <= INT32_MAX &&
           kill((pid_t)l->pid, 0) != 0 && errno == ESRCH;
}

static vmb_code conflict(const vmbi_restic *r, const vmbi_repo_id *id, const lock_info *l,
                         vmb_error **err)
{
    char hex[VMBI_REPO_HEX_SIZE];
    char when[VMBI_RFC3339_SIZE];

    vmbi_repo_id_hex(id, hex);
    vmbi_format_rfc3339(l->time_unix_ns, when);
    return vmbi_fail_retryable(err, VMB_E_CONFLICT,
                               "repository: locked%s by process %lld of %s on %s since %s "
                               "(lock %.8s%s)", l->exclusive ? " exclusively" : "",
                               (long long)l->pid, l->username, l->hostname, when, hex,
                               is_stale(r, l) ? ", stale: it can be broken" : "");
}

/* Reads one lock with patience: it may be half written, or on its way out. */
static vmb_code read_patiently(vmbi_restic *r, const vmbi_repo_id *id, bool *gone, lock_info *out,
                               vmb_error **err)
{
    int i = 0;
    vmb_code code = VMB_OK;

    *gone = false;
    for (i = 0; i < READ_TRIES; i++) {
        vmb_error *why = NULL;

        code = lock_read(r, id, out, &why);
        if (code == VMB_OK) {
            return VMB_OK;
        }
        if (code == VMB_E_NOT_FOUND) {
            vmb_error_free(why);
            *gone = true;
            return VMB_OK;
        }
        vmbi_error_move(err, &why);
        if (i + 1 < READ_TRIES) {
            vmb_code slept = vmbi_limits_sleep(&r->storage.job->limits, VMBI_SECOND, err, "lock");

            if (slept != VMB_OK) {
                return slept;
            }
        }
    }
    return code;
}

/* Fails when another lock is in the way. own: the lock not to look at, or NULL. */
static vmb_code check_others(vmbi_restic *r, vmbi_repo_lock_kind kind, const vmbi_repo_id *own,
                             vmb_error **err)
{
    vmbi_id_list list = {NULL, NULL, 0, 0};
    size_t i = 0;
    vmb_code code = vmbi_restic_list(r, dir, &list, err);

    for (i = 0; code == VMB_OK && i < list.n; i++) {
        lock_info l;
        bool gone = false;

        if (list.sizes[i] == 0 || /* what a full disk left of somebody's lock */
            (own != NULL && memcmp(own->b, list.v[i].b, VMBI_REPO_ID_SIZE) == 0)) {
            continue;
        }
        code = read_patiently(r, &list.v[i], &gone, &l, err);
        if (code == VMB_OK && !gone && (l.exclusive || kind == VMBI_REPO_EXCLUSIVE)) {
            code = conflict(r, &list.v[i], &l, err);
        }
    }
    vmbi_id_list_free(&list);
    return code;
}

static vmb_code lock_write(vmbi_restic *r, vmb_job *job, vmbi_repo_lock_kind kind, vmbi_repo_id *id,
                           vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(LOCK_MAX);
    char when[VMBI_RFC3339_SIZE];
    vmb_code code = VMB_OK;

    vmbi_format_rfc3339(vmbi_unix_ns(), when);
    vmbi_buf_addf(&text, "{\"time\":\"%s\",\"exclusive\":%s,\"hostname\":", when,
                  kind == VMBI_REPO_EXCLUSIVE ? "true" : "false");
    vmbi_buf_add_json_string(&text, r->hostname, strlen(r->hostname));
    vmbi_buf_adds(&text, ",\"username\":");
    vmbi_buf_add_json_string(&text, r->username, strlen(r->username));
    vmbi_buf_addf(&text, ",\"pid\":%ld", (long)getpid());
    if (getuid() != 0) {
        vmbi_buf_addf(&text, ",\"uid\":%u", (unsigned)getuid());
    }
    if (getgid() != 0) {
        vmbi_buf_addf(&text, ",\"gid\":%u", (unsigned)getgid());
    }
    vmbi_buf_addc(&text, '}');
    code = vmbi_buf_check(&text, err, "lock");
    if (code == VMB_OK) {
        code = vmbi_restic_save_file(r, job, dir, text.data, text.len, id, err);
    }
    vmbi_buf_free(&text);
    return code;
}

static void lock_remove(vmbi_restic *r, const vmbi_repo_id *id)
{
    vmb_job job = quiet_job(r);
    char path[VMBI_RESTIC_PATH];
    vmb_error *why = NULL;

    vmbi_restic_path(path, dir, id);
    if (vmbi_storage_remove(&r->storage, &job, path, &why) != VMB_OK) {
        vmbi_restic_log(r, VMB_LOG_WARNING, "%s", vmb_error_message(why));
    }
    vmb_error_free(why);
}

/* ---- refreshing ---- */

static void mark_lost(vmbi_restic *r, const char *why)
{
    (void)pthread_mutex_lock(&r->locker.mutex);
    r->locker.lost = true;
    (void)pthread_mutex_unlock(&r->locker.mutex);
    vmbi_restic_log(r, VMB_LOG_ERROR, "repository: our lock %s; nothing more will be written", why);
}

/* Writes a new lock file, then removes the old one. false: try again soon. */
static bool refresh(vmbi_restic *r)
{
    vmb_job job = quiet_job(r);
    char path[VMBI_RESTIC_PATH];
    vmbi_repo_id old, fresh;
    vmb_error *why = NULL;
    int64_t age = 0;
    bool there = true;
    vmb_code code = VMB_OK;

    (void)pthread_mutex_lock(&r->locker.mutex);
    old = r->locker.id;
    age = vmbi_mono_ns() - r->locker.refreshed_mono_ns;
    (void)pthread_mutex_unlock(&r->locker.mutex);
    if (age > TRUST_FOR) {
        mark_lost(r, "could not be refreshed in time");
        return true;
    }
    vmbi_restic_path(path, dir, &old);
    code = vmbi_storage_exists(&r->storage, &job, path, &there, &why);
    if (code == VMB_OK && !there) {
        mark_lost(r, "was removed by somebody");
        return true;
    }
    if (code == VMB_OK) {
        code = lock_write(r, &job, r->locker.kind, &fresh, &why);
    }
    if (code != VMB_OK) {
        vmbi_restic_log(r, VMB_LOG_WARNING, "refresh the lock: %s", vmb_error_message(why));
        vmb_error_free(why);
        return false;
    }
    (void)pthread_mutex_lock(&r->locker.mutex);
    r->locker.id = fresh;
    r->locker.refreshed_mono_ns = r->locker.seen_mono_ns = vmbi_mono_ns();
    (void)pthread_mutex_unlock(&r->locker.mutex);
    lock_remove(r, &old);
    return true;
}

static void *refresh_thread(void *arg)
{
    vmbi_restic *r = arg;
    vmbi_locker *k = &r->locker;
    int64_t next = vmbi_mono_ns() + REFRESH_EVERY;

    (void)pthread_mutex_lock(&k->mutex);
    while (!k->stop && !k->lost) {
        const struct timespec at = {(time_t)(next / VMBI_SECOND), (long)(next % VMBI_SECOND)};

        if (vmbi_mono_ns() < next) {
            (void)pthread_cond_timedwait(&k->cond, &k->mutex, &at);
            continue;
        }
        (void)pthread_mutex_unlock(&k->mutex);
        next = vmbi_mono_ns() + (refresh(r) ? REFRESH_EVERY : REFRESH_AGAIN);
        (void)pthread_mutex_lock(&k->mutex);
    }
    (void)pthread_mutex_unlock(&k->mutex);
    return NULL;
}

/* ---- taking and giving back ---- */

static vmb_code try_lock(vmbi_restic *r, vmbi_repo_lock_kind kind, vmbi_repo_id *id, vmb_error **err)
{
    vmb_code code = check_others(r, kind, NULL, err);

    if (code == VMB_OK) {
        code = lock_write(r, NULL, kind, id, err);
    }
    if (code != VMB_OK) {
        return code;
    }
    code = vmbi_limits_sleep(&r->storage.job->limits, SETTLE, err, "lock");
    if (code == VMB_OK) {
        code = check_others(r, kind, id, err);
    }
    if (code != VMB_OK) {
        lock_remove(r, id);
    }
    return code;
}

static vmb_code start_refreshing(vmbi_restic *r, vmbi_repo_lock_kind kind, const vmbi_repo_id *id,
                                 vmb_error **err)
{
    vmbi_locker *k = &r->locker;
    int rc = 0;

    (void)pthread_mutex_lock(&k->mutex);
    k->id = *id;
    k->kind = kind;
    k->held = true;
    k->lost = k->stop = false;
    k->refreshed_mono_ns = k->seen_mono_ns = vmbi_mono_ns();
    rc = pthread_create(&k->thread, NULL, refresh_thread, r);
    k->running = rc == 0;
    (void)pthread_mutex_unlock(&k->mutex);
    return rc == 0 ? VMB_OK : vmbi_fail_errno(err, rc, "start a thread for the lock");
}

/* Pauses grow from 1 s to 60 s, with a random part so that two do not meet again and again. */
static int64_t pause_ns(int attempt)
{
    const int64_t base = VMBI_SECOND << (attempt < 6 ? attempt : 6);
    uint32_t part = 0;

    vmbi_random(&part, sizeof(part));
    return (base < 60 * VMBI_SECOND ? base : 60 * VMBI_SECOND) / 2 + (int64_t)part % (base / 2);
}

vmb_code vmbi_restic_lock(vmbi_repo *base, vmbi_repo_lock_kind kind, int64_t wait_ns,
                          vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    const int64_t start = vmbi_mono_ns();
    vmbi_repo_id id;
    int attempt = 0;
    bool held = false;
    vmb_code code = VMB_OK;

    (void)pthread_mutex_lock(&r->locker.mutex);
    held = r->locker.held;
    (void)pthread_mutex_unlock(&r->locker.mutex);
    if (held) {
        return vmbi_fail(err, VMB_E_STATE, "repository: we hold a lock already");
    }
    for (attempt = 0;; attempt++) {
        const int64_t pause = pause_ns(attempt);
        int64_t left = 0;
        vmb_error *why = NULL;

        code = try_lock(r, kind, &id, &why);
        left = wait_ns - (vmbi_mono_ns() - start);
        if (code != VMB_E_CONFLICT || left <= 0) {
            vmbi_error_move(err, &why);
            break;
        }
        vmb_error_free(why);
        /* the last pause is cut short, so that the last try is at the end of the wait */
        code = vmbi_limits_sleep(&r->storage.job->limits, pause < left ? pause : left, err,
                                 "wait for a lock");
        if (code != VMB_OK) {
            return code;
        }
    }
    if (code == VMB_OK) {
        code = start_refreshing(r, kind, &id, err);
        if (code != VMB_OK) {
            vmbi_restic_unlock(base);
        }
    }
    return code;
}

void vmbi_restic_unlock(vmbi_repo *base)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_locker *k = &r->locker;
    bool held = false, running = false;

    vmbi_packer_salvage(r); /* while the lock keeps others from pruning it */
    (void)pthread_mutex_lock(&k->mutex);
    held = k->held;
    running = k->running;
    k->held = k->running = false;
    k->stop = true;
    (void)pthread_cond_broadcast(&k->cond);
    (void)pthread_mutex_unlock(&k->mutex);
    if (running) {
        (void)pthread_join(k->thread, NULL);
    }
    if (held) {
        lock_remove(r, &k->id);
    }
}

vmb_code vmbi_restic_break_locks(vmbi_repo *base, bool all, size_t *removed, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_id_list list = {NULL, NULL, 0, 0};
    vmbi_repo_id own;
    bool held = false;
    size_t i = 0, n = 0;
    vmb_code code = vmbi_restic_list(r, dir, &list, err);

    (void)pthread_mutex_lock(&r->locker.mutex);
    held = r->locker.held;
    own = r->locker.id;
    (void)pthread_mutex_unlock(&r->locker.mutex);
    for (i = 0; code == VMB_OK && i < list.n; i++) {
        char path[VMBI_RESTIC_PATH];
        lock_info l;

        if (held && memcmp(own.b, list.v[i].b, VMBI_REPO_ID_SIZE) == 0) {
            continue;
        }
        if (all || (lock_read(r, &list.v[i], &l, NULL) == VMB_OK && is_stale(r, &l))) {
            vmbi_restic_path(path, dir, &list.v[i]);
            code = vmbi_storage_remove(&r->storage, NULL, path, err);
            n += code == VMB_OK;
        }
    }
    if (code == VMB_OK && removed != NULL) {
        *removed = n;
    }
    vmbi_id_list_free(&list);
    return code;
}

vmb_code vmbi_restic_may_write(vmbi_restic *r, vmbi_repo_lock_kind kind, vmb_error **err)
{
    vmbi_locker *k = &r->locker;
    bool held = false, lost = false;

    (void)pthread_mutex_lock(&k->mutex);
    held = k->held && (kind == VMBI_REPO_SHARED || k->kind == VMBI_REPO_EXCLUSIVE);
    lost = k->lost || vmbi_mono_ns() - k->refreshed_mono_ns > TRUST_FOR;
    (void)pthread_mutex_unlock(&k->mutex);
    if (!held) {
        return vmbi_fail(err, VMB_E_STATE, "repository: we do not hold the %s lock",
                         kind == VMBI_REPO_EXCLUSIVE ? "exclusive" : "shared");
    }
    return lost ? vmbi_fail(err, VMB_E_CONFLICT, "repository: our lock was removed or is too old")
                : VMB_OK;
}

vmb_code vmbi_restic_still_locked(vmbi_restic *r, vmb_job *job, bool now, vmb_error **err)
{
    vmbi_locker *k = &r->locker;
    char path[VMBI_RESTIC_PATH];
    vmbi_repo_id id;
    bool look = false, there = true, same = false;
    vmb_code code = vmbi_restic_may_write(r, VMBI_REPO_SHARED, err);

    if (code != VMB_OK) {
        return code;
    }
    (void)pthread_mutex_lock(&k->mutex);
    id = k->id;
    look = now || vmbi_mono_ns() - k->seen_mono_ns > LOOK_EVERY;
    (void)pthread_mutex_unlock(&k->mutex);
    if (!look) {
        return VMB_OK;
    }
    vmbi_restic_path(path, dir, &id);
    code = vmbi_storage_exists(&r->storage, job, path, &there, err);
    if (code != VMB_OK) {
        return code;
    }
    (void)pthread_mutex_lock(&k->mutex);
    same = memcmp(id.b, k->id.b, VMBI_REPO_ID_SIZE) == 0; /* not refreshed just now */
    if (same && there) {
        k->seen_mono_ns = vmbi_mono_ns();
    }
    (void)pthread_mutex_unlock(&k->mutex);
    if (same && !there) {
        mark_lost(r, "was removed by somebody");
        return vmbi_restic_may_write(r, VMBI_REPO_SHARED, err);
    }
    return VMB_OK;
}
