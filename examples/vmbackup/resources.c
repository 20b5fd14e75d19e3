/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup get and describe for what is in the cluster only: schedules and snapshot locations. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const char *const schedule_heads[] = {"NAME",       "STATUS",      "CREATED",  "SCHEDULE",
                                             "BACKUP TTL", "LAST BACKUP", "SELECTOR", "PAUSED"};
static const char *const location_heads[] = {"NAME", "PROVIDER"};

static const char *phase_of(const json_t *resource)
{
    const char *phase = cli_text(resource, "status", "phase");

    return *phase ? phase : "New";
}

static void add_schedule(struct cli_table *table, const json_t *schedule)
{
    const json_t *spec = json_object_get(schedule, "spec");
    const json_t *template = json_object_get(spec, "template");
    const char *ttl = cli_text(template, "ttl", NULL);
    char text[64];
    char ago[72];

    cli_table_add(table, cli_text(schedule, "metadata", "name"));
    cli_table_add(table, phase_of(schedule));
    cli_instant(cli_text(schedule, "metadata", "creationTimestamp"), text, sizeof(text));
    cli_table_add(table, text);
    cli_table_add(table, cli_text(spec, "schedule", NULL));
    cli_table_add(table, *ttl ? ttl : "0s");
    cli_age(cli_text(schedule, "status", "lastBackup"), text, sizeof(text), false);
    snprintf(ago, sizeof(ago), "%s%s", *text ? text : "n/a", *text ? " ago" : "");
    cli_table_add(table, ago);
    cli_add_selector(table, template);
    cli_table_add(table, json_is_true(json_object_get(spec, "paused")) ? "true" : "false");
}

static void add_snapshot_location(struct cli_table *table, const json_t *location)
{
    cli_table_add(table, cli_text(location, "metadata", "name"));
    cli_table_add(table, cli_text(location, "spec", "provider"));
}

static const struct cli_listing schedules = {"schedule", "in the cluster's namespace",
                                             schedule_heads, 8, add_schedule};
static const struct cli_listing snapshot_locations = {
    "snapshot-location", "in the cluster's namespace", location_heads, 2, add_snapshot_location};

/* Resources of the cluster, whatever locations there are. */
static int read_cluster(const struct cli_args *args, const char *resource, json_t **out)
{
    vmb_ctx *ctx = NULL;
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    int result = cli_session(args, CLI_NEED_CLUSTER | CLI_NO_LOCATIONS, NULL, &ctx);

    if (result != CLI_OK) {
        return result;
    }
    if (vmb_ctx_resources_json(ctx, resource, NULL, &text, &len, &err) == VMB_OK) {
        *out = cli_take_json(text, len);
    } else if (vmb_error_code(err) == VMB_E_NOT_FOUND && cli_value(args, "cluster-dir")) {
        vmb_error_free(err); /* a folder knows the kinds that it has objects of */
        *out = json_array();
    } else if (vmb_error_code(err) == VMB_E_NOT_FOUND) {
        cli_error("%s: the cluster does not know them: are Velero's custom resources installed? "
                  "(kubectl apply -k deploy)",
                  resource);
        vmb_error_free(err);
    } else {
        cli_fail(resource, err);
    }
    vmb_ctx_unref(ctx);
    return *out ? CLI_OK : CLI_FAILED;
}

static int get(struct cli_args *args, const char *resource, const struct cli_listing *listing)
{
    enum cli_format format;
    json_t *list = NULL;
    int result;

    if (!cli_output_format(args, &format)) {
        return CLI_USAGE;
    }
    result = read_cluster(args, resource, &list);
    if (result == CLI_OK) {
        if (format == CLI_TABLE) {
            cli_plain(list);
        }
        result = cli_listing_print(listing, format, list,
                                   args->name_count > 0 ? args->names[0] : NULL);
    }
    json_decref(list);
    return result;
}

int cli_get_schedules(struct cli_args *args)
{
    return get(args, "schedules", &schedules);
}

int cli_get_snapshot_locations(struct cli_args *args)
{
    return get(args, "volumesnapshotlocations", &snapshot_locations);
}

/* ---- describe ----------------------------------------------------------------------------------- */

/* The template is what a Backup's spec is, two columns further in. */
static void print_template(const json_t *template)
{
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);

    if (!stream) {
        return;
    }
    cli_describe_spec(stream, template);
    if (fclose(stream) == 0) {
        for (const char *line = text; *line;) {
            size_t n = strcspn(line, "\n");

            printf("%s%.*s\n", n > 0 ? "  " : "", (int)n, line);
            line += n + (line[n] == '\n' ? 1 : 0);
        }
    }
    free(text);
}

static void print_schedule(const json_t *schedule)
{
    const json_t *spec = json_object_get(schedule, "spec");
    const json_t *template = json_object_get(spec, "template");
    const json_t *policy = json_object_get(template, "resourcePolicy");
    const char *last = cli_text(schedule, "status", "lastBackup");
    const json_t *problem;
    size_t index;
    char text[64];

    cli_describe_metadata(json_object_get(schedule, "metadata"));
    printf("\nPhase:  %s\n", phase_of(schedule));
    if (policy) {
        printf("\nResource policies:\n  Type:  %s\n  Name:  %s\n", cli_text(policy, "kind", NULL),
               cli_text(policy, "name", NULL));
    }
    json_array_foreach(json_object_get(json_object_get(schedule, "status"), "validationErrors"),
                       index, problem)
    {
        printf("%s%-18s  %s\n", index ? "" : "\n", index ? "" : "Validation errors:",
               json_string_value(problem));
    }
    printf("\nPaused:  %s\n\nSchedule:  %s\n\nBackup Template:\n",
           json_is_true(json_object_get(spec, "paused")) ? "true" : "false",
           cli_text(spec, "schedule", NULL));
    print_template(template);
    cli_instant(last, text, sizeof(text));
    printf("\nLast Backup:  %s\n", *last ? text : "<never>");
}

int cli_describe_schedule(struct cli_args *args)
{
    enum cli_format format;
    json_t *list = NULL;
    json_t *one;
    size_t index;
    int result;

    if (args->name_count == 0) {
        cli_error("no schedule is named: vmbackup describe schedule NAME");
        return CLI_USAGE;
    }
    if (!cli_output_format(args, &format)) {
        return CLI_USAGE;
    }
    result = read_cluster(args, "schedules", &list);
    if (result == CLI_OK && format != CLI_TABLE) {
        result = cli_listing_print(&schedules, format, list, args->names[0]);
        json_decref(list);
        return result;
    }
    cli_plain(list);
    json_array_foreach(list, index, one)
    {
        if (!strcmp(cli_text(one, "metadata", "name"), args->names[0])) {
            print_schedule(one);
            json_decref(list);
            return CLI_OK;
        }
    }
    if (result == CLI_OK) {
        cli_error("there is no schedule \"%s\" in the cluster's namespace: \"vmbackup get "
                  "schedules\" lists them",
                  args->names[0]);
        result = CLI_FAILED;
    }
    json_decref(list);
    return result;
}
