/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup repo mount: a disk of a snapshot over NBD, served by nbdkit with our plugin. */
#include "repo_cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

const struct cli_option cli_repo_mount_options[] = {
    {"socket", 'U', CLI_STRING, "PATH",
     "Unix socket to listen on; default one in a folder of its own"},
    {"port", 0, CLI_STRING, "PORT", "listen on TCP instead"},
    {"address", 0, CLI_STRING, "IP", "with --port: only on this address; default 127.0.0.1"},
    {"cache", 0, CLI_STRING, "SIZE", "memory for chunks that were read, 16M to 1G; default 32M"},
    {"run", 0, CLI_STRING, "COMMAND", "run a shell command with $uri, and end with it"},
    {"plugin", 0, CLI_STRING, "FILE",
     "nbdkit-vmbackup-plugin.so; default $VMBACKUP_NBDKIT_PLUGIN, or the installed one"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

enum { MAX_WORDS = 32, START_TRIES = 200 };

struct mount {
    char folder[PATH_MAX]; /* of our own: socket, password; removed at the end */
    char socket[PATH_MAX];
    char *words[MAX_WORDS];
    size_t count;
    bool failed;
};

static void add(struct mount *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct mount *m, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    if (m->count + 1 >= MAX_WORDS || vasprintf(&m->words[m->count], format, values) < 0) {
        m->words[m->count] = NULL;
        m->failed = true;
    } else {
        m->count++;
    }
    va_end(values);
}

/* A private file with a text. */
static bool put_file(const struct mount *m, const char *name, const char *text, char *path,
                     size_t size)
{
    int fd;
    bool ok;

    snprintf(path, size, "%s/%s", m->folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) {
        ok = close(fd) == 0 && ok;
    }
    if (!ok) {
        cli_error("%s: %s", path, strerror(errno));
    }
    return ok;
}

/* The plugin's file, or the name by which nbdkit finds an installed one. */
static void find_plugin(const struct cli_args *args, char *out, size_t size)
{
    const char *given = cli_value(args, "plugin");
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (!given) {
        given = getenv("VMBACKUP_NBDKIT_PLUGIN");
    }
    if (given && *given) {
        snprintf(out, size, "%s", given);
        return;
    }
    if (len > 0) { /* beside the program in a build folder */
        self[len] = '\0';
        *strrchr(self, '/') = '\0';
        snprintf(out, size, "%s/../nbdkit/nbdkit-vmbackup-plugin.so", self);
        if (access(out, R_OK) == 0) {
            return;
        }
    }
    snprintf(out, size, "vmbackup");
}

/* nbdkit and the plugin have to be there: they are told apart, because each is installed alone. */
static int probe(const char *plugin)
{
    const char *words[] = {"nbdkit", "--dump-plugin", plugin, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status = 0;
    int rc;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    rc = posix_spawnp(&child, "nbdkit", &actions, NULL, (char *const *)(uintptr_t)words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0) {
        cli_error("nbdkit cannot be started: %s: install the package nbdkit", strerror(rc));
        return CLI_FAILED;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        cli_error(
            "nbdkit does not find or load its plugin %s: build it (it needs nbdkit's headers), "
            "and name it with --plugin FILE",
            plugin);
        return CLI_FAILED;
    }
    return CLI_OK;
}

/* Where the repository is, as the plugin takes it. */
static int add_source(struct mount *m, const struct cli_args *args)
{
    const char *repo = repo_named(args);
    const char *file = cli_value(args, "location");
    struct repo_source source = {0};
    struct stat st;
    char path[PATH_MAX + 32];
    char *text = NULL;
    int result = CLI_OK;

    file = file ? file : cli_value(args, "location-file");
    if (file && stat(file, &st) == 0 && S_ISREG(st.st_mode)) {
        add(m, "location-file=%s", file);
    } else if (file || !repo) {
        cli_error("%s: mount takes -r REPOSITORY, or --location with the file of a location",
                  file ? file : "no repository is named");
        result = CLI_USAGE;
    } else {
        result = repo_source_parse(repo, false, &source);
        text = result == CLI_OK ? json_dumps(source.location, JSON_COMPACT) : NULL;
        if (text && put_file(m, "location.json", text, path, sizeof(path))) {
            add(m, "location-file=%s", path);
        } else {
            result = result == CLI_OK ? CLI_FAILED : result;
        }
        free(text);
        repo_source_done(&source);
    }
    if (result == CLI_OK && cli_value(args, "prefix")) {
        add(m, "prefix=%s", cli_value(args, "prefix"));
    }
    if (result == CLI_OK && cli_flag(args, "no-lock")) {
        add(m, "lock=false");
    }
    return result;
}

static int add_password(struct mount *m, const struct cli_args *args)
{
    json_t *settings = json_object();
    char path[PATH_MAX + 32];
    int result = repo_ask(args, false, settings);
    const char *password = json_string_value(json_object_get(settings, "password"));

    if (result == CLI_OK && !password) {
        add(m, "password-file=%s", cli_text(settings, "passwordFile", NULL));
    } else if (result == CLI_OK && put_file(m, "password", password, path, sizeof(path))) {
        add(m, "password-file=%s", path);
    } else {
        result = CLI_FAILED;
    }
    json_decref(settings);
    return result;
}

static int add_words(struct mount *m, const struct cli_args *args)
{
    const char *snapshot = args->name_count > 0 ? args->names[0] : "latest";
    const char *port = cli_value(args, "port");
    const char *listen = cli_value(args, "socket");
    const char *address = cli_value(args, "address");
    char plugin[PATH_MAX + 64];
    const char *path = NULL;
    char *id = NULL;
    int result;

    find_plugin(args, plugin, sizeof(plugin));
    result = probe(plugin);
    if (result != CLI_OK || !repo_split_snapshot(snapshot, &id, &path)) {
        return CLI_FAILED;
    }
    add(m, "nbdkit");
    add(m, "--foreground");
    add(m, "--readonly");
    add(m, "--exit-with-parent");
    if (port) {
        add(m, "--port=%s", port);
        add(m, "--ipaddr=%s", address ? address : "127.0.0.1");
    } else {
        snprintf(m->socket, sizeof(m->socket), "%.4000s%s", listen ? listen : m->folder,
                 listen ? "" : "/nbd.sock");
        add(m, "--unix=%s", m->socket);
    }
    if (cli_value(args, "run")) {
        add(m, "--run");
        add(m, "%s", cli_value(args, "run"));
    }
    add(m, "%s", plugin);
    add(m, "snapshot=%s", id);
    if (path) {
        add(m, "path=%s", path);
    }
    if (cli_value(args, "cache")) {
        add(m, "cache=%s", cli_value(args, "cache"));
    }
    free(id);
    result = add_source(m, args);
    return result == CLI_OK ? add_password(m, args) : result;
}

static pid_t server; /* for the signal handler */

static void pass_on(int number)
{
    if (server > 0) {
        kill(server, number == SIGHUP ? SIGTERM : number);
    }
}

/* Says how to reach it once the socket is there. */
static void announce(const struct mount *m, const struct cli_args *args)
{
    const char *port = cli_value(args, "port");
    struct stat st;
    char uri[PATH_MAX + 64];

    for (int i = 0; !port && i < START_TRIES && stat(m->socket, &st) != 0 && kill(server, 0) == 0;
         i++) {
        siginfo_t info = {0};

        if (waitid(P_PID, (id_t)server, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid == server) {
            return; /* it has said why */
        }
        poll(NULL, 0, 50);
    }
    if (port) {
        snprintf(uri, sizeof(uri), "nbd://%s:%s",
                 cli_value(args, "address") ? cli_value(args, "address") : "127.0.0.1", port);
    } else {
        snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s", m->socket);
    }
    printf("serving %s read-only at %s\n"
           "  copy it:  nbdcopy '%s' disk.img\n"
           "  look in:  guestfish --ro --format=raw -a '%s' -i\n"
           "Ctrl-C ends it.\n",
           args->name_count > 0 ? args->names[0] : "latest", uri, uri, uri);
    fflush(stdout);
}

static int serve(struct mount *m, const struct cli_args *args)
{
    struct sigaction action = {.sa_handler = pass_on};
    int status = 0;
    int rc;

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL); /* the password's file must go with the terminal, too */
    rc = posix_spawnp(&server, "nbdkit", NULL, NULL, m->words, environ);
    if (rc != 0) {
        cli_error("nbdkit: %s", strerror(rc));
        return CLI_FAILED;
    }
    if (!cli_value(args, "run")) {
        announce(m, args);
    }
    while (waitpid(server, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : CLI_FAILED;
}

int cli_repo_mount(struct cli_args *args)
{
    static const char *const files[] = {"nbd.sock", "password", "location.json"};
    struct mount m = {.folder = ""};
    const char *base = getenv("XDG_RUNTIME_DIR");
    char path[PATH_MAX + 32];
    int result;

    if (cli_value(args, "socket") && cli_value(args, "port")) {
        cli_error("--socket and --port exclude each other");
        return CLI_USAGE;
    }
    snprintf(m.folder, sizeof(m.folder), "%.2000s/vmbackup-XXXXXX",
             base && *base && access(base, W_OK) == 0 ? base : "/tmp");
    if (!mkdtemp(m.folder)) {
        cli_error("%s: %s", m.folder, strerror(errno));
        return CLI_FAILED;
    }
    result = add_words(&m, args);
    if (result == CLI_OK && m.failed) {
        cli_error("out of memory");
        result = CLI_FAILED;
    }
    if (result == CLI_OK) {
        result = serve(&m, args);
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", m.folder, files[i]);
        unlink(path);
    }
    rmdir(m.folder);
    for (size_t i = 0; i < m.count; i++) {
        free(m.words[i]);
    }
    return result;
}
