/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup diff: what differs between two backups. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

const struct cli_option cli_diff_options[] = {
    {"to-location", 0, CLI_STRING, "NAME", "where the second backup lies; default as the first"},
    {"ignore", 0, CLI_LIST, "POINTER",
     "JSON pointer of what is not compared; may be repeated; default "
     "/metadata/resourceVersion, /metadata/generation and /metadata/managedFields"},
    {"all", 0, CLI_BOOL, NULL, "compare every field"},
    {"storage-location", 0, CLI_STRING, "NAME",
     "where the first backup lies; default the default "
     "location"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

/* Lines of the library come in pieces. */
struct lines {
    char *text;
    size_t len;
    size_t room;
    enum cli_format format;
    bool differ;
};

static char *ignored(const struct cli_args *args)
{
    static const char *const usual[] = {"/metadata/resourceVersion", "/metadata/generation",
                                        "/metadata/managedFields"};
    json_t *list = json_array();
    json_t *options;
    char *text;

    for (size_t i = 0; i < args->given_count; i++) {
        if (!strcmp(args->given[i].option->name, "ignore")) {
            json_array_append_new(list, json_string(args->given[i].value));
        }
    }
    if (json_array_size(list) == 0 && !cli_flag(args, "all")) {
        for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
            json_array_append_new(list, json_string(usual[i]));
        }
    }
    options = json_pack("{s:o}", "ignore", list);
    text = options ? json_dumps(options, JSON_COMPACT) : NULL;
    json_decref(options);
    if (!text) {
        cli_error("--ignore: the value is no UTF-8");
    }
    return text;
}

static void print_operation(const json_t *op)
{
    json_t *value = json_object_get(op, "value");
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

    printf("    %-8s%s%s%s\n", cli_text(op, "op", NULL), cli_text(op, "path", NULL),
           text ? ": " : "", text ? text : "");
    free(text);
}

static void print_line(struct lines *lines, json_t *doc)
{
    const char *change = cli_text(doc, "change", NULL);
    const char *ns = cli_text(doc, "namespace", NULL);
    const json_t *op;
    size_t index;

    if (!*change) {
        printf("%s%lld added, %lld removed, %lld changed, %lld the same\n",
               lines->differ ? "\n" : "", cli_number(doc, "added", NULL),
               cli_number(doc, "removed", NULL), cli_number(doc, "changed", NULL),
               cli_number(doc, "same", NULL));
        return;
    }
    lines->differ = true;
    printf("%c %s %s%s%s\n", !strcmp(change, "added") ? '+' : !strcmp(change, "removed") ? '-' : '~',
           cli_text(doc, "resource", NULL), ns, *ns ? "/" : "", cli_text(doc, "name", NULL));
    json_array_foreach(json_object_get(doc, "patch"), index, op)
    {
        print_operation(op);
    }
}

static vmb_code take_line(struct lines *lines, const char *text, size_t len)
{
    json_t *doc;

    if (lines->format == CLI_JSON) {
        lines->differ = lines->differ || (len > 10 && !strncmp(text, "{\"change\":", 10));
        return fwrite(text, 1, len, stdout) == len && fputc('\n', stdout) != EOF ? VMB_OK
                                                                                 : VMB_E_IO;
    }
    doc = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
    if (!doc) {
        return VMB_E_NOMEM;
    }
    cli_plain(doc);
    print_line(lines, doc);
    json_decref(doc);
    return VMB_OK;
}

static vmb_code take(void *user, const void *data, size_t len)
{
    struct lines *lines = user;
    const char *end;
    vmb_code rc = VMB_OK;

    if (lines->len + len > lines->room) {
        size_t room = (lines->len + len) * 2;
        char *text = realloc(lines->text, room);

        if (!text) {
            return VMB_E_NOMEM;
        }
        lines->text = text;
        lines->room = room;
    }
    memcpy(lines->text + lines->len, data, len);
    lines->len += len;
    while (rc == VMB_OK && (end = memchr(lines->text, '\n', lines->len)) != NULL) {
        size_t line = (size_t)(end - lines->text);

        rc = take_line(lines, lines->text, line);
        lines->len -= line + 1;
        memmove(lines->text, end + 1, lines->len);
    }
    return rc;
}

static int compare(const struct cli_args *args, struct lines *lines, vmb_catalog *one,
                   vmb_catalog *two)
{
    char *options = ignored(args);
    vmb_error *err = NULL;
    int result = options ? CLI_OK : CLI_USAGE;

    if (options && vmb_catalog_diff(one, args->names[0], two, args->names[1], options,
                                    strlen(options), take, lines, &err) != VMB_OK) {
        result = cli_fail("diff", err);
    }
    free(options);
    return result;
}

int cli_diff(struct cli_args *args)
{
    const char *second = cli_value(args, "to-location");
    struct lines lines = {0};
    vmb_ctx *ctx = NULL;
    vmb_catalog *one = NULL;
    vmb_catalog *two = NULL;
    vmb_error *err = NULL;
    int result;

    if (args->name_count < 2) {
        cli_error("two backups are to be named: vmbackup diff FIRST SECOND");
        return CLI_USAGE;
    }
    if (!cli_output_format(args, &lines.format)) {
        return CLI_USAGE;
    }
    if (lines.format == CLI_YAML) {
        cli_error("--output yaml: differences come as table or json");
        return CLI_USAGE;
    }
    result = cli_catalog(args, &ctx, &one);
    if (result == CLI_OK && second && vmb_catalog_open(ctx, second, &two, &err) != VMB_OK) {
        result = cli_fail("--to-location", err);
    }
    if (result == CLI_OK) {
        result = compare(args, &lines, one, two ? two : one);
    }
    free(lines.text);
    vmb_catalog_free(two);
    vmb_catalog_free(one);
    vmb_ctx_unref(ctx);
    return result;
}
