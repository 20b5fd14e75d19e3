/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup validate: every problem of a Backup file with its place and its remedy. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

const struct cli_option cli_validate_options[] = {
    {"file", 'f', CLI_STRING, "FILE", "a Backup in YAML or JSON, - for standard input"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

int cli_load_spec(const char *path, vmb_spec **out)
{
    const char *source = strcmp(path, "-") != 0 ? path : "standard input";
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len;
    int result = cli_read_file(path, &text, &len);

    if (result == CLI_OK && vmb_spec_parse(text, len, source, out, &err) != VMB_OK) {
        cli_error("%s", vmb_error_message(err)); /* the message starts with file, line, column */
        vmb_error_free(err);
        result = CLI_FAILED;
    }
    free(text);
    return result;
}

static void print_problem(FILE *out, const char *source, const json_t *problem)
{
    long long line = cli_number(problem, "line", NULL);
    const char *field = cli_text(problem, "field", NULL);
    const char *hint = cli_text(problem, "remedy", NULL);

    fprintf(out, "%s:", source);
    if (line > 0) {
        fprintf(out, "%lld:%lld:", line, cli_number(problem, "column", NULL));
    }
    fprintf(out, " %s: %s%s%s\n", cli_text(problem, "severity", NULL), field, *field ? ": " : "",
            cli_text(problem, "message", NULL));
    if (*hint) {
        fprintf(out, "    %s\n", hint);
    }
}

int cli_check_spec(const vmb_spec *spec, const char *source, FILE *out)
{
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    size_t index;
    json_t *report;
    const json_t *problem;
    vmb_code code = vmb_spec_validate(spec, &text, &len, &err);

    if (code != VMB_OK && code != VMB_E_INVALID) {
        return cli_fail(source, err);
    }
    vmb_error_free(err);
    report = cli_take_json(text, len);
    if (!report) {
        return CLI_FAILED;
    }
    json_array_foreach(json_object_get(report, "problems"), index, problem)
    {
        print_problem(out, source, problem);
    }
    json_decref(report);
    return code == VMB_OK ? CLI_OK : CLI_FAILED;
}

int cli_validate(struct cli_args *args)
{
    const char *path = cli_value(args, "file");
    vmb_spec *spec = NULL;
    int result;

    if (!path) {
        cli_error("no file: vmbackup validate -f FILE");
        return CLI_USAGE;
    }
    result = cli_load_spec(path, &spec);
    if (result == CLI_OK) {
        result = cli_check_spec(spec, path, stdout);
    }
    if (result == CLI_OK) {
        printf("%s: valid\n", path);
    }
    vmb_spec_free(spec);
    return result;
}
