/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup-operator: Velero's custom resources, served by libvmbackup. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "operator.h"

static vmb_control *control; /* for the signal handler; set before it is installed */
static int least_level = VMB_LOG_INFO;

static const char *const levels[] = {"debug", "info", "warning", "error"};

void operator_log(void *user, int32_t level, const char *msg)
{
    char at[32];
    struct tm tm;
    time_t now = time(NULL);

    (void)user;
    if (level < least_level || level > VMB_LOG_ERROR || level < 0) {
        return;
    }
    gmtime_r(&now, &tm);
    strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
    fprintf(stderr, "%s %s %s\n", at, levels[level], msg);
}

static void on_signal(int number)
{
    (void)number;
    vmb_control_stop(control);
}

static int fail(const char *what, vmb_error *err)
{
    fprintf(stderr, "vmbackup-operator: %s: %s\n", what, vmb_error_message(err));
    vmb_error_free(err);
    return 1;
}

static bool use(vmb_ctx *ctx, const char *name, json_t *settings, vmb_error **err)
{
    char *text = settings ? json_dumps(settings, JSON_COMPACT) : NULL;
    vmb_code rc = vmb_ctx_use(ctx, name, text, text ? strlen(text) : 0, err);

    free(text);
    return rc == VMB_OK;
}

static bool use_volumes(const struct operator_options *o, vmb_ctx *ctx, vmb_error **err)
{
    json_t *settings = json_object();
    bool ok;

    if (o->host_pods) {
        json_object_set_new(settings, "hostPods", json_string(o->host_pods));
    }
    if (o->node) {
        json_object_set_new(settings, "node", json_string(o->node));
    }
    ok = use(ctx, "volume.repo", settings, err);
    json_decref(settings);
    return ok;
}

static bool configure(const struct operator_options *o, vmb_ctx *ctx, vmb_error **err)
{
    json_t *cluster = json_object();
    const char *key;
    json_t *value;
    bool ok = vmb_ctx_set(ctx, "namespace", o->ns, err) == VMB_OK &&
              vmb_ctx_set_log(ctx, operator_log, NULL, NULL, err) == VMB_OK;

    json_object_foreach(o->settings, key, value)
    {
        ok = ok && vmb_ctx_set(ctx, key, json_string_value(value), err) == VMB_OK;
    }
    if (o->kubeconfig) {
        json_object_set_new(cluster, "kubeconfig", json_string(o->kubeconfig));
    }
    if (o->context) {
        json_object_set_new(cluster, "context", json_string(o->context));
    }
    json_object_set_new(cluster, "qps", json_string(o->client_qps));
    if (o->client_burst) {
        json_object_set_new(cluster, "burst", json_string(o->client_burst));
    }
    ok = ok && use(ctx, "cluster.kube", cluster, err) &&
         use(ctx, "actions.kubernetes", NULL, err) && use(ctx, "actions.kubevirt", NULL, err) &&
         use(ctx, "snapshot.csi", NULL, err) && use_volumes(o, ctx, err);
    json_decref(cluster);
    return ok;
}

static void set_level(const char *name)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(levels[i], name) == 0) {
            least_level = i;
            return;
        }
    }
    fprintf(stderr, "vmbackup-operator: --log-level: %s is not debug, info, warning or error\n",
            name);
    exit(2);
}

static void install_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
    struct operator_options o;
    vmb_error *err = NULL;
    vmb_ctx *ctx = NULL;
    int result = 0;

    mallopt(M_ARENA_MAX, 2); /* many threads that mostly wait: one arena each would be waste */
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    options_read(argc, argv, &o);
    set_level(o.log_level);
    if (vmb_ctx_new(&ctx, &err) != VMB_OK || !configure(&o, ctx, &err)) {
        result = fail("configuration", err);
        goto out;
    }
    char *settings = json_dumps(o.control, JSON_COMPACT);
    vmb_code rc = vmb_control_new(ctx, settings, settings ? strlen(settings) : 0, &control, &err);
    free(settings);
    if (rc != VMB_OK) {
        result = fail("configuration", err);
        goto out;
    }
    install_signals();
    if (o.listen && !http_start(o.listen, control)) {
        result = 1;
        goto out;
    }
    if (vmb_control_run(control, &err) != VMB_OK) {
        result = fail("run", err);
    }
    if (o.listen) { /* the responder may still be reading from the control: all end together */
        fflush(stderr);
        _exit(result);
    }
out:
    vmb_control_free(control);
    vmb_ctx_unref(ctx);
    json_decref(o.control);
    json_decref(o.settings);
    return result;
}
