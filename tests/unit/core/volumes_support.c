/* SPDX-License-Identifier: Apache-2.0 */
#include "volumes_support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static vmb_code fake_bid(void *user, vmb_job *job, const char *volume, size_t len, int32_t *score,
                         vmb_error **err)
{
    const fake_volumes *v = user;
    (void)job;
    (void)volume;
    (void)len;
    (void)err;
    *score = v->score != 0 ? v->score : 100;
    return VMB_OK;
}

static void enter(fake_volumes *v, const char *doc)
{
    (void)pthread_mutex_lock(&lock);
    v->running++;
    v->started++;
    v->max_running = v->running > v->max_running ? v->running : v->max_running;
    if (v->n_docs < MAX_DOCS) {
        v->docs[v->n_docs++] = strdup(doc);
    }
    if (v->cancel != NULL && v->started == 2) {
        vmb_run_cancel(v->cancel);
    }
    (void)pthread_mutex_unlock(&lock);
}

static vmb_code fake_backup(void *user, vmb_job *job, const char *volume, size_t len,
                            vmb_progress *progress, vmb_sink *out, vmb_error **err)
{
    fake_volumes *v = user;
    vmbi_json *doc = NULL;
    char text[512];
    if (vmbi_json_parse(volume, len, "volume", &doc, err) != VMB_OK) {
        return VMB_E_PARSE;
    }
    const char *name = vmbi_json_path_str(doc, "volume.name");
    enter(v, volume);
    fakes_note(v->f, "save", name, "");
    vmb_progress_update(progress, 1, 4);
    vmb_job_log(job, VMB_LOG_INFO, "line of the fake");
    vmb_code rc = v->sleep_ns > 0 ? vmb_job_sleep(job, v->sleep_ns, err) : VMB_OK;
    if (rc == VMB_OK && v->fail_volume != NULL && strcmp(v->fail_volume, name) == 0) {
        vmb_error_set(err, VMB_E_IO, 0, "the disk of the fake is broken");
        rc = VMB_E_IO;
    }
    if (rc == VMB_OK) {
        (void)snprintf(text, sizeof(text),
                       "{\"snapshotID\":\"id-%s\",\"uploaderType\":\"restic\",\"repoIdentifier\":"
                       "\"s3:x/restic/shop\",\"path\":\"/pods/%s\",\"node\":\"n1\",\"size\":4,"
                       "\"incrementalSize\":2}",
                       name, name);
        const char *result = v->result != NULL ? v->result : text;
        vmb_progress_update(progress, 4, 4);
        rc = vmb_sink_write(out, result, strlen(result), err);
        fakes_note(v->f, "saved", name, "");
    }
    (void)pthread_mutex_lock(&lock);
    v->running--;
    (void)pthread_mutex_unlock(&lock);
    vmbi_json_free(doc);
    return rc;
}

static vmb_code fake_remove(void *user, vmb_job *job, const char *snapshot, size_t len,
                            vmb_error **err)
{
    fake_volumes *v = user;
    (void)job;
    (void)len;
    (void)err;
    v->removed++;
    fakes_note(v->f, "forget", snapshot, "");
    return VMB_OK;
}

static void fake_destroy(void *user)
{
    ((fake_volumes *)user)->destroyed++;
}

void volumes_done(fake_volumes *v)
{
    for (size_t i = 0; i < v->n_docs; i++) {
        free(v->docs[i]);
    }
}

vmb_ctx *volumes_ctx(fakes *f, fake_volumes *v)
{
    fakes_add(f, "namespaces",
              "{\"metadata\":{\"name\":\"shop\"},\"status\":{\"phase\":\"Active\"}}");
    fakes_add(f, "persistentvolumeclaims",
              "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":"
              "\"disk\",\"namespace\":\"shop\",\"uid\":\"uid-disk\"},\"spec\":{\"volumeName\":"
              "\"pv-1\"},\"status\":{\"phase\":\"Bound\"}}");
    fakes_add(f, "persistentvolumes",
              "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolume\",\"metadata\":{\"name\":"
              "\"pv-1\"},\"spec\":{\"persistentVolumeReclaimPolicy\":\"Delete\",\"csi\":{\"driver\":"
              "\"d\"}}}");
    vmb_ctx *ctx = fakes_ctx(f);
    if (ctx == NULL || vmb_ctx_use(ctx, "actions.kubernetes", NULL, 0, NULL) != VMB_OK) {
        return NULL;
    }
    if (v != NULL) {
        vmb_volume_provider p = {.struct_size = sizeof(p), .api_version = VMB_PROVIDER_API,
                                 .name = "fake", .user = v, .flags = v->flags,
                                 .destroy = fake_destroy, .bid = fake_bid, .backup = fake_backup,
                                 .remove = fake_remove};
        v->f = f;
        if (vmb_ctx_add_volume_provider(ctx, &p, NULL) != VMB_OK) {
            return NULL;
        }
    }
    return ctx;
}

void volumes_pod(fakes *f, const char *name, const char *phase, const char *annotations,
                 const char *volumes, const char *mounts)
{
    char pod[8192];
    (void)snprintf(pod, sizeof(pod),
                   "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\","
                   "\"namespace\":\"shop\",\"uid\":\"uid-%s\",\"annotations\":{%s}},\"spec\":{"
                   "\"nodeName\":\"n1\",\"containers\":[{\"name\":\"compute\",%s}],"
                   "\"volumes\":[%s]},\"status\":{\"phase\":\"%s\"}}",
                   name, name, annotations, mounts, volumes, phase);
    fakes_add(f, "pods", pod);
}

void volumes_usual_pod(fakes *f, const char *annotations)
{
    volumes_pod(f, "launcher", "Running", annotations,
                "{\"name\":\"disk\",\"persistentVolumeClaim\":{\"claimName\":\"disk\"}},"
                "{\"name\":\"cache\",\"emptyDir\":{}}",
                "\"volumeMounts\":[{\"name\":\"disk\"},{\"name\":\"cache\"}]");
}

vmb_run *volumes_run(vmb_ctx *ctx, const char *spec, const char *annotations)
{
    char doc[4096];
    vmb_spec *s = NULL;
    vmb_run *run = NULL;
    vmb_error *err = NULL;
    (void)snprintf(doc, sizeof(doc),
                   "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"Backup\",\"metadata\":{\"name\":"
                   "\"b1\",\"annotations\":{%s}},\"spec\":{\"includedNamespaces\":[\"shop\"]%s%s}}",
                   annotations, spec[0] != '\0' ? "," : "", spec);
    if (vmb_spec_parse(doc, strlen(doc), "b1", &s, &err) != VMB_OK ||
        vmb_run_new(ctx, s, &run, &err) != VMB_OK) {
        (void)fprintf(stderr, "%s\n", vmb_error_message(err));
    }
    vmb_error_free(err);
    vmb_spec_free(s);
    return run;
}

static vmb_code to_buf(void *user, const void *data, size_t len)
{
    vmbi_buf_add(user, data, len);
    return VMB_OK;
}

vmbi_json *volumes_file(vmb_ctx *ctx, int32_t file)
{
    vmb_catalog *cat = NULL;
    vmbi_json *doc = NULL;
    vmbi_buf text = VMBI_BUF_INIT(1 << 20);
    if (vmb_catalog_open(ctx, NULL, &cat, NULL) == VMB_OK &&
        vmb_catalog_read(cat, "b1", file, to_buf, &text, NULL) == VMB_OK) {
        (void)vmbi_json_parse(text.data, text.len, "file", &doc, NULL);
    }
    vmb_catalog_free(cat);
    vmbi_buf_free(&text);
    return doc;
}

vmbi_json *volumes_record(vmbi_json *records, const char *volume)
{
    for (size_t i = 0; i < vmbi_json_len(records); i++) {
        const char *name = vmbi_json_path_str(vmbi_json_at(records, i), "spec.volume");
        name = name != NULL ? name
                            : vmbi_json_path_str(vmbi_json_at(records, i), "pvbInfo.volumeName");
        if (name != NULL && strcmp(name, volume) == 0) {
            return vmbi_json_at(records, i);
        }
    }
    return NULL;
}

bool volumes_saved(const fakes *f, const char *volume)
{
    char line[128];
    (void)snprintf(line, sizeof(line), "save %s ", volume);
    line[strlen(line) - 1] = '\0'; /* "save a" must not find "save ab" */
    for (size_t i = 0; i < f->n_journal; i++) {
        if (strcmp(f->journal[i], line) == 0) {
            return true;
        }
    }
    return false;
}

int64_t volumes_count(vmb_run *run, const char *counter)
{
    char *text = NULL;
    size_t len = 0;
    vmbi_json *report = NULL;
    int64_t n = -1;
    if (vmb_run_report_json(run, &text, &len, NULL) == VMB_OK &&
        vmbi_json_parse(text, len, "report", &report, NULL) == VMB_OK) {
        n = vmbi_json_int(vmbi_json_get(vmbi_json_path(report, "backup.status"), counter), 0);
    }
    vmb_free(text);
    vmbi_json_free(report);
    return n;
}
