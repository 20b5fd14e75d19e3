/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a backup: of examples/demo-cluster, or another folder of manifests, into an existing folder.
 * usage: 03_backup CLUSTER-DIR STORE-DIR      (absolute paths) */
#include <stdio.h>
#include <string.h>
#include <vmbackup/vmbackup.h>

int main(int argc, char **argv)
{
    vmb_ctx *ctx = NULL;
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    vmb_error *err = NULL;
    char cluster[512];
    char location[512];
    int failed;

    if (argc != 3) {
        fprintf(stderr, "usage: %s CLUSTER-DIR STORE-DIR\n", argv[0]);
        return 2;
    }
    snprintf(cluster, sizeof(cluster), "path: \"%s\"", argv[1]);
    snprintf(location, sizeof(location),
             "apiVersion: velero.io/v1\n"
             "kind: BackupStorageLocation\n"
             "metadata:\n"
             "  name: default\n"
             "spec:\n"
             "  provider: vmbackup.io/dir\n"
             "  config:\n"
             "    path: \"%s\"\n",
             argv[2]);

    if (vmb_ctx_new(&ctx, &err) || /* a real cluster: "cluster.kube", NULL, 0 */
        vmb_ctx_use(ctx, "cluster.dir", cluster, strlen(cluster), &err) ||
        vmb_ctx_use(ctx, "actions.kubernetes", NULL, 0, &err) ||
        vmb_ctx_use(ctx, "actions.kubevirt", NULL, 0, &err) ||
        vmb_ctx_add_location(ctx, location, strlen(location), &err) ||
        vmb_spec_new("first", &spec, &err) ||
        vmb_spec_add_string(spec, "spec.includedNamespaces", "other", &err) ||
        vmb_run_new(ctx, spec, &run, &err) || vmb_run_execute(run, &err)) {
        fprintf(stderr, "backup failed: %s\n", vmb_error_message(err));
    }
    failed = err != NULL;
    printf("%s\n", run ? vmb_run_phase(run) : "Failed");
    vmb_run_free(run);
    vmb_spec_free(spec);
    vmb_ctx_unref(ctx);
    vmb_error_free(err);
    return failed;
}
