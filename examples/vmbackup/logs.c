/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup logs: the log of a backup or a restore on standard output. */
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

int cli_restore_logs(struct cli_args *args)
{
    vmb_ctx *ctx = NULL;
    vmb_catalog *catalog = NULL;
    json_t *restore = NULL;
    vmb_error *err = NULL;
    int result;

    if (args->name_count == 0) {
        cli_error("no restore is named: vmbackup logs restore NAME");
        return CLI_USAGE;
    }
    result = cli_find_restore(args, args->names[0], &ctx, &catalog, &restore);
    if (result == CLI_OK && vmb_catalog_read(catalog, args->names[0], VMB_FILE_RESTORE_LOG,
                                             write_out, NULL, &err) != VMB_OK) {
        if (vmb_error_code(err) == VMB_E_NOT_FOUND) {
            cli_error("restore %s has no log in the storage location: %s", args->names[0],
                      restore ? "it has not ended, or its files are gone"
                              : "\"vmbackup get restores\" lists the restores");
            vmb_error_free(err);
            result = CLI_FAILED;
        } else {
            result = cli_fail(args->names[0], err);
        }
    }
    json_decref(restore);
    vmb_catalog_free(catalog);
    vmb_ctx_unref(ctx);
    return result;
}
