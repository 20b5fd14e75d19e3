/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the store suite against a built-in provider:
 *   store_conformance --provider s3 --settings JSON [--prefix P] [--skip a,b] [--only text]
 *                     [--big BYTES] [--many N] [--plain-keys] [--insecure]
 *   store_conformance --provider dir --temp
 * Settings may come from a file: --settings @FILE (credentials stay out of the process list). */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strs.h"
#include "codec/json.h"
#include "providers/builtin.h"
#include "store_suite.h"

struct args {
    const char *provider;
    const char *settings;
    bool temp;
    store_suite_options o;
};

static bool number(const char *text, int64_t *out)
{
    return text && vmbi_parse_i64(text, strlen(text), out) && *out > 0;
}

static bool parse_args(int argc, char **argv, struct args *a)
{
    int64_t n = 0;
    int i = 0;

    for (i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--temp") == 0) {
            a->temp = true;
            continue;
        }
        if (strcmp(argv[i], "--plain-keys") == 0) {
            a->o.plain_keys = true;
            continue;
        }
        if (strcmp(argv[i], "--insecure") == 0) {
            a->o.insecure = true;
            continue;
        }
        if (!value) {
            return false;
        }
        if (strcmp(argv[i], "--provider") == 0) {
            a->provider = value;
        } else if (strcmp(argv[i], "--settings") == 0) {
            a->settings = value;
        } else if (strcmp(argv[i], "--prefix") == 0) {
            a->o.prefix = value;
        } else if (strcmp(argv[i], "--skip") == 0) {
            a->o.skip = value;
        } else if (strcmp(argv[i], "--only") == 0) {
            a->o.only = value;
        } else if (strcmp(argv[i], "--big") == 0 && number(value, &n)) {
            a->o.big_bytes = n;
        } else if (strcmp(argv[i], "--many") == 0 && number(value, &n) && n < 100000) {
            a->o.many_objects = (int32_t)n;
        } else {
            return false;
        }
        i++;
    }
    return a->provider && (a->settings || a->temp);
}

static char *read_settings(const char *arg)
{
    FILE *f = NULL;
    char *text = calloc(1, 65536);

    if (text && arg[0] != '@') {
        (void)snprintf(text, 65536, "%s", arg);
    } else if (text) {
        f = fopen(arg + 1, "re");
        if (!f || fread(text, 1, 65535, f) == 0) {
            fprintf(stderr, "cannot read %s\n", arg + 1);
            free(text);
            text = NULL;
        }
        if (f) {
            (void)fclose(f);
        }
    }
    return text;
}

static vmb_code open_store(const char *provider, const char *text, vmb_store_provider *out,
                           vmb_error **err)
{
    vmbi_json *settings = NULL;
    vmb_code code = vmbi_json_parse(text, strlen(text), "settings", &settings, err);

    if (code != VMB_OK) {
        return code;
    }
    if (strcmp(provider, "dir") == 0) {
        code = vmbi_store_dir_new(settings, out, err);
    } else if (strcmp(provider, "s3") == 0) {
        code = vmbi_store_s3_new(settings, out, err);
#ifdef VMBI_HAVE_LIBS3
    } else if (strcmp(provider, "libs3") == 0) {
        code = vmbi_store_libs3_new(settings, out, err);
#endif
    } else {
        code = vmbi_fail(err, VMB_E_UNSUPPORTED, "provider %s is not in this build", provider);
    }
    vmbi_json_free(settings);
    return code;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void print_outcome(void *user, const char *test, const char *outcome)
{
    (void)user;
    printf("%-55s %s\n", test, outcome);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    struct args a = {.o = {.prefix = "conformance/"}};
    char temp[] = "/tmp/vmbackup-store-XXXXXX";
    char temp_settings[256];
    store_suite_counts counts = {0, 0, 0};
    vmb_store_provider store;
    vmb_error *err = NULL;
    char *text = NULL;

    memset(&store, 0, sizeof(store));
    if (!parse_args(argc, argv, &a)) {
        fprintf(stderr, "usage: %s --provider s3|libs3|dir --settings JSON|@FILE | --temp\n",
                argv[0]);
        return 2;
    }
    if (a.temp) {
        if (!mkdtemp(temp)) {
            fprintf(stderr, "mkdtemp: %s\n", strerror(errno));
            return 2;
        }
        (void)snprintf(temp_settings, sizeof(temp_settings), "{\"config\":{\"path\":\"%s\"}}",
                       temp);
        a.settings = temp_settings;
    }
    a.o.report = print_outcome;
    text = read_settings(a.settings);
    if (!text || open_store(a.provider, text, &store, &err) != VMB_OK) {
        fprintf(stderr, "open store: %s\n", vmb_error_message(err));
        vmb_error_free(err);
        free(text);
        return 2;
    }
    store_suite_run(&store, &a.o, &counts);
    store.destroy(store.user);
    free(text);
    if (a.temp) {
        (void)nftw(temp, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
    printf("%d passed, %d failed, %d skipped\n", counts.passed, counts.failed, counts.skipped);
    return counts.failed == 0 ? 0 : 1;
}
