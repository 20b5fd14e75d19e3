/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup location get: the storage locations, in the columns of
 * "oc get backupstoragelocations". */
#include "cli.h"

#include <string.h>

const struct cli_option cli_location_options[] = {
    {"validate", 0, CLI_BOOL, NULL, "contact each store first"}, {NULL, 0, CLI_BOOL, NULL, NULL}};

static int print_table(const json_t *list)
{
    static const char *const heads[] = {"NAME", "PHASE", "LAST VALIDATED", "AGE", "DEFAULT"};
    struct cli_table table;
    const json_t *location;
    size_t index;
    char age[32];

    cli_table_init(&table, heads, 5);
    json_array_foreach(list, index, location)
    {
        cli_table_add(&table, cli_text(location, "name", NULL));
        cli_table_add(&table, cli_text(location, "phase", NULL));
        cli_age(cli_text(location, "lastValidationTime", NULL), age, sizeof(age), false);
        cli_table_add(&table, age);
        cli_age(cli_text(location, "creationTimestamp", NULL), age, sizeof(age), false);
        cli_table_add(&table, *age ? age : "<unknown>");
        cli_table_add(&table, json_is_true(json_object_get(location, "default")) ? "true" : "");
    }
    return cli_table_print(&table);
}

/* Why a location is not available, below the table. */
static int print_messages(const json_t *list)
{
    const json_t *location;
    size_t index;
    int result = CLI_OK;

    json_array_foreach(list, index, location)
    {
        if (!strcmp(cli_text(location, "phase", NULL), "Unavailable")) {
            cli_error("location %s: %s", cli_text(location, "name", NULL),
                      cli_text(location, "message", NULL));
            result = CLI_FAILED;
        }
    }
    return result;
}

/* Only the named location stays in the list. */
static int pick(json_t *list, const char *name)
{
    for (size_t i = json_array_size(list); i > 0; i--) {
        if (strcmp(cli_text(json_array_get(list, i - 1), "name", NULL), name) != 0) {
            json_array_remove(list, i - 1);
        }
    }
    if (json_array_size(list) == 0) {
        cli_error("there is no storage location \"%s\": \"vmbackup location get\" lists them",
                  name);
        return CLI_FAILED;
    }
    return CLI_OK;
}

int cli_location_get(struct cli_args *args)
{
    enum cli_format format;
    vmb_ctx *ctx = NULL;
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    json_t *list = NULL;
    int result;

    if (!cli_output_format(args, &format)) {
        return CLI_USAGE;
    }
    result = cli_session(args, 0, NULL, &ctx);
    if (result != CLI_OK) {
        return result;
    }
    if (vmb_ctx_locations_json(ctx, cli_flag(args, "validate"), &text, &len, &err) != VMB_OK) {
        result = cli_fail("locations", err);
        goto out;
    }
    list = cli_take_json(text, len);
    if (format == CLI_TABLE) {
        cli_plain(list);
    }
    result = list ? CLI_OK : CLI_FAILED;
    if (list && args->name_count > 0) {
        result = pick(list, args->names[0]);
    }
    if (result == CLI_OK) {
        result = format == CLI_TABLE ? print_table(list) : cli_print_value(format, list);
    }
    if (result == CLI_OK) {
        result = print_messages(list);
    }
out:
    json_decref(list);
    vmb_ctx_unref(ctx);
    return result;
}
