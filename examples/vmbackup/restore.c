/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup restore: the Restore of the command line. */
#include "cli.h"

#include <time.h>

const struct cli_option cli_restore_options[] = {
    {"from-backup", 0, CLI_STRING, "NAME", "the backup to restore"},
    {"from-schedule", 0, CLI_STRING, "NAME", "restore the schedule's latest completed backup"},
    {"file", 'f', CLI_STRING, "FILE", "a Restore in YAML or JSON, - for standard input"},
    {"include-namespaces", 0, CLI_LIST, "A,B", "namespaces to restore, globs allowed; default all"},
    {"exclude-namespaces", 0, CLI_LIST, "A,B", "namespaces to leave out"},
    {"namespace-mappings", 0, CLI_LIST, "A:B,...", "restore namespace A into namespace B"},
    {"include-resources", 0, CLI_LIST, "A,B", "resources to restore; default all"},
    {"exclude-resources", 0, CLI_LIST, "A,B", "resources to leave out"},
    {"include-cluster-resources", 0, CLI_BOOL, NULL,
     "restore cluster-scoped objects: =true, =false; unset: what is needed"},
    {"status-include-resources", 0, CLI_LIST, "A,B", "resources whose status is restored too"},
    {"status-exclude-resources", 0, CLI_LIST, "A,B", "resources whose status is not restored"},
    {"selector", 'l', CLI_STRING, "SELECTOR",
     "objects whose labels match: \"app=db,tier in (a,b)\""},
    {"or-selector", 0, CLI_STRING, "SELECTORS", "objects that match any: \"app=db or app=web\""},
    {"restore-volumes", 0, CLI_BOOL, NULL, "bring the data of volumes back; unset: yes"},
    {"preserve-nodeports", 0, CLI_BOOL, NULL, "keep the node ports of services"},
    {"existing-resource-policy", 0, CLI_STRING, "POLICY",
     "objects that exist and differ: none (leave them) or update"},
    {"resource-modifier-configmap", 0, CLI_STRING, "NAME", "ConfigMap with resource modifiers"},
    {"item-operation-timeout", 0, CLI_STRING, "DURATION", "how long asynchronous work may take"},
    {"write-sparse-files", 0, CLI_BOOL, NULL, "write holes where files have zeros"},
    {"parallel-files-download", 0, CLI_STRING, "N", "files that are downloaded at a time"},
    {"labels", 0, CLI_LIST, "K=V,...", "labels of the restore"},
    {"annotations", 0, CLI_LIST, "K=V,...", "annotations of the restore"},
    {"client-qps", 0, CLI_STRING, "N", "requests a second; default 0: as many as the server takes"},
    {"client-burst", 0, CLI_STRING, "N", "requests at once with --client-qps"},
    {"exec-command", 0, CLI_STRING, "PROGRAM",
     "run hooks by a program on this machine: PROGRAM NAMESPACE POD CONTAINER COMMAND..."},
    CLI_FS_OPTIONS,
    {"report", 0, CLI_STRING, "FILE", "write the run report (JSON) to a file"},
    {"quiet", 'q', CLI_BOOL, NULL, "print warnings, errors and the outcome only"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

/* As velero names it: the source's name and the time. */
static void default_name(const struct cli_args *args, char *out, size_t size)
{
    const char *source = cli_value(args, "from-backup");
    time_t now = time(NULL);
    struct tm t;

    source = source ? source : cli_value(args, "from-schedule");
    gmtime_r(&now, &t);
    snprintf(out, size, "%.200s-%04d%02d%02d%02d%02d%02d", source ? source : "restore",
             t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

static int make_restore(const struct cli_args *args, const char *name, vmb_spec **out)
{
    vmb_error *err = NULL;
    char made[256];

    if (!cli_value(args, "from-backup") && !cli_value(args, "from-schedule")) {
        cli_error("no backup is named: vmbackup restore create [NAME] --from-backup BACKUP");
        return CLI_USAGE;
    }
    if (!name) {
        default_name(args, made, sizeof(made));
        name = made;
    }
    return vmb_spec_new_restore(name, NULL, out, &err) != VMB_OK ? cli_fail(name, err) : CLI_OK;
}

int cli_restore(struct cli_args *args)
{
    return cli_run(args, "Restore", make_restore);
}
