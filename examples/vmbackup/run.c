/* SPDX-License-Identifier: Apache-2.0 */
/* What "vmbackup backup" and "vmbackup restore" share: completing the spec, running it with progress
 * and Ctrl-C, printing the outcome. */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* ---- the spec ----------------------------------------------------------------------------------- */

/* A file that was exported from a cluster carries what made that object unique; this is a new one. */
static void forget_identity(vmb_spec *spec)
{
    static const char *const fields[] = {"metadata.uid", "metadata.creationTimestamp"};

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        (void)vmb_spec_unset(spec, fields[i], NULL); /* fails only when it is not there */
    }
}

/* A file's spec is a new object, whatever it was exported from. */
static int read_spec(const char *path, const char *name, const char *kind, vmb_spec **out)
{
    vmb_error *err = NULL;
    int result = cli_load_spec(path, out);

    if (result != CLI_OK) {
        return result;
    }
    if (strcmp(vmb_spec_kind(*out), kind) != 0) {
        cli_error("%s: is no %s", path, kind);
        return CLI_FAILED;
    }
    forget_identity(*out);
    if (name && vmb_spec_set_string(*out, "metadata.name", name, &err) != VMB_OK) {
        return cli_fail(name, err);
    }
    return CLI_OK;
}

static int complete_spec(const struct cli_args *args, vmb_spec *spec, const char *source)
{
    const char *ns = cli_value(args, "namespace");
    vmb_error *err = NULL;
    int result;

    if (ns && vmb_spec_set_string(spec, "metadata.namespace", ns, &err) != VMB_OK) {
        return cli_fail(ns, err);
    }
    result = cli_spec_apply(args, spec);
    return result == CLI_OK ? cli_check_spec(spec, source, stderr) : result;
}

static int build_spec(const struct cli_args *args, const char *kind, cli_make_fn make,
                      vmb_spec **out)
{
    const char *path = cli_value(args, "file");
    const char *name = args->name_count > 0 ? args->names[0] : NULL;
    vmb_spec *spec = NULL;
    int result = path ? read_spec(path, name, kind, &spec) : make(args, name, &spec);

    if (result == CLI_OK) {
        result = complete_spec(args, spec, path ? path : name ? name : kind);
    }
    if (result != CLI_OK) {
        vmb_spec_free(spec);
        return result;
    }
    *out = spec;
    return CLI_OK;
}

/* ---- running ------------------------------------------------------------------------------------ */

/* The run that Ctrl-C cancels. Written before the handler is installed. */
static vmb_run *running;

static void on_interrupt(int number)
{
    static const char text[] = "\ncancelling: the run ends cleanly; interrupt again to kill\n";
    ssize_t written;

    (void)number;
    vmb_run_cancel(running);
    written = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)written; /* nothing can be done about it here */
}

/* The first interrupt cancels; the handler is gone then and the second one kills. */
static void watch_interrupts(vmb_run *run)
{
    struct sigaction action = {0};

    running = run;
    action.sa_handler = on_interrupt;
    action.sa_flags = (int)SA_RESETHAND | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void ignore_interrupts(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    running = NULL;
}

static int write_report(const char *path, const char *text, size_t len)
{
    FILE *out = fopen(path, "we");
    bool failed;

    if (!out) {
        cli_error("--report %s: %s", path, strerror(errno));
        return CLI_FAILED;
    }
    failed = fwrite(text, 1, len, out) != len || fputc('\n', out) == EOF;
    failed = fclose(out) != 0 || failed;
    if (failed) {
        cli_error("--report %s: %s", path, strerror(errno));
        return CLI_FAILED;
    }
    return CLI_OK;
}

/* what: "backup" or "restore". */
static void print_outcome(const json_t *report, const char *what, const char *phase)
{
    const json_t *resource = json_object_get(report, what);
    const json_t *status = json_object_get(resource, "status");
    double seconds = (double)cli_number(report, "durationNs", NULL) / 1e9;

    printf("%s %s: %s, %lld items, %lld warnings, %lld errors, %.1f s\n", what,
           cli_text(resource, "metadata", "name"), phase,
           cli_number(status, "progress", "totalItems"), cli_number(status, "warnings", NULL),
           cli_number(status, "errors", NULL), seconds);
}

/* Prints the outcome and turns the phase into the exit code. */
static int finish(const struct cli_args *args, enum cli_format format, const char *what,
                  const vmb_run *run)
{
    const char *phase = vmb_run_phase(run);
    const char *path = cli_value(args, "report");
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    json_t *report;
    int result = CLI_OK;

    if (vmb_run_report_json(run, &text, &len, &err) != VMB_OK) {
        return cli_fail("report", err);
    }
    if (path) {
        result = write_report(path, text, len);
    }
    report = cli_take_json(text, len);
    if (!report) {
        return CLI_FAILED;
    }
    if (format == CLI_TABLE) {
        print_outcome(report, what, phase);
    } else {
        cli_print_value(format, json_object_get(report, what));
    }
    json_decref(report);
    if (!strcmp(phase, "PartiallyFailed")) {
        return CLI_PARTIAL;
    }
    return strcmp(phase, "Completed") != 0 ? CLI_FAILED : result;
}

static int run_spec(const struct cli_args *args, enum cli_format format, vmb_ctx *ctx,
                 const vmb_spec *spec)
{
    const char *what = !strcmp(vmb_spec_kind(spec), "Restore") ? "restore" : "backup";
    struct cli_progress progress;
    vmb_run *run = NULL;
    vmb_error *err = NULL;
    int result = CLI_OK;
    int outcome;

    if (vmb_run_new(ctx, spec, &run, &err) != VMB_OK) {
        return cli_fail(what, err);
    }
    cli_progress_init(&progress, cli_flag(args, "quiet"));
    if (vmb_run_set_event_fn(run, cli_progress_event, &progress, &err) != VMB_OK) {
        vmb_run_free(run);
        return cli_fail(what, err);
    }
    watch_interrupts(run);
    if (vmb_run_execute(run, &err) != VMB_OK) {
        cli_progress_end(&progress);
        result = cli_fail(what, err);
    }
    ignore_interrupts();
    cli_progress_end(&progress);
    outcome = finish(args, format, what, run);
    vmb_run_free(run);
    return result != CLI_OK ? result : outcome;
}

int cli_run(const struct cli_args *args, const char *kind, cli_make_fn make)
{
    enum cli_format format;
    vmb_ctx *ctx = NULL;
    vmb_spec *spec = NULL;
    const char *ns = NULL;
    int result;

    if (!cli_output_format(args, &format)) {
        return CLI_USAGE;
    }
    result = build_spec(args, kind, make, &spec);
    if (result != CLI_OK) {
        return result;
    }
    if (vmb_spec_get_string(spec, "metadata.namespace", &ns, NULL) != VMB_OK) {
        ns = NULL;
    }
    result = cli_session(args, CLI_NEED_CLUSTER | CLI_NEED_ENGINE, ns, &ctx);
    if (result == CLI_OK) {
        result = cli_flag(args, "dry-run") ? cli_plan(format, ctx, spec)
                                           : run_spec(args, format, ctx, spec);
    }
    vmb_ctx_unref(ctx);
    vmb_spec_free(spec);
    return result;
}
