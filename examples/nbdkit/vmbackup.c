/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin for nbdkit: serves one disk of a snapshot, read-only. See README.md. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2

#include <jansson.h>
#include <nbdkit-plugin.h>
#include <vmbackup/vmbackup.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

enum { PREFERRED_BLOCK = 64 * 1024, MAX_DOCUMENT = 1024 * 1024 };

static struct {
    char *location_file, *dir, *s3_url, *bucket, *region, *credentials_file;
    char *prefix, *password_file, *snapshot, *path;
    int64_t cache_bytes;
    bool no_lock;
} config;

static vmb_ctx *ctx;
static vmb_repo *repo;
static vmb_disk *disk;

/* Tells nbdkit's log and client; takes the error over. */
static int fail(const char *what, vmb_error *err)
{
    const vmb_code code = vmb_error_code(err);

    nbdkit_error("%s: %s", what, vmb_error_message(err));
    nbdkit_set_error(code == VMB_E_NOMEM ? ENOMEM : code == VMB_E_ARG ? EINVAL : EIO);
    vmb_error_free(err);
    return -1;
}

/* ---- parameters ---------------------------------------------------------------------------- */

static const struct {
    const char *name;
    char **value;
    bool is_path;
} parameters[] = {
    {"bucket", &config.bucket, false},
    {"credentials-file", &config.credentials_file, true},
    {"dir", &config.dir, true},
    {"location-file", &config.location_file, true},
    {"password-file", &config.password_file, true},
    {"path", &config.path, false},
    {"prefix", &config.prefix, false},
    {"region", &config.region, false},
    {"s3-url", &config.s3_url, false},
    {"snapshot", &config.snapshot, false},
};

static int plugin_config(const char *key, const char *value)
{
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
        if (strcmp(key, parameters[i].name) == 0) {
            free(*parameters[i].value);
            /* nbdkit changes its folder when it goes into the background */
            *parameters[i].value = parameters[i].is_path ? nbdkit_realpath(value) : strdup(value);
            return *parameters[i].value != NULL ? 0 : -1;
        }
    }
    if (strcmp(key, "cache") == 0) {
        config.cache_bytes = nbdkit_parse_size(value);
        return config.cache_bytes >= 0 ? 0 : -1;
    }
    if (strcmp(key, "lock") == 0) {
        int yes = nbdkit_parse_bool(value);

        config.no_lock = yes == 0;
        return yes >= 0 ? 0 : -1;
    }
    nbdkit_error("unknown parameter '%s'", key);
    return -1;
}

static int plugin_config_complete(void)
{
    int places = (config.location_file != NULL) + (config.dir != NULL) + (config.bucket != NULL);

    if (places != 1) {
        nbdkit_error("give one of location-file=FILE, dir=FOLDER and bucket=NAME");
        return -1;
    }
    if (config.bucket == NULL &&
        (config.s3_url != NULL || config.region != NULL || config.credentials_file != NULL)) {
        nbdkit_error("s3-url, region and credentials-file need bucket=NAME");
        return -1;
    }
    if (config.password_file == NULL) {
        nbdkit_error("password-file=FILE is missing");
        return -1;
    }
    return 0;
}

#define CONFIG_HELP                                                                            \
    "location-file=FILE | dir=FOLDER | bucket=NAME [s3-url=URL] [region=NAME]\n"               \
    "                 [credentials-file=FILE]      (required) Where the backups are.\n"        \
    "password-file=FILE            (required) Password of the repository.\n"                   \
    "prefix=PREFIX                 Where the repository is, below the location's prefix.\n"    \
    "snapshot=ID                   A snapshot; default: latest.\n"                             \
    "path=PATH                     The file in it; default: the only one.\n"                   \
    "cache=SIZE                    Memory for chunks that were read; default: 32M.\n"          \
    "lock=BOOL                     Lock the repository against pruning; default: true."

static void plugin_unload(void)
{
    vmb_disk_free(disk);
    vmb_repo_free(repo);
    vmb_ctx_unref(ctx);
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
        free(*parameters[i].value);
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

static void set_if(json_t *object, const char *key, const char *value)
{
    if (value != NULL) {
        json_object_set_new(object, key, json_string(value));
    }
}

/* A BackupStorageLocation of the parameters; NULL when memory is out or they are no UTF-8. */
static char *location_of_parameters(void)
{
    json_t *settings = json_object();
    json_t *spec = json_object();
    json_t *document;
    char *text;

    set_if(settings, "path", config.dir);
    set_if(settings, "s3Url", config.s3_url);
    set_if(settings, "region", config.region);
    set_if(settings, "credentialsFile", config.credentials_file);
    set_if(spec, "provider", config.dir != NULL ? "vmbackup.io/dir" : "aws");
    json_object_set_new(spec, "config", settings);
    if (config.bucket != NULL) {
        json_object_set_new(spec, "objectStorage", json_pack("{s:s}", "bucket", config.bucket));
    }
    document = json_pack("{s:s,s:s,s:{s:s},s:o}", "apiVersion", "velero.io/v1", "kind",
                         "BackupStorageLocation", "metadata", "name", "default", "spec", spec);
    text = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;
    json_decref(document);
    return text;
}

static char *read_text(const char *path)
{
    FILE *in = fopen(path, "re");
    char *text = in != NULL ? malloc(MAX_DOCUMENT + 1) : NULL;

    if (text != NULL) {
        size_t len = fread(text, 1, MAX_DOCUMENT, in);

        text[len] = '\0';
    }
    if (in != NULL) {
        fclose(in);
    }
    return text;
}

static int open_location(void)
{
    char *text = config.location_file != NULL ? read_text(config.location_file)
                                              : location_of_parameters();
    vmb_error *err = NULL;
    vmb_code rc;

    if (text == NULL) {
        nbdkit_error("the location cannot be read");
        return -1;
    }
    rc = vmb_ctx_new(&ctx, &err);
    if (rc == VMB_OK) {
        rc = vmb_ctx_add_location(ctx, text, strlen(text), &err);
    }
    free(text);
    return rc == VMB_OK ? 0 : fail("location", err);
}

static int open_repository(void)
{
    json_t *settings = json_object();
    vmb_error *err = NULL;
    char *text;
    vmb_code rc;

    set_if(settings, "prefix", config.prefix);
    set_if(settings, "passwordFile", config.password_file);
    if (config.no_lock) {
        json_object_set_new(settings, "noLock", json_true());
    }
    text = json_dumps(settings, JSON_COMPACT);
    json_decref(settings);
    if (text == NULL) {
        nbdkit_error("out of memory");
        return -1;
    }
    rc = vmb_repo_open(ctx, NULL, text, strlen(text), &repo, &err);
    free(text);
    return rc == VMB_OK ? 0 : fail("repository", err);
}

/* Behind the fork: the library's threads do not come along with one. */
static int plugin_after_fork(void)
{
    const char *snapshot = config.snapshot != NULL ? config.snapshot : "latest";
    vmb_error *err = NULL;

    if (open_location() != 0 || open_repository() != 0) {
        return -1;
    }
    return vmb_disk_open(repo, snapshot, config.path, config.cache_bytes, &disk, &err) == VMB_OK
               ? 0
               : fail("disk", err);
}

/* ---- serving --------------------------------------------------------------------------------- */

static void *plugin_open(int readonly)
{
    (void)readonly;
    return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t plugin_get_size(void *handle)
{
    (void)handle;
    return vmb_disk_size(disk);
}

static int plugin_can_multi_conn(void *handle)
{
    (void)handle;
    return 1;
}

static int plugin_can_extents(void *handle)
{
    (void)handle;
    return 1;
}

static int plugin_block_size(void *handle, uint32_t *minimum, uint32_t *preferred,
                             uint32_t *maximum)
{
    (void)handle;
    *minimum = 1;
    *preferred = PREFERRED_BLOCK;
    *maximum = UINT32_MAX;
    return 0;
}

static int plugin_pread(void *handle, void *data, uint32_t count, uint64_t offset, uint32_t flags)
{
    vmb_error *err = NULL;

    (void)handle;
    (void)flags;
    return vmb_disk_pread(disk, data, count, (int64_t)offset, &err) == VMB_OK
               ? 0
               : fail("read", err);
}

static vmb_code add_extent(void *user, int64_t offset, int64_t length, int32_t kind)
{
    const uint32_t type = kind == VMB_EXTENT_ZERO ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0;

    return nbdkit_add_extent(user, (uint64_t)offset, (uint64_t)length, type) == 0 ? VMB_OK
                                                                                 : VMB_E_NOMEM;
}

static int plugin_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                          struct nbdkit_extents *extents)
{
    vmb_error *err = NULL;

    (void)handle;
    (void)flags;
    return vmb_disk_extents(disk, (int64_t)offset, count, add_extent, extents, &err) == VMB_OK
               ? 0
               : fail("extents", err);
}

static struct nbdkit_plugin plugin = {
    .name = "vmbackup",
    .version = PLUGIN_VERSION,
    .longname = "disks inside of backups",
    .description = "Serves a disk of a snapshot in a repository of restic's format, read-only.",
    .config = plugin_config,
    .config_complete = plugin_config_complete,
    .config_help = CONFIG_HELP,
    .magic_config_key = "snapshot",
    .unload = plugin_unload,
    .after_fork = plugin_after_fork,
    .open = plugin_open,
    .get_size = plugin_get_size,
    .can_multi_conn = plugin_can_multi_conn,
    .can_extents = plugin_can_extents,
    .block_size = plugin_block_size,
    .pread = plugin_pread,
    .extents = plugin_extents,
    .errno_is_preserved = 0,
};

struct nbdkit_plugin *plugin_init(void); /* nbdkit's header has no prototype for what it defines */
NBDKIT_REGISTER_PLUGIN(plugin)
