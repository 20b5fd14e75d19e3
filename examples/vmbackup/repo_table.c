/* SPDX-License-Identifier: Apache-2.0 */
/* Tables as restic prints them. */
#include "repo_cli.h"

#include <stdlib.h>
#include <string.h>

void repo_time(const char *rfc3339, char *out, size_t size)
{
    struct tm parts = {0};
    const char *end = strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &parts);
    long offset = 0;
    int hours = 0;
    int minutes = 0;
    time_t when;

    if (!end) {
        snprintf(out, size, "%s", "");
        return;
    }
    end += strspn(end, ".0123456789");
    if ((*end == '+' || *end == '-') && sscanf(end + 1, "%2d:%2d", &hours, &minutes) == 2) {
        offset = (hours * 3600L + minutes * 60L) * (*end == '-' ? -1 : 1);
    }
    when = timegm(&parts) - offset;
    if (!localtime_r(&when, &parts) || strftime(out, size, "%Y-%m-%d %H:%M:%S", &parts) == 0) {
        snprintf(out, size, "%s", "");
    }
}

void repo_table_add(struct repo_table *table, const char *cell)
{
    if (table->count == table->room && !table->failed) {
        size_t room = table->room ? table->room * 2 : 64;
        char **grown = realloc(table->cells, room * sizeof(*grown));

        table->failed = !grown;
        table->cells = grown ? grown : table->cells;
        table->room = grown ? room : table->room;
    }
    if (!table->failed) {
        char *copy = strdup(cell ? cell : "");

        table->failed = !copy;
        table->cells[table->count] = copy;
        table->count += copy ? 1 : 0;
    }
}

/* Width of the widest line of a cell. */
static size_t width_of(const char *cell)
{
    size_t widest = 0;

    for (;;) {
        size_t len = strcspn(cell, "\n");

        widest = len > widest ? len : widest;
        if (!cell[len]) {
            return widest;
        }
        cell += len + 1;
    }
}

static void rule(size_t width)
{
    for (size_t i = 0; i < width; i++) {
        fputc('-', stdout);
    }
    fputc('\n', stdout);
}

/* One row; cells of several lines go on in lines of their own. */
static void print_row(const struct repo_table *t, const char *const *cells, const size_t *widths)
{
    const char *at[16];
    bool more = true;

    for (size_t c = 0; c < t->columns; c++) {
        at[c] = cells[c];
    }
    while (more) {
        more = false;
        for (size_t c = 0; c < t->columns; c++) {
            int len = (int)strcspn(at[c], "\n");
            bool last = c + 1 == t->columns;

            printf("%-*.*s%s", last ? len : (int)widths[c], len, at[c], last ? "\n" : "  ");
            at[c] += len;
            if (*at[c] == '\n') {
                at[c]++;
                more = true;
            }
        }
    }
}

void repo_table_print(struct repo_table *t, const char *footer)
{
    size_t widths[16] = {0};
    size_t total = 0;

    if (t->failed) {
        cli_error("out of memory");
    }
    for (size_t c = 0; c < t->columns; c++) {
        widths[c] = strlen(t->heads[c]) > t->least[c] ? strlen(t->heads[c]) : t->least[c];
    }
    for (size_t i = 0; i < t->count; i++) {
        size_t width = width_of(t->cells[i]);

        if (width > widths[i % t->columns]) {
            widths[i % t->columns] = width;
        }
    }
    for (size_t c = 0; c < t->columns; c++) {
        total += widths[c] + (c > 0 ? 2 : 0);
    }
    if (!t->failed) {
        print_row(t, t->heads, widths);
        rule(total);
        for (size_t i = 0; i + t->columns <= t->count; i += t->columns) {
            print_row(t, (const char *const *)t->cells + i, widths);
        }
        rule(total);
        if (footer) {
            printf("%s\n", footer);
        }
    }
    for (size_t i = 0; i < t->count; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    t->cells = NULL;
}

char *repo_lines(const json_t *array)
{
    return cli_join(array, "\n", "");
}

/* The reasons why a snapshot is kept, as lines. */
static char *reasons_of(const json_t *reasons, const char *id)
{
    const json_t *reason;
    size_t index;

    json_array_foreach(reasons, index, reason)
    {
        if (!strcmp(cli_text(reason, "snapshot", "id"), id)) {
            return repo_lines(json_object_get(reason, "matches"));
        }
    }
    return strdup("");
}

void repo_print_snapshots(const json_t *list, const json_t *reasons)
{
    static const char *const heads[] = {"ID", "Time", "Host", "Tags", "Paths"};
    static const size_t least[] = {8, 19, 10, 10, 0};
    static const char *const heads_why[] = {"ID", "Time", "Host", "Tags", "Reasons", "Paths"};
    static const size_t least_why[] = {8, 19, 10, 10, 13, 0};
    struct repo_table table = {.columns = reasons ? 6 : 5,
                               .heads = reasons ? heads_why : heads,
                               .least = reasons ? least_why : least};
    const json_t *snapshot;
    size_t index;
    char text[64];

    json_array_foreach(list, index, snapshot)
    {
        char *tags = repo_lines(json_object_get(snapshot, "tags"));
        char *paths = repo_lines(json_object_get(snapshot, "paths"));

        repo_table_add(&table, cli_text(snapshot, "short_id", NULL));
        repo_time(cli_text(snapshot, "time", NULL), text, sizeof(text));
        repo_table_add(&table, text);
        repo_table_add(&table, cli_text(snapshot, "hostname", NULL));
        repo_table_add(&table, tags);
        if (reasons) {
            char *why = reasons_of(reasons, cli_text(snapshot, "id", NULL));

            repo_table_add(&table, why);
            free(why);
        }
        repo_table_add(&table, paths);
        free(tags);
        free(paths);
    }
    snprintf(text, sizeof(text), "%zu snapshots", json_array_size(list));
    repo_table_print(&table, text);
}
