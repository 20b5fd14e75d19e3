/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords: from a file, the environment or the terminal. */
#include "repo_cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { MAX_PASSWORD = 4096 };

static const char *first_set(const char *const *names)
{
    for (size_t i = 0; names && names[i]; i++) {
        const char *value = getenv(names[i]);

        if (value && *value) {
            return value;
        }
    }
    return NULL;
}

/* One line without echo, from the terminal itself: standard input may be something else. */
static bool ask(const char *prompt, char *out, size_t size)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct termios before;
    struct termios quiet;
    size_t len = 0;
    char c = 0;

    if (fd < 0 || tcgetattr(fd, &before) != 0) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    (void)tcsetattr(fd, TCSAFLUSH, &quiet);
    dprintf(fd, "%s: ", prompt);
    while (read(fd, &c, 1) == 1 && c != '\n') {
        if (len + 1 < size) {
            out[len++] = c;
        }
    }
    out[len] = '\0';
    dprintf(fd, "\n");
    (void)tcsetattr(fd, TCSAFLUSH, &before);
    close(fd);
    return true;
}

/* Asks, twice for a new one. */
static int ask_password(const char *prompt, bool twice, char *out, size_t size)
{
    char again[MAX_PASSWORD];
    int result = CLI_OK;

    if (!ask(prompt, out, size)) {
        cli_error("%s: none is given and there is no terminal to ask: use --password-file FILE or "
                  "RESTIC_PASSWORD",
                  prompt);
        return CLI_FAILED;
    }
    if (twice && (!ask("once more", again, sizeof(again)) || strcmp(again, out) != 0)) {
        cli_error("%s: the two are not the same", prompt);
        result = CLI_FAILED;
    }
    explicit_bzero(again, sizeof(again));
    return result;
}

static int use_file(const char *path, json_t *settings)
{
    if (access(path, R_OK) != 0) {
        cli_error("password file %s: %s", path, strerror(errno));
        return CLI_FAILED;
    }
    return json_object_set_new(settings, "passwordFile", json_string(path)) == 0 ? CLI_OK
                                                                                 : CLI_FAILED;
}

int repo_password(const char *file, const char *const *variables, const char *const *file_variables,
                  const char *prompt, bool twice, json_t *settings)
{
    const char *given = first_set(variables);
    char asked[MAX_PASSWORD];
    json_t *value;
    int result = CLI_OK;

    /* a flag first, then a variable with a password, then one with a file */
    if (file) {
        return use_file(file, settings);
    }
    if (!given) {
        file = first_set(file_variables);
        if (file) {
            return use_file(file, settings);
        }
        result = ask_password(prompt, twice, asked, sizeof(asked));
        given = asked;
    }
    if (result == CLI_OK) {
        value = json_string(given);
        if (!value) {
            cli_error("%s: it is no UTF-8: use --password-file", prompt);
            result = CLI_FAILED;
        } else if (json_object_set_new(settings, "password", value) != 0) {
            result = CLI_FAILED;
        }
    }
    if (given == asked) {
        explicit_bzero(asked, sizeof(asked));
    }
    return result;
}

int repo_new_password(const struct cli_args *args, char **out, size_t *len)
{
    const char *file = cli_value(args, "new-password-file");
    char *text = NULL;
    size_t used = 0;
    size_t start = 0;
    int result = CLI_OK;

    if (file) {
        result = cli_read_file(file, &text, &used);
    } else {
        text = calloc(1, MAX_PASSWORD);
        result = text ? ask_password("new password", true, text, MAX_PASSWORD) : CLI_FAILED;
        used = text ? strlen(text) : 0;
    }
    if (result != CLI_OK) {
        free(text);
        return result;
    }
    while (file && used > 0 && strchr(" \t\r\n\v\f", text[used - 1])) {
        used--;
    }
    while (file && start < used && strchr(" \t\r\n\v\f", text[start])) {
        start++;
    }
    memmove(text, text + start, used - start);
    *out = text;
    *len = used - start;
    return CLI_OK;
}
