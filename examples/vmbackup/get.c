/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup get: the backups of a location, in Velero's columns. */
#include "cli.h"

#include <stdlib.h>

static const char *const heads[] = {"NAME",    "STATUS",  "ERRORS",           "WARNINGS",
                                    "CREATED", "EXPIRES", "STORAGE LOCATION", "SELECTOR"};

static void add_backup(struct cli_table *table, const json_t *backup)
{
    const json_t *status = json_object_get(backup, "status");
    const char *created = cli_text(status, "startTimestamp", NULL);
    char text[64];

    cli_table_add(table, cli_text(backup, "metadata", "name"));
    if (json_object_get(backup, "error")) {
        cli_table_add(table, "Unreadable");
        for (size_t i = 0; i < 5; i++) {
            cli_table_add(table, "");
        }
        cli_table_add(table, cli_text(backup, "error", NULL));
        return;
    }
    cli_table_add(table, cli_text(status, "phase", NULL));
    snprintf(text, sizeof(text), "%lld", cli_number(status, "errors", NULL));
    cli_table_add(table, text);
    snprintf(text, sizeof(text), "%lld", cli_number(status, "warnings", NULL));
    cli_table_add(table, text);
    cli_instant(*created ? created : cli_text(backup, "metadata", "creationTimestamp"), text,
                sizeof(text));
    cli_table_add(table, text);
    cli_age(cli_text(status, "expiration", NULL), text, sizeof(text), true);
    cli_table_add(table, *text ? text : "<n/a>");
    cli_table_add(table, cli_text(backup, "spec", "storageLocation"));
    cli_add_selector(table, json_object_get(backup, "spec"));
}

static const struct cli_listing listing = {"backup", "in this storage location", heads, 8,
                                           add_backup};

int cli_get(struct cli_args *args)
{
    enum cli_format format;
    vmb_ctx *ctx = NULL;
    vmb_catalog *catalog = NULL;
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    json_t *list = NULL;
    int result;

    if (!cli_output_format(args, &format)) {
        return CLI_USAGE;
    }
    result = cli_catalog(args, &ctx, &catalog);
    if (result != CLI_OK) {
        return result;
    }
    if (vmb_catalog_list_json(catalog, &text, &len, &err) != VMB_OK) {
        result = cli_fail("get", err);
        goto out;
    }
    list = cli_take_json(text, len);
    if (format == CLI_TABLE) {
        cli_plain(list);
    }
    result = list ? cli_listing_print(&listing, format, list,
                                      args->name_count > 0 ? args->names[0] : NULL)
                  : CLI_FAILED;
out:
    json_decref(list);
    vmb_catalog_free(catalog);
    vmb_ctx_unref(ctx);
    return result;
}
