/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup backup --dry-run: what a backup would take, and what not. */
#include "cli.h"

#include <stdlib.h>

/* Objects by resource, in the order in which they come. */
static json_t *count_items(const json_t *items)
{
    json_t *counts = json_object();
    const json_t *item;
    size_t index;

    json_array_foreach(items, index, item)
    {
        const char *resource = cli_text(item, "resource", NULL);

        json_object_set_new(counts, resource,
                            json_integer(cli_number(counts, resource, NULL) + 1));
    }
    return counts;
}

static int print_counts(const json_t *items)
{
    static const char *const heads[] = {"RESOURCE", "OBJECTS"};
    struct cli_table table;
    json_t *counts = count_items(items);

    cli_table_init(&table, heads, 2);
    for (void *at = json_object_iter(counts); at; at = json_object_iter_next(counts, at)) {
        char number[32];

        snprintf(number, sizeof(number), "%lld",
                 (long long)json_integer_value(json_object_iter_value(at)));
        cli_table_add(&table, json_object_iter_key(at));
        cli_table_add(&table, number);
    }
    json_decref(counts);
    return cli_table_print(&table);
}

static void print_volumes(const json_t *volumes)
{
    const json_t *v;
    size_t index;

    printf("\nVolumes:%s\n", json_array_size(volumes) == 0 ? "  <none>" : "");
    json_array_foreach(volumes, index, v)
    {
        const char *claim = cli_text(v, "pvc", NULL);
        const char *reason = cli_text(v, "reason", NULL);
        const char *provider = cli_text(v, "provider", NULL);

        printf("  %s/%s: %s%s%s%s%s\n", cli_text(v, "namespace", NULL),
               *claim ? claim : cli_text(v, "volume", NULL), cli_text(v, "method", NULL),
               *provider ? " by " : "", provider, *reason ? ": " : "", reason);
    }
}

static void print_hooks(const json_t *hooks)
{
    const json_t *h;
    size_t index;

    printf("\nHooks:%s\n", json_array_size(hooks) == 0 ? "  <none>" : "");
    json_array_foreach(hooks, index, h)
    {
        char *command = cli_join(json_object_get(h, "command"), " ", "");

        printf("  %s/%s: %s: %s (container %s)\n", cli_text(h, "namespace", NULL),
               cli_text(h, "pod", NULL), cli_text(h, "phase", NULL), command ? command : "?",
               cli_text(h, "container", NULL));
        free(command);
    }
}

static void print_left_out(const json_t *plan)
{
    const json_t *left = json_object_get(plan, "leftOut");
    char *types = cli_join(json_object_get(plan, "leftOutTypes"), ", ", "<none>");
    const json_t *item;
    size_t index;

    printf("\nLeft out:%s\n", json_array_size(left) == 0 ? "  <none>" : "");
    json_array_foreach(left, index, item)
    {
        const char *ns = cli_text(item, "namespace", NULL);

        printf("  %s %s%s%s: %s\n", cli_text(item, "resource", NULL), ns, *ns ? "/" : "",
               cli_text(item, "name", NULL), cli_text(item, "reason", NULL));
    }
    printf("\nResources not looked at:  %s\n", types ? types : "?");
    free(types);
}

int cli_plan(enum cli_format format, vmb_ctx *ctx, const vmb_spec *spec)
{
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    json_t *plan;
    int result = CLI_OK;

    if (vmb_run_plan_json(ctx, spec, &text, &len, &err) != VMB_OK) {
        return cli_fail("backup", err);
    }
    plan = cli_take_json(text, len);
    if (!plan) {
        return CLI_FAILED;
    }
    if (format == CLI_TABLE) {
        cli_plain(plan);
        result = print_counts(json_object_get(plan, "items"));
        print_volumes(json_object_get(plan, "volumes"));
        print_hooks(json_object_get(plan, "hooks"));
        print_left_out(plan);
        printf("\n%zu objects would go to location %s\n",
               json_array_size(json_object_get(plan, "items")),
               cli_text(plan, "storageLocation", NULL));
    } else {
        cli_print_value(format, plan);
    }
    json_decref(plan);
    return result;
}
