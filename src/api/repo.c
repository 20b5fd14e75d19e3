/* SPDX-License-Identifier: Apache-2.0 */
/* repo.h: making and opening repositories, and the steps that every call on one takes. */
#include "api/repo_handle.h"

#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"

/* ---- life ------------------------------------------------------------------------------------ */

/* From the job's log: threads of the repository call it as well. */
static void log_line(void *user, int32_t level, const char *msg)
{
    vmbi_repoapi_tell(user, level, "", msg);
}

static bool init_locks(vmb_repo *r)
{
    pthread_rwlockattr_t attr;

    if (pthread_mutex_init(&r->events_lock, NULL) != 0) {
        return false;
    }
    if (pthread_rwlockattr_init(&attr) != 0) {
        (void)pthread_mutex_destroy(&r->events_lock);
        return false;
    }
    /* reads of disks that follow each other closely must not keep the index from being renewed */
    (void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    bool ok = pthread_rwlock_init(&r->index_lock, &attr) == 0;
    (void)pthread_rwlockattr_destroy(&attr);
    if (!ok) {
        (void)pthread_mutex_destroy(&r->events_lock);
    }
    return ok;
}

static vmb_code join_prefix(const char *outer, const char *inner, char **out, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(4096);
    bool both = outer[0] != '\0' && inner[0] != '\0';

    vmbi_buf_addf(&b, "%s%s%s", outer, both ? "/" : "", inner);
    vmb_code rc = vmbi_buf_take(&b, out, NULL, err, "prefix of the repository");
    vmbi_buf_free(&b);
    return rc;
}

static vmb_code copy_name(const char *s, char **out, vmb_error **err)
{
    *out = s != NULL ? vmbi_strdup(s) : NULL;
    return s == NULL || *out != NULL ? VMB_OK : vmbi_fail_nomem(err);
}

/* Snapshots, their parents and locks all carry the same name. */
static vmb_code host_name(const char *given, char **out, vmb_error **err)
{
    char name[256] = "";

    if (given == NULL && gethostname(name, sizeof(name) - 1) != 0) {
        return vmbi_fail(err, VMB_E_IO, "this machine has no name: give \"host\"");
    }
    return copy_name(given != NULL ? given : name, out, err);
}

/* The user's name, as restic writes it into snapshots. None is no failure. */
static vmb_code user_name(const char *given, char **out, vmb_error **err)
{
    char buf[1024];
    struct passwd pw;
    struct passwd *found = NULL;

    if (given == NULL && getpwuid_r(getuid(), &pw, buf, sizeof(buf), &found) == 0 &&
        found != NULL) {
        given = pw.pw_name;
    }
    return copy_name(given, out, err);
}

/* A handle without a repository in it. */
static vmb_code new_handle(vmb_ctx *ctx, const vmbi_store_location *location,
                           const vmbi_repo_settings *s, vmb_repo **out, vmb_error **err)
{
    vmb_repo *r = vmbi_zalloc(sizeof(*r));

    if (r == NULL || !init_locks(r)) {
        vmbi_free(r);
        return vmbi_fail_nomem(err);
    }
    atomic_init(&r->refs, 1);
    atomic_init(&r->busy, false);
    atomic_init(&r->disks, 0);
    atomic_init(&r->disk_lock, false);
    r->events.fd = -1;
    r->ctx = vmb_ctx_ref(ctx);
    r->location = location;
    r->lock_wait_ns = s->lock_wait_ns;
    r->no_lock = s->no_lock || location->read_only;
    vmb_code rc = vmbi_cancel_new(&r->cancel, err);
    if (rc == VMB_OK) {
        rc = host_name(s->hostname, &r->hostname, err);
    }
    if (rc == VMB_OK) {
        rc = user_name(s->username, &r->username, err);
    }
    if (rc == VMB_OK) {
        rc = join_prefix(location->prefix, s->prefix != NULL ? s->prefix : "", &r->prefix, err);
    }
    if (rc != VMB_OK) {
        vmbi_repoapi_unref(r);
        return rc;
    }
    r->job = (vmb_job){.limits = {0, r->cancel}, .log = log_line, .log_user = r};
    *out = r;
    return VMB_OK;
}

static vmb_code fill_handle(vmb_repo *r, const vmbi_repo_settings *s, bool init, vmb_error **err)
{
    const vmbi_repo_options o = {
        .store = &r->location->store,
        .job = &r->job,
        .prefix = r->prefix,
        .password = s->secret,
        .password_len = s->secret_len,
        .key_hint = s->key_hint,
        .hostname = r->hostname,
        .username = r->username,
        .compression = s->mode,
        .pack_bytes = (uint64_t)s->pack_mib << 20,
        .memory_bytes = (uint64_t)s->memory_mib << 20,
        .uploads = (uint32_t)s->uploads,
        .version = (uint32_t)s->version,
        .chunker_polynomial = s->polynomial_bits,
    };

    vmbi_ctx_enter(r->ctx);
    vmb_code rc = init ? vmbi_repo_init(&o, &r->repo, err) : vmbi_repo_open(&o, &r->repo, err);
    vmbi_ctx_leave(r->ctx);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "location %s", r->location->name) : VMB_OK;
}

static vmb_code make(vmb_ctx *ctx, const char *location, const char *settings, size_t len,
                     bool init, vmb_repo **out, vmb_error **err)
{
    vmbi_repo_settings s = {0};
    vmb_repo *r = NULL;
    const vmbi_store_location *l = NULL;
    vmb_code rc = vmbi_ctx_check(ctx, false, err);

    if (rc == VMB_OK) {
        l = vmbi_ctx_location(ctx, location, err);
        rc = l != NULL ? VMB_OK : VMB_E_NOT_FOUND;
    }
    if (rc == VMB_OK && init && l->read_only) {
        rc = vmbi_fail(err, VMB_E_STATE, "location %s: it is read-only", l->name);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repo_settings_read(settings, len, &s, err);
    }
    if (rc == VMB_OK && !init && (s.version != 0 || s.polynomial != NULL)) {
        rc = vmbi_fail(err, VMB_E_ARG,
                       "repository settings: \"%s\" is fixed when a repository is "
                       "made",
                       s.version != 0 ? "version" : "chunkerPolynomial");
    }
    if (rc == VMB_OK) {
        vmbi_ctx_freeze(ctx);
        rc = new_handle(ctx, l, &s, &r, err);
    }
    if (rc == VMB_OK && r != NULL) {
        rc = fill_handle(r, &s, init, err);
    }
    vmbi_repo_settings_done(&s);
    if (rc != VMB_OK) {
        vmb_repo_free(r);
        return rc;
    }
    *out = r;
    return VMB_OK;
}

vmb_code vmb_repo_init(vmb_ctx *ctx, const char *location, const char *settings, size_t len,
                       vmb_repo **out, vmb_error **err)
{
    if (ctx == NULL || out == NULL) {
        return vmbi_repoapi_missing("vmb_repo_init", err);
    }
    *out = NULL;
    return make(ctx, location, settings, len, true, out, err);
}

vmb_code vmb_repo_open(vmb_ctx *ctx, const char *location, const char *settings, size_t len,
                       vmb_repo **out, vmb_error **err)
{
    if (ctx == NULL || out == NULL) {
        return vmbi_repoapi_missing("vmb_repo_open", err);
    }
    *out = NULL;
    return make(ctx, location, settings, len, false, out, err);
}

void vmbi_repoapi_unref(vmb_repo *r)
{
    /* acq_rel: the last holder sees everything the others wrote */
    if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    /* a child process must not join threads that it has not, nor give its parent's lock back */
    if (getpid() == r->ctx->pid) {
        vmbi_ctx_enter(r->ctx);
        vmbi_repo_close(r->repo);
        vmbi_ctx_leave(r->ctx);
        (void)pthread_mutex_destroy(&r->events_lock);
        (void)pthread_rwlock_destroy(&r->index_lock);
    }
    vmbi_cancel_free(r->cancel);
    vmbi_free(r->prefix);
    vmbi_free(r->hostname);
    vmbi_free(r->username);
    vmbi_ctx_unref(r->ctx);
    vmbi_free(r);
}

void vmb_repo_free(vmb_repo *repo)
{
    if (repo != NULL) {
        vmbi_repoapi_unref(repo);
    }
}

void vmb_repo_cancel(vmb_repo *repo)
{
    /* a child process shares the descriptor, and must not wake its parent */
    if (repo != NULL && getpid() == repo->ctx->pid) {
        vmbi_cancel_fire(repo->cancel);
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

vmb_code vmbi_repoapi_missing(const char *function, vmb_error **err)
{
    return vmbi_fail(err, VMB_E_ARG, "%s: an argument is NULL", function);
}

vmb_code vmbi_repoapi_enter(vmb_repo *repo, const char *function, vmb_error **err)
{
    if (repo == NULL) {
        return vmbi_repoapi_missing(function, err);
    }
    vmb_code rc = vmbi_ctx_check(repo->ctx, false, err);
    if (rc == VMB_OK) {
        rc = vmbi_limits_check(&repo->job.limits, err, function);
    }
    if (rc == VMB_OK && atomic_exchange_explicit(&repo->busy, true, memory_order_acquire)) {
        rc = vmbi_fail(err, VMB_E_STATE, "%s: another call on this repository is in progress",
                       function);
    }
    if (rc == VMB_OK) {
        vmbi_ctx_enter(repo->ctx);
    }
    return rc;
}

/* Gives the disks' lock back after the last of them. Who finds a call in progress leaves it to that
 * call: each side first changes its own part and then looks at the other's. */
static void drop_disk_lock(vmb_repo *r)
{
    if (atomic_load(&r->disks) == 0 && atomic_load(&r->disk_lock) &&
        !atomic_exchange(&r->busy, true)) {
        if (atomic_load(&r->disks) == 0 && atomic_exchange(&r->disk_lock, false)) {
            vmbi_repo_unlock(r->repo);
        }
        atomic_store(&r->busy, false);
    }
}

void vmbi_repoapi_leave(vmb_repo *repo)
{
    vmbi_ctx_leave(repo->ctx);
    atomic_store(&repo->busy, false);
    drop_disk_lock(repo);
}

void vmbi_repoapi_hold(vmb_repo *r)
{
    (void)atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    (void)atomic_fetch_add(&r->disks, 1);
    if (!r->no_lock && !r->ctx->serial) {
        atomic_store(&r->disk_lock, true);
    }
}

void vmbi_repoapi_release(vmb_repo *r)
{
    (void)atomic_fetch_sub(&r->disks, 1);
    if (getpid() == r->ctx->pid) {
        drop_disk_lock(r);
    }
    vmbi_repoapi_unref(r);
}

static vmb_code may_lock(const vmb_repo *r, vmbi_repoapi_need need, vmb_error **err)
{
    if (need != VMBI_REPOAPI_READ && r->location->read_only) {
        return vmbi_fail(err, VMB_E_STATE, "location %s: it is read-only", r->location->name);
    }
    if (need != VMBI_REPOAPI_READ && r->no_lock) {
        return vmbi_fail(err, VMB_E_STATE,
                         "repository: opened with \"noLock\", which is for reading "
                         "only");
    }
    if (need == VMBI_REPOAPI_EXCLUSIVE && atomic_load(&r->disks) > 0) {
        return vmbi_fail(err, VMB_E_STATE, "repository: it has open disks; release them first");
    }
    return VMB_OK;
}

vmb_code vmbi_repoapi_lock(vmb_repo *r, vmbi_repoapi_need need, bool index, vmb_error **err)
{
    vmb_code rc = may_lock(r, need, err);

    if (atomic_load(&r->disks) == 0 && atomic_exchange(&r->disk_lock, false)) {
        vmbi_repo_unlock(r->repo); /* the last disk went while this call began */
    }
    if (rc == VMB_OK && !r->no_lock && !r->disk_lock) {
        rc = vmbi_repo_lock(r->repo,
                            need == VMBI_REPOAPI_EXCLUSIVE ? VMBI_REPO_EXCLUSIVE : VMBI_REPO_SHARED,
                            r->lock_wait_ns, err);
    }
    if (rc == VMB_OK) {
        vmbi_repo_stats stats;

        vmbi_repo_get_stats(r->repo, &stats);
        r->stored_before = stats.bytes_stored;
        r->events.last_progress_ns = 0;
    }
    if (rc != VMB_OK || !index) {
        return rc;
    }
    /* Since the last call others may have pruned: what is known from then must not be relied on. */
    (void)pthread_rwlock_wrlock(&r->index_lock);
    rc = vmbi_repo_renew_index(r->repo, err);
    (void)pthread_rwlock_unlock(&r->index_lock);
    if (rc != VMB_OK) {
        vmbi_repoapi_unlock(r);
    }
    return rc;
}

void vmbi_repoapi_unlock(vmb_repo *r)
{
    if (!r->no_lock && !r->disk_lock) {
        vmbi_repo_unlock(r->repo);
    }
}

vmb_code vmbi_repoapi_give(vmbi_json *doc, char **out, size_t *out_len, vmb_error **err)
{
    vmb_code rc = VMB_OK;

    if (doc == NULL) {
        return vmbi_fail_nomem(err);
    }
    if (out != NULL) {
        rc = vmbi_json_to_text(doc, out, out_len, err);
    }
    vmbi_json_free(doc);
    return rc;
}

/* ---- events ---------------------------------------------------------------------------------- */

vmb_code vmb_repo_set_event_fn(vmb_repo *repo, vmb_event_fn fn, void *user, vmb_error **err)
{
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_set_event_fn", err);

    if (rc != VMB_OK) {
        return rc;
    }
    (void)pthread_mutex_lock(&repo->events_lock); /* disks may be telling something */
    repo->events.fn = fn;
    repo->events.user = user;
    (void)pthread_mutex_unlock(&repo->events_lock);
    vmbi_repoapi_leave(repo);
    return VMB_OK;
}

void vmbi_repoapi_tell(vmb_repo *r, int32_t level, const char *subject, const char *text)
{
    (void)pthread_mutex_lock(&r->events_lock);
    if (r->events.fn != NULL && level >= VMB_LOG_WARNING) {
        vmbi_events_emit(&r->events, VMB_EVENT_LOG, level, subject, text, 0, -1);
    }
    if (r->ctx->log_fn != NULL && level >= r->ctx->settings.log_level) {
        vmbi_buf line = VMBI_BUF_INIT(16 << 10);

        vmbi_buf_addf(&line, "%s%s%s", subject, subject[0] != '\0' ? ": " : "", text);
        if (line.len > 0) {
            r->ctx->log_fn(r->ctx->log_user, level, line.data);
        }
        vmbi_buf_free(&line);
    }
    (void)pthread_mutex_unlock(&r->events_lock);
}

void vmbi_repoapi_warn(void *user, const char *path, const char *text)
{
    vmbi_repoapi_tell(user, VMB_LOG_WARNING, path, text);
}

void vmbi_repoapi_progress(vmb_repo *r, int64_t done, int64_t total)
{
    int64_t now = vmbi_mono_ns();

    (void)pthread_mutex_lock(&r->events_lock);
    if (r->events.fn != NULL &&
        (done == total || now - r->events.last_progress_ns >= 100 * VMBI_MS)) {
        vmbi_repo_stats stats;
        char stored[24];

        vmbi_repo_get_stats(r->repo, &stats);
        (void)snprintf(stored, sizeof(stored), "%llu",
                       (unsigned long long)(stats.bytes_stored - r->stored_before));
        r->events.last_progress_ns = now;
        vmbi_events_emit(&r->events, VMB_EVENT_PROGRESS, 0, "", stored, done, total);
    }
    (void)pthread_mutex_unlock(&r->events_lock);
}
