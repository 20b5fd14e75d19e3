/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup backup: the Backup of the command line. */
#include "cli.h"

static int make_backup(const struct cli_args *args, const char *name, vmb_spec **out)
{
    vmb_error *err = NULL;

    (void)args; /* the flags are applied to it later */
    if (!name) {
        cli_error("no backup is named: vmbackup backup create NAME [flags], or vmbackup backup -f "
                  "FILE");
        return CLI_USAGE;
    }
    return vmb_spec_new(name, out, &err) != VMB_OK ? cli_fail(name, err) : CLI_OK;
}

int cli_backup(struct cli_args *args)
{
    return cli_run(args, "Backup", make_backup);
}
