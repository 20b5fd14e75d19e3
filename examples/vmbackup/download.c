/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup download: the archive of a backup as a file. */
#include "cli.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

const struct cli_option cli_download_options[] = {
    {"storage-location", 0, CLI_STRING, "NAME",
     "where the backup lies; default the default "
     "location"},
    {"output", 'o', CLI_STRING, "FILE",
     "where to write, - for standard output; default "
     "NAME-data.tar.gz"},
    {"force", 0, CLI_BOOL, NULL, "replace an existing file"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

static vmb_code write_file(void *user, const void *data, size_t len)
{
    return fwrite(data, 1, len, user) == len ? VMB_OK : VMB_E_IO;
}

static int save(vmb_catalog *catalog, const char *name, const char *path, const char *mode)
{
    bool standard = !strcmp(path, "-");
    FILE *out = standard ? stdout : fopen(path, mode);
    vmb_error *err = NULL;
    int result = CLI_OK;

    if (!out) {
        cli_error("%s: %s%s", path, strerror(errno),
                  errno == EEXIST ? ": give another --output or --force" : "");
        return CLI_FAILED;
    }
    if (vmb_catalog_read(catalog, name, VMB_FILE_CONTENTS, write_file, out, &err) != VMB_OK) {
        result = cli_fail(name, err);
    }
    if (standard) {
        return result;
    }
    if (fclose(out) != 0 && result == CLI_OK) {
        cli_error("%s: %s", path, strerror(errno));
        result = CLI_FAILED;
    }
    if (result == CLI_OK) {
        printf("saved backup %s as %s\n", name, path);
    } else {
        unlink(path); /* half an archive helps nobody */
    }
    return result;
}

int cli_download(struct cli_args *args)
{
    vmb_ctx *ctx = NULL;
    vmb_catalog *catalog = NULL;
    const char *path = cli_value(args, "output");
    char name[512];
    int result;

    if (args->name_count == 0) {
        cli_error("no backup is named: vmbackup download NAME");
        return CLI_USAGE;
    }
    if (!path) {
        snprintf(name, sizeof(name), "%s-data.tar.gz", args->names[0]);
        path = name;
    }
    result = cli_catalog(args, &ctx, &catalog);
    if (result == CLI_OK) {
        result = save(catalog, args->names[0], path, cli_flag(args, "force") ? "we" : "wxe");
    }
    vmb_catalog_free(catalog);
    vmb_ctx_unref(ctx);
    return result;
}
