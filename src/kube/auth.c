/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/auth.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "kube/file.h"
#include "kube/plugin.h"

enum { TOKEN_MAX_BYTES = 1 << 20 };

#define WAIT_SLICE_NS (200 * VMBI_MS)
/* Renewing a little early keeps a request from arriving with a token that has just expired. */
#define EXPIRY_MARGIN_NS (10 * VMBI_SECOND)

struct vmbi_kube_auth {
    const vmbi_kube_config *config;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* busy became false */
    bool busy;              /* lock: some thread renews, outside the lock */
    bool refused;           /* lock: the server does not take what is held */
    uint64_t generation;    /* lock: 0 while nothing is held */
    uint64_t cert_generation;
    vmbi_kube_credential held; /* lock */
    vmbi_kube_stamp stamp;     /* lock: of the token file when it was read */
};

void vmbi_kube_login_free(vmbi_kube_login *login)
{
    vmbi_kube_wipe(login->authorization);
    vmbi_free(login->cert_pem);
    vmbi_kube_wipe(login->key_pem);
    *login = (vmbi_kube_login){0};
}

static bool uses_plugin(const vmbi_kube_config *c)
{
    return c->plugin.command != NULL && c->token == NULL && c->token_file == NULL;
}

static bool is_renewable(const vmbi_kube_config *c)
{
    return c->token_file != NULL || uses_plugin(c);
}

vmb_code vmbi_kube_auth_new(const vmbi_kube_config *config, vmbi_kube_auth **out, vmb_error **err)
{
    pthread_condattr_t attr;
    vmbi_kube_auth *a = vmbi_zalloc(sizeof(*a));
    if (a == NULL || pthread_condattr_init(&attr) != 0) {
        vmbi_free(a);
        return vmbi_fail_nomem(err);
    }
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&a->lock, NULL);
    (void)pthread_cond_init(&a->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    a->config = config;
    *out = a;
    return VMB_OK;
}

void vmbi_kube_auth_free(vmbi_kube_auth *auth)
{
    if (auth != NULL) {
        vmbi_kube_credential_free(&auth->held);
        (void)pthread_cond_destroy(&auth->changed);
        (void)pthread_mutex_destroy(&auth->lock);
        vmbi_free(auth);
    }
}

/* With lock held. */
static bool is_fresh(const vmbi_kube_auth *a, const vmbi_kube_stamp *stamp)
{
    if (a->generation == 0 || a->refused) {
        return false;
    }
    if (a->config->token_file != NULL) {
        return vmbi_kube_stamp_equal(stamp, &a->stamp);
    }
    return a->held.expires_unix_ns == 0 ||
           vmbi_unix_ns() < a->held.expires_unix_ns - EXPIRY_MARGIN_NS;
}

static vmb_code read_token_file(const vmbi_kube_config *c, vmbi_kube_credential *out,
                                vmb_error **err)
{
    char *text = NULL;
    size_t len = 0;
    vmb_code rc = vmbi_kube_file_read(c->token_file, TOKEN_MAX_BYTES, "token file", &text, &len,
                                      err);
    if (rc != VMB_OK) {
        return vmbi_wrap(err, rc, "%s", c->origin);
    }
    size_t start = 0;
    while (len > 0 && vmbi_is_space(text[len - 1])) {
        text[--len] = '\0';
    }
    while (start < len && vmbi_is_space(text[start])) {
        start++;
    }
    len -= start;
    memmove(text, text + start, len + 1);
    if (len == 0 || strlen(text) != len) {
        vmbi_kube_wipe(text);
        return vmbi_fail(err, VMB_E_INVALID, "%s: token file %s holds no token", c->origin,
                         c->token_file);
    }
    out->token = text;
    return VMB_OK;
}

static vmb_code read_fixed(const vmbi_kube_config *c, vmbi_kube_credential *out, vmb_error **err)
{
    if (c->token != NULL) {
        out->token = vmbi_strdup(c->token);
        return out->token != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    return VMB_OK;
}

/* Outside the lock: may read files and run programs. */
static vmb_code renew(const vmbi_kube_config *c, const vmbi_limits *limits,
                      vmbi_kube_credential *out, vmb_error **err)
{
    if (c->token_file != NULL) {
        return read_token_file(c, out, err);
    }
    return uses_plugin(c) ? vmbi_kube_plugin_run(c, limits, out, err) : read_fixed(c, out, err);
}

/* With lock held; returns with it held. */
static void wait_turn(vmbi_kube_auth *a)
{
    struct timespec until;
    int64_t ns = vmbi_mono_ns() + WAIT_SLICE_NS;
    until.tv_sec = (time_t)(ns / VMBI_SECOND);
    until.tv_nsec = (long)(ns % VMBI_SECOND);
    (void)pthread_cond_timedwait(&a->changed, &a->lock, &until);
}

/* With lock held: takes over a new credential. */
static void store(vmbi_kube_auth *a, vmbi_kube_credential *fresh, const vmbi_kube_stamp *stamp)
{
    bool same_cert = vmbi_streq(a->held.cert_pem, fresh->cert_pem) &&
                     vmbi_streq(a->held.key_pem, fresh->key_pem);
    vmbi_kube_credential_free(&a->held);
    a->held = *fresh;
    *fresh = (vmbi_kube_credential){0};
    a->stamp = *stamp;
    a->refused = false;
    a->generation++;
    if (!same_cert) {
        a->cert_generation = a->held.cert_pem != NULL ? a->generation : 0;
    }
}

/* With lock held. */
static vmb_code copy_out(const vmbi_kube_auth *a, vmbi_kube_login *out, vmb_error **err)
{
    vmbi_kube_login l = {.generation = a->generation, .cert_generation = a->cert_generation};
    vmb_code rc = VMB_OK;
    if (a->held.token != NULL) {
        vmbi_buf b = VMBI_BUF_INIT(TOKEN_MAX_BYTES + 16);
        vmbi_buf_reserve(&b, strlen(a->held.token) + 8); /* once: no copies left behind */
        vmbi_buf_adds(&b, "Bearer ");
        vmbi_buf_adds(&b, a->held.token);
        rc = vmbi_buf_take(&b, &l.authorization, NULL, err, "token");
        vmbi_buf_free(&b);
    }
    if (rc == VMB_OK && a->held.cert_pem != NULL) {
        l.cert_pem = vmbi_strdup(a->held.cert_pem);
        l.key_pem = vmbi_strdup(a->held.key_pem);
        rc = l.cert_pem != NULL && l.key_pem != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (rc != VMB_OK) {
        vmbi_kube_login_free(&l);
        return rc;
    }
    *out = l;
    return VMB_OK;
}

vmb_code vmbi_kube_auth_get(vmbi_kube_auth *auth, const vmbi_limits *limits,
                            vmbi_kube_login *out, vmb_error **err)
{
    vmbi_kube_credential fresh = {0};
    vmbi_kube_stamp stamp = {0};
    vmb_code rc = VMB_OK;
    if (auth->config->token_file != NULL) {
        (void)vmbi_kube_file_stamp(auth->config->token_file, &stamp); /* reading it will tell why */
    }
    (void)pthread_mutex_lock(&auth->lock);
    while (auth->busy && rc == VMB_OK) {
        wait_turn(auth);
        rc = vmbi_limits_check(limits, err, "waiting for credentials");
    }
    if (rc == VMB_OK && !is_fresh(auth, &stamp)) {
        auth->busy = true;
        (void)pthread_mutex_unlock(&auth->lock);
        rc = renew(auth->config, limits, &fresh, err);
        (void)pthread_mutex_lock(&auth->lock);
        auth->busy = false;
        (void)pthread_cond_broadcast(&auth->changed);
        if (rc == VMB_OK) {
            store(auth, &fresh, &stamp);
        }
    }
    if (rc == VMB_OK) {
        rc = copy_out(auth, out, err);
    }
    (void)pthread_mutex_unlock(&auth->lock);
    return rc;
}

bool vmbi_kube_auth_refused(vmbi_kube_auth *auth, uint64_t generation)
{
    bool renewable = is_renewable(auth->config);
    (void)pthread_mutex_lock(&auth->lock);
    if (renewable && auth->generation == generation) {
        auth->refused = true;
    }
    (void)pthread_mutex_unlock(&auth->lock);
    return renewable;
}
