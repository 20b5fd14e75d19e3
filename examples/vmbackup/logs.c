/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup logs: the log of a backup on standard output. */
#include "cli.h"

static vmb_code write_out(void *user, const void *data, size_t len)
{
    (void)user;
    return fwrite(data, 1, len, stdout) == len ? VMB_OK : VMB_E_IO;
}

int cli_logs(struct cli_args *args)
{
    vmb_ctx *ctx = NULL;
    vmb_catalog *catalog = NULL;
    vmb_error *err = NULL;
    int result;

    if (args->name_count == 0) {
        cli_error("no backup is named: vmbackup logs NAME");
        return CLI_USAGE;
    }
    result = cli_catalog(args, &ctx, &catalog);
    if (result != CLI_OK) {
        return result;
    }
    if (vmb_catalog_read(catalog, args->names[0], VMB_FILE_LOG, write_out, NULL, &err) != VMB_OK) {
        result = cli_fail(args->names[0], err);
    }
    vmb_catalog_free(catalog);
    vmb_ctx_unref(ctx);
    return result;
}
