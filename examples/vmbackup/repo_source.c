/* SPDX-License-Identifier: Apache-2.0 */
/* Where a repository lies: from what -r says to a storage location. */
#include "repo_cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int unsupported(const char *repo)
{
    static const char *const schemes[] = {
        "sftp:", "rest:", "azure:", "b2:", "gs:", "swift:", "rclone:"};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (!strncmp(repo, schemes[i], strlen(schemes[i]))) {
            cli_error("%s: repositories are folders or in S3 (\"s3:https://host/bucket/prefix\"); "
                      "%s is restic's only",
                      repo, schemes[i]);
            return CLI_USAGE;
        }
    }
    return CLI_OK;
}

static json_t *location(const char *provider, json_t *rest)
{
    json_t *l = json_pack("{s:s,s:s,s:{s:s},s:o}", "apiVersion", "velero.io/v1", "kind",
                          "BackupStorageLocation", "metadata", "name", "default", "spec", rest);

    if (l) {
        json_object_set_new(json_object_get(l, "spec"), "provider", json_string(provider));
        json_object_set_new(json_object_get(l, "spec"), "default", json_true());
    }
    return l;
}

/* Makes a folder with its parents. */
static bool make_folders(const char *path)
{
    char *copy = strdup(path);
    bool ok = copy != NULL;

    for (char *at = copy ? strchr(copy + 1, '/') : NULL; ok && at; at = strchr(at + 1, '/')) {
        *at = '\0';
        ok = mkdir(copy, 0777) == 0 || errno == EEXIST;
        *at = '/';
    }
    ok = ok && (mkdir(path, 0700) == 0 || errno == EEXIST);
    free(copy);
    return ok;
}

static int folder(const char *path, bool make, struct repo_source *out)
{
    char *real;

    if (make && !make_folders(path)) {
        cli_error("%s: %s", path, strerror(errno));
        return CLI_FAILED;
    }
    real = realpath(path, NULL);
    if (!real) {
        cli_error("%s: %s", path,
                  errno == ENOENT ? "there is no repository: \"vmbackup repo init\" makes one"
                                  : strerror(errno));
        return errno == ENOENT ? REPO_NONE : CLI_FAILED;
    }
    out->location = location("vmbackup.io/dir", json_pack("{s:{s:s}}", "config", "path", real));
    if (!out->location) {
        cli_error("%s: the path is no UTF-8", path);
    }
    free(real);
    return out->location ? CLI_OK : CLI_FAILED;
}

/* "https://host:port/bucket/prefix", the scheme may be left out. */
static int s3(const char *repo, const char *rest, struct repo_source *out)
{
    const char *scheme_end = strstr(rest, "://");
    const char *host = scheme_end ? scheme_end + 3 : rest;
    const char *bucket = strchr(host, '/');
    const char *prefix = bucket ? strchr(bucket + 1, '/') : NULL;
    const char *region = getenv("AWS_DEFAULT_REGION");
    json_t *config = json_object();
    json_t *where;
    size_t prefix_len = prefix ? strlen(prefix + 1) : 0;

    if (!bucket || bucket == host || bucket[1] == '\0' || bucket[1] == '/') {
        cli_error("%s: write s3:https://host[:port]/bucket/prefix", repo);
        json_decref(config);
        return CLI_USAGE;
    }
    json_object_set_new(
        config, "s3Url",
        json_sprintf("%s%.*s", scheme_end ? "" : "https://", (int)(bucket - rest), rest));
    /* restic's default; a store that wants another one says which */
    json_object_set_new(config, "region", json_string(region && *region ? region : "us-east-1"));
    json_object_set_new(config, "s3ForcePathStyle", json_string("true"));
    while (prefix_len > 0 && prefix[prefix_len] == '/') {
        prefix_len--;
    }
    where = json_pack(
        "{s:o,s:{s:o,s:o}}", "config", config, "objectStorage", "bucket",
        json_sprintf("%.*s", (int)(prefix ? prefix - bucket - 1 : (ptrdiff_t)strlen(bucket + 1)),
                     bucket + 1),
        "prefix", json_sprintf("%.*s", (int)prefix_len, prefix ? prefix + 1 : ""));
    out->location = where ? location("aws", where) : NULL;
    if (!out->location) {
        cli_error("%s: no UTF-8, or out of memory", repo);
        return CLI_FAILED;
    }
    return CLI_OK;
}

int repo_source_parse(const char *repo, bool make_folder, struct repo_source *out)
{
    int result = unsupported(repo);

    *out = (struct repo_source){.name = strdup(repo)};
    if (result != CLI_OK || !out->name) {
        return out->name ? result : CLI_FAILED;
    }
    if (!strncmp(repo, "s3:", 3)) {
        return s3(repo, repo + 3, out);
    }
    return folder(!strncmp(repo, "local:", 6) ? repo + 6 : repo, make_folder, out);
}

void repo_source_done(struct repo_source *source)
{
    free(source->name);
    json_decref(source->location);
    *source = (struct repo_source){0};
}
