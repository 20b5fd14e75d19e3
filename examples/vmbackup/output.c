/* SPDX-License-Identifier: Apache-2.0 */
/* Messages, tables and values on standard output. */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void cli_error(const char *format, ...)
{
    va_list values;

    fflush(stdout);
    fputs("error: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
}

/* What the user can do about a failure of this kind; NULL when the message says it all. */
static const char *remedy(vmb_code code)
{
    switch (code) {
    case VMB_E_DENIED:
        return "check the credentials of the kubeconfig or of the storage location";
    case VMB_E_NET:
    case VMB_E_TIMEOUT:
        return "check that the server's address is right and that it can be reached from here";
    case VMB_E_FULL:
        return "make room in the store and run the backup again";
    case VMB_E_UNSUPPORTED:
        return "\"vmbackup version\" lists what this build can do";
    case VMB_E_INTERNAL:
        return "this is a defect of the library: please report it with the command that you ran";
    default:
        return NULL;
    }
}

int cli_fail(const char *what, vmb_error *err)
{
    const char *hint = remedy(vmb_error_code(err));

    cli_error("%s: %s", what, vmb_error_message(err));
    if (hint) {
        fprintf(stderr, "       %s\n", hint);
    }
    vmb_error_free(err);
    return CLI_FAILED;
}

bool cli_output_format(const struct cli_args *args, enum cli_format *out)
{
    const char *value = cli_value(args, "output");

    if (!value || !strcmp(value, "table")) {
        *out = CLI_TABLE;
    } else if (!strcmp(value, "json")) {
        *out = CLI_JSON;
    } else if (!strcmp(value, "yaml")) {
        *out = CLI_YAML;
    } else {
        cli_error("--output %s: write table, json or yaml", value);
        return false;
    }
    return true;
}

json_t *cli_take_json(char *text, size_t len)
{
    json_error_t where;
    json_t *value = json_loadb(text, len, JSON_ALLOW_NUL, &where);

    vmb_free(text);
    if (!value) {
        cli_error("the library's answer is no JSON: %s", where.text);
    }
    return value;
}

/* A string from a store without what a terminal would obey; NULL when memory is out or nothing is
 * to be changed. */
static char *plain(const char *text)
{
    char *copy = NULL;

    for (size_t i = 0; text[i] != '\0'; i++) {
        unsigned char c = (unsigned char)text[i];
        /* C1 controls are the two bytes c2 80 to c2 9f in UTF-8 */
        bool c1 = c == 0xc2 && (unsigned char)text[i + 1] < 0xa0;

        if (c < 0x20 || c == 0x7f || c1) {
            copy = copy ? copy : strdup(text);
            if (!copy) {
                return NULL;
            }
            copy[i] = '?';
            copy[i + 1] = c1 ? '?' : copy[i + 1];
        }
    }
    return copy;
}

void cli_plain(json_t *value)
{
    size_t index;
    json_t *child;
    const char *key;
    void *next;

    if (json_is_string(value)) {
        char *copy = plain(json_string_value(value));

        if (copy) {
            (void)json_string_set_nocheck(value, copy); /* else it stays as it was */
            free(copy);
        }
    } else if (json_is_array(value)) {
        json_array_foreach(value, index, child) {
            cli_plain(child);
        }
    } else if (json_is_object(value)) {
        json_object_foreach_safe(value, next, key, child) {
            char *copy = plain(key);

            cli_plain(child);
            if (copy) {
                (void)json_object_set_nocheck(value, copy, child);
                (void)json_object_del(value, key);
                free(copy);
            }
        }
    }
}

void cli_print_json(FILE *out, const json_t *value)
{
    json_dumpf(value, out, JSON_INDENT(2) | JSON_ENCODE_ANY);
    fputc('\n', out);
}

/* True when a string can stand in YAML without quotes and is still read as that string. */
static bool plain_scalar(const char *text)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no",  "on",
                                        "off",  "y",     "n",    "~",   "nan", "inf"};
    size_t len = strlen(text);

    if (len == 0 || text[len - 1] == ':' || strspn(text, "0123456789.+-") == len) {
        return false;
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const char *a = text;
        const char *b = words[i];

        while (*a && *b && (*a | 0x20) == *b) {
            a++;
            b++;
        }
        if (!*a && !*b) {
            return false;
        }
    }
    if (strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-") != len) {
        return false;
    }
    /* a leading letter or slash keeps numbers, dates and list dashes out */
    return *text == '/' || (*text >= 'A' && *text <= 'Z') || (*text >= 'a' && *text <= 'z');
}

static void yaml_scalar(FILE *out, const json_t *value)
{
    if (json_is_string(value) && plain_scalar(json_string_value(value))) {
        fputs(json_string_value(value), out);
    } else {
        json_dumpf(value, out, JSON_ENCODE_ANY | JSON_COMPACT);
    }
}

static bool yaml_is_block(const json_t *value)
{
    return (json_is_object(value) && json_object_size(value) > 0) ||
           (json_is_array(value) && json_array_size(value) > 0);
}

/* Prints a value whose first line is indented already. */
static void yaml_value(FILE *out, json_t *value, int indent)
{
    const char *key;
    json_t *child;
    size_t index;
    bool first = true;

    if (json_is_array(value) && yaml_is_block(value)) {
        json_array_foreach(value, index, child)
        {
            fprintf(out, "%*s- ", index > 0 ? indent : 0, "");
            yaml_value(out, child, indent + 2);
        }
        return;
    }
    if (!yaml_is_block(value)) {
        yaml_scalar(out, value);
        fputc('\n', out);
        return;
    }
    for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at)) {
        json_t *name;

        key = json_object_iter_key(at);
        child = json_object_iter_value(at);
        fprintf(out, "%*s", first ? 0 : indent, "");
        first = false;
        name = json_string(key);
        yaml_scalar(out, name);
        json_decref(name);
        if (yaml_is_block(child)) {
            fprintf(out, ":\n%*s", json_is_array(child) ? indent : indent + 2, "");
            yaml_value(out, child, json_is_array(child) ? indent : indent + 2);
        } else {
            fputs(": ", out);
            yaml_value(out, child, indent + 2);
        }
    }
}

void cli_print_yaml(FILE *out, json_t *value)
{
    yaml_value(out, value, 0);
}

int cli_print_value(enum cli_format format, json_t *value)
{
    if (format == CLI_YAML) {
        cli_print_yaml(stdout, value);
    } else {
        cli_print_json(stdout, value);
    }
    return CLI_OK;
}

void cli_table_init(struct cli_table *table, const char *const *heads, size_t columns)
{
    *table = (struct cli_table){.columns = columns};
    for (size_t i = 0; i < columns; i++) {
        cli_table_add(table, heads[i]);
    }
}

void cli_table_add(struct cli_table *table, const char *cell)
{
    if (table->failed) {
        return;
    }
    if (table->count == table->room) {
        size_t room = table->room ? table->room * 2 : 64;
        char **grown = realloc(table->cells, room * sizeof(*grown));

        if (!grown) {
            table->failed = true;
            return;
        }
        table->cells = grown;
        table->room = room;
    }
    table->cells[table->count] = strdup(cell);
    if (!table->cells[table->count]) {
        table->failed = true;
        return;
    }
    table->count++;
}

int cli_table_print(struct cli_table *table)
{
    int result = table->failed ? CLI_FAILED : CLI_OK;
    size_t widths[16] = {0};

    if (table->failed) {
        cli_error("out of memory");
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t len = strlen(table->cells[i]);

        if (len > widths[i % table->columns]) {
            widths[i % table->columns] = len;
        }
    }
    for (size_t i = 0; !table->failed && i < table->count; i++) {
        bool last = i % table->columns == table->columns - 1;

        printf("%-*s%s", last ? 0 : (int)widths[i % table->columns] + 3, table->cells[i],
               last ? "\n" : "");
    }
    for (size_t i = 0; i < table->count; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    *table = (struct cli_table){0};
    return result;
}

/* The named one of a list; NULL after a message. */
static json_t *pick(const struct cli_listing *listing, const json_t *list, const char *name)
{
    size_t index;
    json_t *resource;

    json_array_foreach(list, index, resource)
    {
        if (!strcmp(cli_text(resource, "metadata", "name"), name)) {
            return resource;
        }
    }
    cli_error("there is no %s \"%s\" %s: \"vmbackup get %ss\" lists them", listing->what, name,
              listing->where, listing->what);
    return NULL;
}

static int print_document(enum cli_format format, json_t *list)
{
    json_t *document =
        json_pack("{s:s,s:s,s:O}", "apiVersion", "v1", "kind", "List", "items", list);
    int result = cli_print_value(format, document);

    json_decref(document);
    return result;
}

int cli_listing_print(const struct cli_listing *listing, enum cli_format format, json_t *list,
                      const char *name)
{
    json_t *one = name ? pick(listing, list, name) : NULL;
    struct cli_table table;
    size_t index;
    const json_t *resource;

    if (name && !one) {
        return CLI_FAILED;
    }
    if (format != CLI_TABLE) {
        return one ? cli_print_value(format, one) : print_document(format, list);
    }
    if (json_array_size(list) == 0) {
        fprintf(stderr, "no %ss %s\n", listing->what, listing->where);
        return CLI_OK;
    }
    cli_table_init(&table, listing->heads, listing->columns);
    json_array_foreach(list, index, resource)
    {
        if (!one || resource == one) {
            listing->add(&table, resource);
        }
    }
    return cli_table_print(&table);
}

const char *cli_text(const json_t *object, const char *key, const char *subkey)
{
    const json_t *value = json_object_get(object, key);

    if (subkey) {
        value = json_object_get(value, subkey);
    }
    return json_is_string(value) ? json_string_value(value) : "";
}

long long cli_number(const json_t *object, const char *key, const char *subkey)
{
    const json_t *value = json_object_get(object, key);

    if (subkey) {
        value = json_object_get(value, subkey);
    }
    return json_is_integer(value) ? (long long)json_integer_value(value) : 0;
}

char *cli_join(const json_t *array, const char *separator, const char *empty)
{
    char *text = NULL;
    size_t len = 0;
    size_t index;
    const json_t *item;
    FILE *out = open_memstream(&text, &len);

    if (!out) {
        return NULL;
    }
    json_array_foreach(array, index, item)
    {
        fprintf(out, "%s%s", index ? separator : "",
                json_is_string(item) ? json_string_value(item) : "?");
    }
    if (json_array_size(array) == 0) {
        fputs(empty, out);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static void print_expression(FILE *out, const json_t *expression)
{
    const char *key = cli_text(expression, "key", NULL);
    const char *op = cli_text(expression, "operator", NULL);
    char *values = cli_join(json_object_get(expression, "values"), ",", "");

    if (!strcmp(op, "Exists")) {
        fputs(key, out);
    } else if (!strcmp(op, "DoesNotExist")) {
        fprintf(out, "!%s", key);
    } else {
        fprintf(out, "%s %s (%s)", key, !strcmp(op, "In") ? "in" : "notin", values ? values : "");
    }
    free(values);
}

char *cli_selector_text(const json_t *selector)
{
    char *text = NULL;
    size_t len = 0;
    size_t index;
    const json_t *item;
    const char *sep = "";
    json_t *labels = json_object_get(selector, "matchLabels");
    FILE *out = open_memstream(&text, &len);

    if (!out) {
        return NULL;
    }
    for (void *at = json_object_iter(labels); at; at = json_object_iter_next(labels, at)) {
        const char *value = json_string_value(json_object_iter_value(at));

        fprintf(out, "%s%s=%s", sep, json_object_iter_key(at), value ? value : "?");
        sep = ",";
    }
    json_array_foreach(json_object_get(selector, "matchExpressions"), index, item)
    {
        fputs(sep, out);
        print_expression(out, item);
        sep = ",";
    }
    if (!*sep) {
        fputs("<none>", out);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static bool parse_time(const char *text, time_t *out)
{
    struct tm parts = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);

    if (!end || (*end != 'Z' && *end != '.')) {
        return false;
    }
    *out = timegm(&parts);
    return true;
}

/* The rounding of kubectl: two units while they matter, then one. */
static void format_age(long long s, char *out, size_t size)
{
    if (s < 120) {
        snprintf(out, size, "%llds", s);
    } else if (s < 600 && s % 60) {
        snprintf(out, size, "%lldm%llds", s / 60, s % 60);
    } else if (s < 3 * 3600) {
        snprintf(out, size, "%lldm", s / 60);
    } else if (s < 8 * 3600 && s / 60 % 60) {
        snprintf(out, size, "%lldh%lldm", s / 3600, s / 60 % 60);
    } else if (s < 48 * 3600) {
        snprintf(out, size, "%lldh", s / 3600);
    } else if (s < 8 * 86400 && s / 3600 % 24) {
        snprintf(out, size, "%lldd%lldh", s / 86400, s / 3600 % 24);
    } else if (s < 2LL * 365 * 86400) {
        snprintf(out, size, "%lldd", s / 86400);
    } else {
        snprintf(out, size, "%lldy", s / 86400 / 365);
    }
}

void cli_age(const char *rfc3339, char *out, size_t size, bool future)
{
    time_t when;
    long long seconds;

    *out = '\0';
    if (!parse_time(rfc3339, &when)) {
        return;
    }
    seconds = (long long)(time(NULL) - when);
    if (future) {
        seconds = -seconds;
    }
    if (seconds < 0 && future) {
        char age[32];

        format_age(-seconds, age, sizeof(age));
        snprintf(out, size, "%s ago", age);
        return;
    }
    format_age(seconds < 0 ? 0 : seconds, out, size);
}

void cli_instant(const char *rfc3339, char *out, size_t size)
{
    time_t when;
    struct tm parts;

    if (!parse_time(rfc3339, &when) || !gmtime_r(&when, &parts) ||
        strftime(out, size, "%Y-%m-%d %H:%M:%S +0000 UTC", &parts) == 0) {
        snprintf(out, size, "<n/a>");
    }
}

void cli_bytes(long long bytes, char *out, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    snprintf(out, size, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

void cli_add_selector(struct cli_table *table, const json_t *spec)
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
