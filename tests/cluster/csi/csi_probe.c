/* SPDX-License-Identifier: Apache-2.0 */
/* Drives the CSI snapshot provider from standard input, for the suite in Python.
 *
 *   csi_probe KUBECONFIG BACKUP [SETTINGS]
 *
 * One command per line, one JSON object per answer:
 *   begin NS CLAIM      reads claim, volume and class, bids and begins
 *   poll MS             one poll
 *   deadline MS         of the jobs from here on, -1 none
 *   describe | finish | cancel | quit
 * {"code":"VMB_OK","message":"","state":0,"ms":3,"unixNs":…,"doc":…,"log":["W:…"]} */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmbackup/provider.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "codec/json.h"
#include "core/cluster.h"
#include "providers/builtin.h"
#include "providers/common/objects.h"

typedef struct probe {
    vmb_cluster_provider kube;
    vmb_exec_provider exec;
    vmb_cluster cluster;
    vmb_snapshot_provider csi;
    struct vmb_job job;
    void *op;
    int32_t state;
    int32_t score;
    vmbi_json *doc;
    vmbi_json *log;
    char backup[512];
} probe;

static void on_log(void *user, int32_t level, const char *msg)
{
    probe *p = user;
    char line[1024];
    (void)snprintf(line, sizeof line, "%c:%s", "DIWE"[level], msg);
    (void)vmbi_json_append_str(p->log, line); /* a lost line only spoils a test */
}

static vmb_code set_fetched(probe *p, vmbi_json *volume, const char *key, const char *group,
                            const char *resource, const char *ns, const char *name, vmb_error **err)
{
    vmbi_json *obj = NULL;
    vmb_code code = vmbi_fetch(&p->job, group, resource, ns, name, &obj, err);
    if (code == VMB_OK && !vmbi_json_set(volume, key, obj)) {
        code = vmbi_fail_nomem(err);
    }
    return code;
}

static vmb_code begin(probe *p, const char *ns, const char *claim, vmb_error **err)
{
    vmbi_json *volume = vmbi_json_object();
    char *text = NULL;
    size_t len = 0;
    vmb_code code = set_fetched(p, volume, "pvc", "", "persistentvolumeclaims", ns, claim, err);
    if (code == VMB_OK) {
        code =
            set_fetched(p, volume, "pv", "", "persistentvolumes", NULL,
                        vmbi_json_path_str(vmbi_json_get(volume, "pvc"), "spec.volumeName"), err);
    }
    if (code == VMB_OK) {
        code = set_fetched(
            p, volume, "storageClass", "storage.k8s.io", "storageclasses", NULL,
            vmbi_json_path_str(vmbi_json_get(volume, "pvc"), "spec.storageClassName"), err);
    }
    if (code == VMB_OK) {
        code = vmbi_json_to_text(volume, &text, &len, err);
    }
    if (code == VMB_OK) {
        code = p->csi.bid(p->csi.user, &p->job, text, len, &p->score, err);
    }
    if (code == VMB_OK) {
        code = p->csi.begin(p->csi.user, &p->job, text, len, &p->op, err);
    }
    vmb_free(text);
    vmbi_json_free(volume);
    return code;
}

static vmb_code describe(probe *p, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(16 << 20);
    struct vmb_sink sink = vmbi_sink_to_buf(&b);
    vmb_code code = p->csi.describe(p->csi.user, &p->job, p->op, &sink, err);
    if (code == VMB_OK) {
        code = vmbi_json_parse(b.data, b.len, "description", &p->doc, err);
    }
    vmbi_buf_free(&b);
    return code;
}

static vmb_code run(probe *p, const char *line, vmb_error **err)
{
    char word[32] = "";
    char ns[256] = "";
    char name[256] = "";
    (void)sscanf(line, "%31s %255s %255s", word, ns, name);
    int64_t ms = strtoll(ns, NULL, 10);
    if (strcmp(word, "begin") == 0) {
        return begin(p, ns, name, err);
    }
    if (strcmp(word, "deadline") == 0) {
        p->job.limits.deadline_mono_ns = ms >= 0 ? vmbi_mono_ns() + ms * VMBI_MS : 0;
        return VMB_OK;
    }
    if (p->op == NULL) {
        return vmbi_fail(err, VMB_E_STATE, "no operation");
    }
    if (strcmp(word, "poll") == 0) {
        return p->csi.poll(p->csi.user, &p->job, p->op, ms * VMBI_MS, &p->state, err);
    }
    if (strcmp(word, "describe") == 0) {
        return describe(p, err);
    }
    if (strcmp(word, "finish") == 0) {
        return p->csi.finish(p->csi.user, &p->job, p->op, err);
    }
    if (strcmp(word, "cancel") == 0) {
        return p->csi.cancel(p->csi.user, &p->job, p->op, err);
    }
    return vmbi_fail(err, VMB_E_ARG, "unknown command %s", word);
}

static void answer(probe *p, vmb_code code, const vmb_error *err, int64_t took_ns)
{
    vmbi_json *o = vmbi_json_object();
    char *text = NULL;
    bool ok = vmbi_json_set_str(o, "code", vmb_code_name(code)) &&
              vmbi_json_set_str(o, "message", vmb_error_message(err)) &&
              vmbi_json_set_int(o, "state", p->state) && vmbi_json_set_int(o, "score", p->score) &&
              vmbi_json_set_int(o, "ms", took_ns / VMBI_MS) &&
              vmbi_json_set_int(o, "unixNs", vmbi_unix_ns()) &&
              vmbi_json_set(o, "doc", p->doc != NULL ? vmbi_json_ref(p->doc) : vmbi_json_null()) &&
              vmbi_json_set(o, "log", vmbi_json_ref(p->log)) &&
              vmbi_json_to_text(o, &text, NULL, NULL) == VMB_OK;
    if (!ok) {
        abort(); /* a test without memory */
    }
    (void)puts(text);
    (void)fflush(stdout);
    vmb_free(text);
    vmbi_json_free(o);
    vmbi_json_free(p->doc);
    p->doc = NULL;
}

static vmb_code open_all(probe *p, char **argv, int argc, vmb_error **err)
{
    vmbi_json *settings = vmbi_json_object();
    vmbi_json *csi = NULL;
    vmb_code code = vmbi_json_set_str(settings, "kubeconfig", argv[1]) ? VMB_OK : VMB_E_NOMEM;
    if (code == VMB_OK) {
        code = vmbi_cluster_kube_new(settings, &p->kube, &p->exec, err);
    }
    vmbi_json_free(settings);
    if (code == VMB_OK) {
        code = vmbi_cluster_open(&p->cluster, &p->kube, 30 * VMBI_SECOND, &p->job, err);
    }
    p->job.cluster = &p->cluster;
    if (code == VMB_OK && argc > 3) {
        code = vmbi_json_parse(argv[3], strlen(argv[3]), "settings", &csi, err);
    }
    if (code == VMB_OK) {
        code = vmbi_snapshot_csi_new(csi, &p->csi, err);
    }
    vmbi_json_free(csi);
    return code;
}

int main(int argc, char **argv)
{
    static probe p;
    vmb_error *err = NULL;
    char *line = NULL;
    size_t cap = 0;
    if (argc < 3) {
        (void)fputs("usage: csi_probe KUBECONFIG BACKUP [SETTINGS]\n", stderr);
        return 2;
    }
    p.log = vmbi_json_array();
    p.job.log = on_log;
    p.job.log_user = &p;
    (void)snprintf(p.backup, sizeof p.backup,
                   "{\"metadata\":{\"name\":\"%s\",\"uid\":\"uid-of-%s\"},\"spec\":{}}", argv[2],
                   argv[2]);
    p.job.backup_name = argv[2];
    p.job.backup_json = p.backup;
    vmb_code code = open_all(&p, argv, argc, &err);
    answer(&p, code, err, 0);
    while (code == VMB_OK && getline(&line, &cap, stdin) > 0 && strncmp(line, "quit", 4) != 0) {
        vmb_error *why = NULL;
        int64_t start = vmbi_mono_ns();
        vmb_code rc = run(&p, line, &why);
        answer(&p, rc, why, vmbi_mono_ns() - start);
        vmb_error_free(why);
    }
    free(line);
    if (p.op != NULL) {
        p.csi.op_free(p.csi.user, p.op);
    }
    if (p.csi.destroy != NULL) {
        p.csi.destroy(p.csi.user);
    }
    if (p.kube.destroy != NULL) {
        vmbi_cluster_close(&p.cluster);
        p.exec.destroy(p.exec.user);
        p.kube.destroy(p.kube.user);
    }
    vmb_error_free(err);
    vmbi_json_free(p.log);
    return code == VMB_OK ? 0 : 1;
}
