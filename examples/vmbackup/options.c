/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: one small parser for all commands, so that every flag behaves alike and every
 * mistake gets the same kind of answer. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

const struct cli_option cli_common_options[] = {
    {"kubeconfig", 0, CLI_STRING, "FILE",
     "kubeconfig of the cluster; default $KUBECONFIG, the "
     "pod's service account, ~/.kube/config"},
    {"context", 0, CLI_STRING, "NAME", "context in the kubeconfig"},
    {"namespace", 'n', CLI_STRING, "NAME", "where Velero's resources live; default velero"},
    {"cluster-dir", 0, CLI_STRING, "DIR", "use a folder of manifests as the cluster (read-only)"},
    {"location-file", 0, CLI_LIST, "FILE",
     "a BackupStorageLocation in YAML or JSON; may be "
     "repeated; default: those in the cluster"},
    {"store-dir", 0, CLI_STRING, "DIR",
     "keep backups in an existing folder: a location named \"default\""},
    {"set", 0, CLI_LIST, "KEY=VALUE", "a setting of the library, such as page-size=1000"},
    {"output", 'o', CLI_STRING, "FORMAT", "table, json or yaml; default table"},
    {"verbose", 'v', CLI_BOOL, NULL, "print the library's log lines to standard error"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

const struct cli_option cli_no_options[] = {{NULL, 0, CLI_BOOL, NULL, NULL}};

/* Edit distance of two short words, capped at 8. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64];
    size_t na = strlen(a);
    size_t nb = strlen(b);

    if (na >= 64 || nb >= 64) {
        return 8;
    }
    for (size_t j = 0; j <= nb; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);

            diagonal = row[j];
            if (row[j] + 1 < best) {
                best = row[j] + 1;
            }
            if (row[j - 1] + 1 < best) {
                best = row[j - 1] + 1;
            }
            row[j] = best;
        }
    }
    return row[nb] < 8 ? row[nb] : 8;
}

const char *cli_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    size_t best_distance = 4;

    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, candidates[i]);

        if (d < best_distance && d < strlen(candidates[i])) {
            best = candidates[i];
            best_distance = d;
        }
    }
    return best;
}

enum { TABLES = 3 };

static bool is_repo(const struct cli_command *command)
{
    return !strncmp(command->name, "repo ", 5);
}

/* The tables in which a command's options are found, the nearest first. */
static void tables(const struct cli_command *command, const struct cli_option *out[TABLES])
{
    out[0] = command->options;
    out[1] = is_repo(command) ? cli_repo_options : cli_no_options;
    out[2] = command->plain ? cli_no_options : cli_common_options;
}

static const struct cli_option *find_long(const struct cli_command *command, const char *name,
                                          size_t len)
{
    const struct cli_option *all[TABLES];

    tables(command, all);
    for (size_t t = 0; t < TABLES; t++) {
        for (const struct cli_option *o = all[t]; o->name; o++) {
            if (strlen(o->name) == len && !memcmp(o->name, name, len)) {
                return o;
            }
        }
    }
    return NULL;
}

static const struct cli_option *find_letter(const struct cli_command *command, char letter)
{
    const struct cli_option *all[TABLES];

    tables(command, all);
    for (size_t t = 0; t < TABLES; t++) {
        for (const struct cli_option *o = all[t]; o->name; o++) {
            if (o->letter == letter) {
                return o;
            }
        }
    }
    return NULL;
}

/* Prints a table, without the common options that the command defines otherwise. */
static void print_options(const struct cli_command *command, const struct cli_option *options)
{
    for (const struct cli_option *o = options; o->name; o++) {
        char left[64];
        int width;

        if (find_long(command, o->name, strlen(o->name)) != o) {
            continue;
        }
        width = snprintf(left, sizeof(left), "  %c%c%s --%s%s%s", o->letter ? '-' : ' ',
                         o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
                         o->arg ? " " : "", o->arg ? o->arg : "");
        if (width < 38) {
            printf("%-38s  %s\n", left, o->help);
        } else {
            printf("%s\n%-38s  %s\n", left, "", o->help);
        }
    }
}

static void print_help(const struct cli_command *command)
{
    printf("%s\n\nUsage:\n  vmbackup %s%s%s [flags]\n", command->summary, command->name,
           *command->synopsis ? " " : "", command->synopsis);
    if (command->details) {
        printf("\n%s\n", command->details);
    }
    printf("\nFlags:\n");
    print_options(command, command->options);
    printf("%-38s  %s\n", "  -h, --help", "print this text");
    if (is_repo(command)) {
        printf("\nRepository:\n");
        print_options(command, cli_repo_options);
        printf("\nWith --location also the flags for cluster and stores of \"vmbackup get\".\n");
    } else if (!command->plain) {
        printf("\nCluster, store and output:\n");
        print_options(command, cli_common_options);
    }
}

static int unknown_flag(const struct cli_command *command, const char *flag, size_t len)
{
    const struct cli_option *all[TABLES];
    const char *names[96];
    char word[64];
    size_t count = 0;
    const char *near;

    tables(command, all);
    for (size_t t = 0; t < TABLES; t++) {
        for (const struct cli_option *o = all[t]; o->name && count < 96; o++) {
            names[count++] = o->name;
        }
    }
    snprintf(word, sizeof(word), "%.*s", (int)(len < 63 ? len : 63), flag);
    near = cli_nearest(word, names, count);
    if (near) {
        cli_error("unknown flag --%s: did you mean --%s?", word, near);
    } else {
        cli_error("unknown flag --%s: \"vmbackup %s --help\" lists the flags", word, command->name);
    }
    return CLI_USAGE;
}

static int add_given(struct cli_args *args, const struct cli_option *option, const char *value)
{
    if (option->kind == CLI_BOOL && strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
        cli_error("--%s=%s: write --%s, --%s=true or --%s=false", option->name, value, option->name,
                  option->name, option->name);
        return CLI_USAGE;
    }
    if (option->kind != CLI_BOOL && !*value) {
        cli_error("--%s: the value is empty: give %s", option->name, option->arg);
        return CLI_USAGE;
    }
    args->given[args->given_count].option = option;
    args->given[args->given_count].value = value;
    args->given_count++;
    return CLI_OK;
}

/* One flag at argv[*i]; moves *i to its last word. */
static int parse_flag(struct cli_args *args, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    const struct cli_option *option;
    const char *value = NULL;

    if (word[1] == '-') {
        size_t len = strcspn(word + 2, "=");

        option = find_long(args->command, word + 2, len);
        if (!option) {
            return unknown_flag(args->command, word + 2, len);
        }
        if (word[2 + len] == '=') {
            value = word + 3 + len;
        }
    } else {
        option = find_letter(args->command, word[1]);
        if (!option) {
            cli_error("unknown flag -%c: \"vmbackup %s --help\" lists the flags", word[1],
                      args->command->name);
            return CLI_USAGE;
        }
        if (word[2]) {
            value = word[2] == '=' ? word + 3 : word + 2;
        }
    }
    if (!value && option->kind == CLI_BOOL) {
        value = "true";
    } else if (!value) {
        if (*i + 1 >= argc) {
            cli_error("--%s needs a value: --%s %s", option->name, option->name, option->arg);
            return CLI_USAGE;
        }
        value = argv[++*i];
    }
    return add_given(args, option, value);
}

static int too_many_names(const struct cli_args *args, const char *name)
{
    if (args->command->max_names == 0) {
        cli_error("unexpected argument \"%s\": \"vmbackup %s\" takes flags only", name,
                  args->command->name);
    } else {
        cli_error("unexpected argument \"%s\": \"vmbackup %s\" takes one name; lists are written "
                  "with commas and without spaces",
                  name, args->command->name);
    }
    return CLI_USAGE;
}

int cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_args *args,
              bool *done)
{
    int result = CLI_OK;
    bool flags_ended = false;

    *args = (struct cli_args){.command = command};
    *done = true;
    args->given = calloc((size_t)argc + 1, sizeof(*args->given));
    args->names = calloc((size_t)argc + 1, sizeof(*args->names));
    if (!args->given || !args->names) {
        cli_error("out of memory");
        return CLI_FAILED;
    }
    for (int i = 0; i < argc && result == CLI_OK; i++) {
        if (flags_ended || argv[i][0] != '-' || !argv[i][1]) {
            if (args->name_count >= command->max_names) {
                result = too_many_names(args, argv[i]);
            } else {
                args->names[args->name_count++] = argv[i];
            }
        } else if (!strcmp(argv[i], "--")) {
            flags_ended = true;
        } else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            print_help(command);
            return CLI_OK;
        } else {
            result = parse_flag(args, argc, argv, &i);
        }
    }
    *done = result != CLI_OK;
    return result;
}

void cli_args_free(struct cli_args *args)
{
    free(args->given);
    free((void *)args->names);
    *args = (struct cli_args){0};
}

const char *cli_value(const struct cli_args *args, const char *name)
{
    const char *value = NULL;

    for (size_t i = 0; i < args->given_count; i++) {
        if (!strcmp(args->given[i].option->name, name)) {
            value = args->given[i].value;
        }
    }
    return value;
}

bool cli_flag(const struct cli_args *args, const char *name)
{
    const char *value = cli_value(args, name);

    return value && !strcmp(value, "true");
}
