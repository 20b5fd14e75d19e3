/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup get restores, and finding one. A Restore is an object in the cluster, as Velero has it;
 * its files lie in the location of its backup. Restores of this program leave their Restore there,
 * too, so that they are known without a cluster. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const char *const heads[] = {"NAME",     "BACKUP", "STATUS",  "STARTED", "COMPLETED",
                                    "ERRORS", "WARNINGS", "CREATED", "SELECTOR"};

static void add_instant(struct cli_table *table, const char *rfc3339)
{
    char text[64];

    cli_instant(rfc3339, text, sizeof(text));
    cli_table_add(table, text);
}

static void add_count(struct cli_table *table, const json_t *status, const char *key)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld", cli_number(status, key, NULL));
    cli_table_add(table, text);
}

static void add_restore(struct cli_table *table, const json_t *restore)
{
    const json_t *spec = json_object_get(restore, "spec");
    const json_t *status = json_object_get(restore, "status");
    const char *phase = cli_text(status, "phase", NULL);
    const char *backup = cli_text(spec, "backupName", NULL);

    cli_table_add(table, cli_text(restore, "metadata", "name"));
    if (json_object_get(restore, "error")) {
        cli_table_add(table, "");
        cli_table_add(table, "Unreadable");
        for (size_t i = 0; i < 5; i++) {
            cli_table_add(table, "");
        }
        cli_table_add(table, cli_text(restore, "error", NULL));
        return;
    }
    cli_table_add(table, *backup ? backup : spec ? "" : "<n/a>");
    cli_table_add(table, *phase ? phase : spec ? "New" : "<n/a>");
    add_instant(table, cli_text(status, "startTimestamp", NULL));
    add_instant(table, cli_text(status, "completionTimestamp", NULL));
    add_count(table, status, "errors");
    add_count(table, status, "warnings");
    add_instant(table, cli_text(restore, "metadata", "creationTimestamp"));
    cli_add_selector(table, spec);
}

static const struct cli_listing listing = {"restore", "in this storage location or the cluster",
                                           heads, 9, add_restore};

bool cli_has_cluster(const struct cli_args *args)
{
    return cli_value(args, "kubeconfig") || cli_value(args, "context") ||
           cli_value(args, "cluster-dir") ||
           !(cli_value(args, "location-file") || cli_value(args, "store-dir"));
}

/* Resources of the cluster. A cluster that does not know the kind has none. */
static int of_cluster(vmb_ctx *ctx, const char *resource, const char *name, json_t **out)
{
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;

    if (vmb_ctx_resources_json(ctx, resource, name, &text, &len, &err) != VMB_OK) {
        if (vmb_error_code(err) == VMB_E_NOT_FOUND) {
            vmb_error_free(err);
            return CLI_OK;
        }
        return cli_fail(resource, err);
    }
    *out = cli_take_json(text, len);
    return *out ? CLI_OK : CLI_FAILED;
}

static bool has(const json_t *list, const char *name)
{
    const json_t *one;
    size_t index;

    json_array_foreach(list, index, one)
    {
        if (!strcmp(cli_text(one, "metadata", "name"), name)) {
            return true;
        }
    }
    return false;
}

/* Takes in, by name, what the location knows and the cluster does not. */
static int merge(json_t *list, const json_t *stored)
{
    json_t *one;
    size_t index;

    json_array_foreach(stored, index, one)
    {
        const char *name = cli_text(one, "metadata", "name");
        size_t at = 0;

        if (has(list, name)) {
            continue;
        }
        while (at < json_array_size(list) &&
               strcmp(cli_text(json_array_get(list, at), "metadata", "name"), name) < 0) {
            at++;
        }
        if (json_array_insert(list, at, one) != 0) {
            cli_error("out of memory");
            return CLI_FAILED;
        }
    }
    return CLI_OK;
}

static int add_stored(const struct cli_args *args, vmb_ctx *ctx, json_t *list)
{
    const char *location = cli_value(args, "storage-location");
    vmb_catalog *catalog = NULL;
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    json_t *stored;
    int result;

    if (vmb_catalog_open(ctx, location, &catalog, &err) != VMB_OK ||
        vmb_catalog_restores_json(catalog, &text, &len, &err) != VMB_OK) {
        vmb_catalog_free(catalog);
        return cli_fail(location ? location : "the default storage location", err);
    }
    vmb_catalog_free(catalog);
    stored = cli_take_json(text, len);
    result = stored ? merge(list, stored) : CLI_FAILED;
    json_decref(stored);
    return result;
}

int cli_get_restores(struct cli_args *args)
{
    enum cli_format format;
    bool cluster = cli_has_cluster(args);
    vmb_ctx *ctx = NULL;
    json_t *list = NULL;
    int result;
    int stored = CLI_OK;
    int printed;

    if (!cli_output_format(args, &format)) {
        return CLI_USAGE;
    }
    result = cli_session(args, cluster ? CLI_NEED_CLUSTER : 0, NULL, &ctx);
    if (result == CLI_OK && cluster) {
        result = of_cluster(ctx, "restores", NULL, &list);
    }
    if (result == CLI_OK) {
        list = list ? list : json_array();
        stored = add_stored(args, ctx, list);
        /* a location that does not answer does not hide what the cluster told */
        if (stored == CLI_OK || json_array_size(list) > 0) {
            if (format == CLI_TABLE) {
                cli_plain(list);
            }
            printed = cli_listing_print(&listing, format, list,
                                        args->name_count > 0 ? args->names[0] : NULL);
            result = stored != CLI_OK ? stored : printed;
        } else {
            result = stored;
        }
    }
    json_decref(list);
    vmb_ctx_unref(ctx);
    return result;
}

/* ---- one restore ------------------------------------------------------------------------------ */

static vmb_code to_stream(void *user, const void *data, size_t len)
{
    return fwrite(data, 1, len, user) == len ? VMB_OK : VMB_E_NOMEM;
}

/* The Restore that lies beside the files; *out stays NULL when there is none. */
static int of_location(vmb_catalog *catalog, const char *name, json_t **out)
{
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);
    vmb_code rc;

    if (!stream) {
        cli_error("out of memory");
        return CLI_FAILED;
    }
    rc = vmb_catalog_read(catalog, name, VMB_FILE_RESTORE, to_stream, stream, &err);
    if (fclose(stream) != 0 && rc == VMB_OK) {
        rc = VMB_E_NOMEM;
    }
    if (rc == VMB_OK) {
        *out = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
    }
    free(text);
    if (rc != VMB_OK && rc != VMB_E_NOT_FOUND) {
        return cli_fail(name, err);
    }
    vmb_error_free(err);
    return CLI_OK;
}

/* Where the files of a restore lie: the location of its backup. NULL: the default one. */
static int location_of(vmb_ctx *ctx, const json_t *restore, char **out)
{
    const char *name = cli_text(restore, "spec", "backupName");
    json_t *backup = NULL;
    int result = *name ? of_cluster(ctx, "backups", name, &backup) : CLI_OK;
    const char *location = cli_text(backup, "spec", "storageLocation");

    if (result == CLI_OK && *location) {
        *out = strdup(location);
        result = *out ? CLI_OK : CLI_FAILED;
    }
    json_decref(backup);
    return result;
}

int cli_find_restore(const struct cli_args *args, const char *name, vmb_ctx **ctx,
                     vmb_catalog **catalog, json_t **restore)
{
    const char *location = cli_value(args, "storage-location");
    bool cluster = cli_has_cluster(args);
    vmb_error *err = NULL;
    char *found = NULL;
    int result = cli_session(args, cluster ? CLI_NEED_CLUSTER : 0, NULL, ctx);

    if (result != CLI_OK) {
        return result;
    }
    if (cluster) {
        result = of_cluster(*ctx, "restores", name, restore);
    }
    if (result == CLI_OK && *restore && !location) {
        result = location_of(*ctx, *restore, &found);
        location = found;
    }
    if (result == CLI_OK && vmb_catalog_open(*ctx, location, catalog, &err) != VMB_OK) {
        result = cli_fail(location ? location : "the default storage location", err);
    }
    if (result == CLI_OK && !*restore) {
        result = of_location(*catalog, name, restore);
    }
    free(found);
    return result;
}
