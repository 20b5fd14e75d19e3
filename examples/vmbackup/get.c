/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup get: the backups of a location, in Velero's columns. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const char *const heads[] = {"NAME",    "STATUS",  "ERRORS",           "WARNINGS",
                                    "CREATED", "EXPIRES", "STORAGE LOCATION", "SELECTOR"};

/* The selector column: labelSelector, or the alternatives joined by " or ". */
static void add_selector(struct cli_table *table, const json_t *spec)
{
    const json_t *alternatives = json_object_get(spec, "orLabelSelectors");
    const json_t *item;
    size_t index;
    char *text = NULL;
    size_t len = 0;
    FILE *out;

    if (json_array_size(alternatives) == 0) {
        text = cli_selector_text(json_object_get(spec, "labelSelector"));
        cli_table_add(table, text ? text : "");
        free(text);
        return;
    }
    out = open_memstream(&text, &len);
    if (!out) {
        table->failed = true;
        return;
    }
    json_array_foreach(alternatives, index, item)
    {
        char *one = cli_selector_text(item);

        fprintf(out, "%s%s", index ? " or " : "", one ? one : "");
        free(one);
    }
    if (fclose(out) == 0) {
        cli_table_add(table, text);
    }
    free(text);
}

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
    add_selector(table, json_object_get(backup, "spec"));
}

/* Keeps the named backup of the list only; a new reference, NULL after a message. */
static json_t *pick(const json_t *list, const char *name)
{
    size_t index;
    json_t *backup;

    json_array_foreach(list, index, backup)
    {
        if (!strcmp(cli_text(backup, "metadata", "name"), name)) {
            return json_incref(backup);
        }
    }
    cli_error("there is no backup \"%s\" in this storage location: \"vmbackup get\" lists them",
              name);
    return NULL;
}

static int print_list(enum cli_format format, json_t *list)
{
    struct cli_table table;
    size_t index;
    const json_t *backup;

    if (format != CLI_TABLE) {
        json_t *document =
            json_pack("{s:s,s:s,s:O}", "apiVersion", "v1", "kind", "List", "items", list);
        int result = cli_print_value(format, document);

        json_decref(document);
        return result;
    }
    if (json_array_size(list) == 0) {
        fprintf(stderr, "no backups in this storage location\n");
        return CLI_OK;
    }
    cli_table_init(&table, heads, 8);
    json_array_foreach(list, index, backup)
    {
        add_backup(&table, backup);
    }
    return cli_table_print(&table);
}

static int print_one(enum cli_format format, const json_t *list, const char *name)
{
    json_t *backup = pick(list, name);
    int result;

    if (!backup) {
        return CLI_FAILED;
    }
    if (format == CLI_TABLE) {
        struct cli_table table;

        cli_table_init(&table, heads, 8);
        add_backup(&table, backup);
        result = cli_table_print(&table);
    } else {
        result = cli_print_value(format, backup);
    }
    json_decref(backup);
    return result;
}

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
    if (!list) {
        result = CLI_FAILED;
    } else if (args->name_count > 0) {
        result = print_one(format, list, args->names[0]);
    } else {
        result = print_list(format, list);
    }
out:
    json_decref(list);
    vmb_catalog_free(catalog);
    vmb_ctx_unref(ctx);
    return result;
}
