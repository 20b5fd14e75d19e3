/* SPDX-License-Identifier: Apache-2.0 */
/* An item action of one's own: workloads bring the ConfigMap that their annotation
 * example.org/runbook names, objects labelled example.org/cache=true stay out, and everything else
 * is stamped with the backup's name. Objects are read and changed with jansson.
 * usage: 07_custom_action CLUSTER-DIR STORE-DIR
 * The folders exist already; STORE-DIR is an absolute path. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmbackup/vmbackup.h>

static const char *annotation(json_t *item, const char *field, const char *name)
{
    json_t *map = json_object_get(json_object_get(item, "metadata"), field);

    return json_string_value(json_object_get(map, name));
}

/* Adds an annotation and gives the object back to the library. */
static vmb_code stamp(vmb_job *job, json_t *item, vmb_action_result *result, vmb_error **err)
{
    json_t *metadata = json_object_get(item, "metadata");
    json_t *map = json_object_get(metadata, "annotations");
    vmb_code code = VMB_E_NOMEM;
    char *text;

    if (!map) {
        map = json_object();
        json_object_set_new(metadata, "annotations", map);
    }
    json_object_set_new(map, "example.org/backup", json_string(vmb_job_backup_name(job)));
    text = json_dumps(item, JSON_COMPACT);
    if (text) {
        code = vmb_action_result_set_item(result, text, strlen(text), err);
    }
    free(text);
    return code;
}

static vmb_code on_backup(void *user, vmb_job *job, const char *group, const char *resource,
                          const char *item, size_t len, vmb_action_result *result, vmb_error **err)
{
    json_t *object = json_loadb(item, len, 0, NULL);
    const char *cache;
    const char *runbook;
    vmb_code code = VMB_OK;

    (void)user;
    (void)group;
    (void)resource;
    if (!object) {
        vmb_error_set(err, VMB_E_PARSE, 0, "the object is no JSON");
        return VMB_E_PARSE;
    }
    cache = annotation(object, "labels", "example.org/cache");
    if (cache && !strcmp(cache, "true")) {
        vmb_action_result_skip(result);
        json_decref(object);
        return VMB_OK;
    }
    runbook = annotation(object, "annotations", "example.org/runbook");
    if (runbook) {
        code = vmb_action_result_add_related(
            result, "", "configmaps",
            json_string_value(json_object_get(json_object_get(object, "metadata"), "namespace")),
            runbook, VMB_RELATED_MUST, err);
    }
    if (code == VMB_OK) {
        code = stamp(job, object, result, err);
    }
    json_decref(object);
    return code;
}

static vmb_code back_up(vmb_ctx *ctx, char **argv, vmb_error **err)
{
    char cluster[512];
    char location[512];
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    vmb_code code;

    snprintf(cluster, sizeof(cluster), "{\"path\": \"%s\"}", argv[1]);
    snprintf(location, sizeof(location),
             "{\"apiVersion\": \"velero.io/v1\", \"kind\": \"BackupStorageLocation\", "
             "\"metadata\": {\"name\": \"default\"}, \"spec\": {\"provider\": "
             "\"vmbackup.io/dir\", \"config\": {\"path\": \"%s\"}}}",
             argv[2]);
    code = vmb_ctx_use(ctx, "cluster.dir", cluster, strlen(cluster), err);
    if (code == VMB_OK) {
        code = vmb_ctx_add_location(ctx, location, strlen(location), err);
    }
    if (code == VMB_OK) {
        code = vmb_spec_new("action", &spec, err);
    }
    if (code == VMB_OK) {
        code = vmb_spec_add_string(spec, "spec.includedNamespaces", "other", err);
    }
    if (code == VMB_OK) {
        code = vmb_run_new(ctx, spec, &run, err);
    }
    if (code == VMB_OK) {
        code = vmb_run_execute(run, err);
        printf("%s\n", vmb_run_phase(run));
    }
    vmb_run_free(run);
    vmb_spec_free(spec);
    return code;
}

int main(int argc, char **argv)
{
    vmb_action_provider provider = {0};
    vmb_ctx *ctx = NULL;
    vmb_error *err = NULL;
    vmb_code code;

    if (argc != 3) {
        fprintf(stderr, "usage: %s CLUSTER-DIR STORE-DIR\n", argv[0]);
        return 2;
    }
    provider.struct_size = sizeof(provider);
    provider.api_version = VMB_PROVIDER_API;
    provider.name = "runbooks";
    provider.applies_to = "configmaps,deployments.apps,virtualmachines.kubevirt.io";
    provider.backup = on_backup;

    code = vmb_ctx_new(&ctx, &err);
    if (code == VMB_OK) {
        code = vmb_ctx_add_action_provider(ctx, &provider, &err);
    }
    if (code == VMB_OK) {
        code = back_up(ctx, argv, &err);
    }
    if (code != VMB_OK) {
        fprintf(stderr, "%s: %s\n", vmb_code_name(code), vmb_error_message(err));
    }
    vmb_error_free(err);
    vmb_ctx_unref(ctx);
    return code != VMB_OK;
}
