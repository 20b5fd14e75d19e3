/* SPDX-License-Identifier: Apache-2.0 */
/* What failures mean to a user: exit codes and remedies. */
#include "repo_cli.h"

#include <stdlib.h>
#include <string.h>

static int exit_code(const vmb_error *err)
{
    const char *message = vmb_error_message(err);

    switch (vmb_error_code(err)) {
    case VMB_E_NOT_FOUND:
        return strstr(message, "no config file") ? REPO_NONE : CLI_FAILED;
    case VMB_E_CONFLICT: /* also: an ID whose start is not unique */
        return vmb_error_flags(err) & VMB_ERROR_RETRYABLE ? REPO_LOCKED : CLI_FAILED;
    case VMB_E_DENIED: /* also: credentials of the store */
        return strstr(message, "with this password") ? REPO_PASSWORD : CLI_FAILED;
    case VMB_E_CANCELLED:
        return REPO_INTERRUPTED;
    default:
        return CLI_FAILED;
    }
}

static const char *remedy(int code, const vmb_error *err)
{
    switch (code) {
    case REPO_NONE:
        return "check -r and --prefix; \"vmbackup repo init\" makes a repository there";
    case REPO_LOCKED:
        return "wait with --retry-lock 5m; if no such process runs any more, \"vmbackup repo "
               "unlock\" removes its lock";
    case REPO_PASSWORD:
        return "check --password-file, VMBACKUP_PASSWORD or RESTIC_PASSWORD";
    default:
        break;
    }
    switch (vmb_error_code(err)) {
    case VMB_E_DENIED:
        return "check the store's credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or the "
               "file's permissions";
    case VMB_E_NET:
    case VMB_E_TIMEOUT:
        return "check that the store's address is right and that it can be reached from here";
    case VMB_E_FULL:
        return "make room, and run the command again";
    case VMB_E_INTERNAL:
        return "this is a defect of the library: please report it with the command that you ran";
    default:
        return NULL;
    }
}

int repo_fail(const struct repo_session *s, const char *what, vmb_error *err)
{
    int code = exit_code(err);
    const char *hint = remedy(code, err);

    if (s->json) {
        char *text = NULL;
        json_t *line;

        if (asprintf(&text, "%s: %s", what, vmb_error_message(err)) < 0) {
            text = NULL;
        }
        line = json_pack("{s:s,s:i,s:o}", "message_type", "exit_error", "code", code, "message",
                         repo_lossy(text ? text : "out of memory"));
        free(text);
        fflush(stdout);
        json_dumpf(line, stderr, JSON_COMPACT);
        fputc('\n', stderr);
        json_decref(line);
    } else {
        cli_error("%s: %s", what, vmb_error_message(err));
        if (hint) {
            fprintf(stderr, "       %s\n", hint);
        }
    }
    vmb_error_free(err);
    return code;
}
