/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials: tokens, token files that change, plugins that are run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "kube/auth.h"
#include "kube/plugin.h"
#include "support.h"

#define API "client.authentication.k8s.io/v1"

static scratch dir;

static int setup(void **state)
{
    (void)state;
    scratch_open(&dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_close(&dir);
    return 0;
}

static char *dup_text(const char *s)
{
    char *copy = vmbi_strdup(s);
    assert_non_null(copy);
    return copy;
}

static vmbi_kube_config plugin_config(const char *script)
{
    vmbi_kube_config c = {.origin = dup_text("kubeconfig test"), .server = dup_text("https://h")};
    c.plugin.command = dup_text(scratch_write(&dir, "plugin", script, 0700));
    c.plugin.api_version = dup_text(API);
    return c;
}

static void assert_login(vmbi_kube_auth *a, const char *authorization, uint64_t *generation)
{
    vmbi_kube_login l = {0};
    vmb_error *err = NULL;
    if (vmbi_kube_auth_get(a, NULL, &l, &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
    if (authorization == NULL) {
        assert_null(l.authorization);
    } else {
        assert_string_equal(l.authorization, authorization);
    }
    if (generation != NULL) {
        *generation = l.generation;
    }
    vmbi_kube_login_free(&l);
}

static void assert_no_login(vmbi_kube_auth *a, vmb_code code, const char *says)
{
    vmbi_kube_login l = {0};
    vmb_error *err = NULL;
    assert_int_equal(vmbi_kube_auth_get(a, NULL, &l, &err), code);
    if (strstr(vmb_error_message(err), says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", vmb_error_message(err), says);
    }
    vmb_error_free(err);
}

static void token_fixed_cannot_be_renewed(void **state)
{
    vmbi_kube_config c = {.token = dup_text("abc")};
    vmbi_kube_auth *a = NULL;
    uint64_t generation = 0;
    (void)state;
    assert_int_equal(vmbi_kube_auth_new(&c, &a, NULL), VMB_OK);
    assert_login(a, "Bearer abc", &generation);
    assert_false(vmbi_kube_auth_refused(a, generation));
    vmbi_kube_auth_free(a);
    vmbi_kube_config_free(&c);
}

static void token_none_is_anonymous(void **state)
{
    vmbi_kube_config c = {0};
    vmbi_kube_auth *a = NULL;
    (void)state;
    assert_int_equal(vmbi_kube_auth_new(&c, &a, NULL), VMB_OK);
    assert_login(a, NULL, NULL);
    vmbi_kube_auth_free(a);
}

static void token_file_is_read_again_when_it_changes(void **state)
{
    vmbi_kube_config c = {.origin = dup_text("kubeconfig test"), .token = dup_text("unused")};
    vmbi_kube_auth *a = NULL;
    (void)state;
    c.token_file = dup_text(scratch_write(&dir, "token", "first\n", 0600));
    assert_int_equal(vmbi_kube_auth_new(&c, &a, NULL), VMB_OK);
    assert_login(a, "Bearer first", NULL);
    scratch_write(&dir, "token", " second", 0600);
    assert_login(a, "Bearer second", NULL);
    scratch_write(&dir, "token", "third", 0600);
    assert_login(a, "Bearer third", NULL);
    vmbi_kube_auth_free(a);
    vmbi_kube_config_free(&c);
}

static void token_file_refused_is_read_again(void **state)
{
    vmbi_kube_config c = {.origin = dup_text("kubeconfig test")};
    vmbi_kube_auth *a = NULL;
    uint64_t first = 0;
    uint64_t second = 0;
    (void)state;
    c.token_file = dup_text(scratch_write(&dir, "token", "t", 0600));
    assert_int_equal(vmbi_kube_auth_new(&c, &a, NULL), VMB_OK);
    assert_login(a, "Bearer t", &first);
    assert_login(a, "Bearer t", &second);
    assert_true(first == second);
    assert_true(vmbi_kube_auth_refused(a, first));
    assert_login(a, "Bearer t", &second);
    assert_true(second > first);
    /* a late refusal of the old one does not throw the new one away */
    assert_true(vmbi_kube_auth_refused(a, first));
    uint64_t third = 0;
    assert_login(a, "Bearer t", &third);
    assert_true(third == second);
    vmbi_kube_auth_free(a);
    vmbi_kube_config_free(&c);
}

static void token_file_bad_is_named(void **state)
{
    vmbi_kube_config c = {.origin = dup_text("kubeconfig test")};
    vmbi_kube_auth *a = NULL;
    (void)state;
    c.token_file = dup_text(scratch_path(&dir, "token"));
    assert_int_equal(vmbi_kube_auth_new(&c, &a, NULL), VMB_OK);
    assert_no_login(a, VMB_E_NOT_FOUND, c.token_file);
    scratch_write(&dir, "token", " \n", 0600);
    assert_no_login(a, VMB_E_INVALID, "holds no token");
    scratch_write(&dir, "token", "good", 0600);
    assert_login(a, "Bearer good", NULL);
    vmbi_kube_auth_free(a);
    vmbi_kube_config_free(&c);
}

static void plugin_token_is_kept_until_refused(void **state)
{
    vmbi_kube_config c = plugin_config(
        "#!/bin/sh\nn=$(cat \"$0.n\" 2>/dev/null || echo 0); n=$((n+1)); echo $n > \"$0.n\"\n"
        "echo '{\"apiVersion\":\"" API "\",\"kind\":\"ExecCredential\",\"status\":{\"token\":"
        "\"t'$n'\"}}'\n");
    vmbi_kube_auth *a = NULL;
    uint64_t generation = 0;
    (void)state;
    assert_int_equal(vmbi_kube_auth_new(&c, &a, NULL), VMB_OK);
    assert_login(a, "Bearer t1", NULL);
    assert_login(a, "Bearer t1", &generation);
    assert_true(vmbi_kube_auth_refused(a, generation));
    assert_login(a, "Bearer t2", NULL);
    vmbi_kube_auth_free(a);
    vmbi_kube_config_free(&c);
}

static void plugin_token_is_renewed_when_it_expires(void **state)
{
    vmbi_kube_config c = plugin_config(
        "#!/bin/sh\nn=$(cat \"$0.n\" 2>/dev/null || echo 0); n=$((n+1)); echo $n > \"$0.n\"\n"
        "echo '{\"apiVersion\":\"" API "\",\"kind\":\"ExecCredential\",\"status\":{\"token\":"
        "\"t'$n'\",\"expirationTimestamp\":\"2020-01-01T00:00:00Z\"}}'\n");
    vmbi_kube_auth *a = NULL;
    (void)state;
    assert_int_equal(vmbi_kube_auth_new(&c, &a, NULL), VMB_OK);
    assert_login(a, "Bearer t1", NULL);
    assert_login(a, "Bearer t2", NULL);
    vmbi_kube_auth_free(a);
    vmbi_kube_config_free(&c);
}

static void plugin_gets_arguments_and_environment(void **state)
{
    vmbi_kube_config c = plugin_config(
        "#!/bin/sh\nread -r nothing\n"
        "case \"$KUBERNETES_EXEC_INFO\" in *'\"server\":\"https://h\"'*) s=ok;; *) s=no;; esac\n"
        "echo '{\"apiVersion\":\"" API "\",\"kind\":\"ExecCredential\",\"status\":{\"token\":"
        "\"'$1-$2-$VMB_A-$s-$nothing'\"}}'\n");
    vmbi_kube_auth *a = NULL;
    (void)state;
    c.plugin.provide_cluster = true;
    assert_int_equal(vmbi_strs_add(&c.plugin.args, "x", NULL), VMB_OK);
    assert_int_equal(vmbi_strs_add(&c.plugin.args, "y", NULL), VMB_OK);
    assert_int_equal(vmbi_strs_add(&c.plugin.env, "VMB_A=b", NULL), VMB_OK);
    assert_int_equal(vmbi_kube_auth_new(&c, &a, NULL), VMB_OK);
    assert_login(a, "Bearer x-y-b-ok-", NULL);
    vmbi_kube_auth_free(a);
    vmbi_kube_config_free(&c);
}

static void plugin_certificate_counts_its_generations(void **state)
{
    vmbi_kube_config c = plugin_config(
        "#!/bin/sh\necho '{\"apiVersion\":\"" API "\",\"kind\":\"ExecCredential\",\"status\":"
        "{\"clientCertificateData\":\"C\",\"clientKeyData\":\"K\"}}'\n");
    vmbi_kube_auth *a = NULL;
    vmbi_kube_login l = {0};
    (void)state;
    assert_int_equal(vmbi_kube_auth_new(&c, &a, NULL), VMB_OK);
    assert_int_equal(vmbi_kube_auth_get(a, NULL, &l, NULL), VMB_OK);
    assert_null(l.authorization);
    assert_string_equal(l.cert_pem, "C");
    assert_string_equal(l.key_pem, "K");
    uint64_t cert = l.cert_generation;
    assert_true(cert > 0);
    assert_true(vmbi_kube_auth_refused(a, l.generation));
    vmbi_kube_login_free(&l);
    assert_int_equal(vmbi_kube_auth_get(a, NULL, &l, NULL), VMB_OK);
    assert_true(l.generation > cert);
    assert_true(l.cert_generation == cert); /* the same certificate: connections may stay */
    vmbi_kube_login_free(&l);
    vmbi_kube_auth_free(a);
    vmbi_kube_config_free(&c);
}

static void plugin_failures_are_explained(void **state)
{
    static const struct {
        const char *script;
        vmb_code code;
        const char *says;
    } table[] = {
        {"#!/bin/sh\necho 'login expired' >&2\necho more >&2\nexit 3\n", VMB_E_DENIED,
         "failed with exit code 3: login expired"},
        {"#!/bin/sh\nkill -9 $$\n", VMB_E_DENIED, "was killed by signal 9"},
        {"#!/bin/sh\necho secret-token\n", VMB_E_PROTOCOL, "printed no valid JSON"},
        {"#!/bin/sh\necho '{\"kind\":\"Other\"}'\n", VMB_E_PROTOCOL, "printed no ExecCredential"},
        {"#!/bin/sh\necho '{\"kind\":\"ExecCredential\",\"apiVersion\":"
         "\"client.authentication.k8s.io/v1beta1\",\"status\":{\"token\":\"x\"}}'\n",
         VMB_E_PROTOCOL, "printed no ExecCredential of " API},
        {"#!/bin/sh\necho '{\"kind\":\"ExecCredential\",\"apiVersion\":\"" API "\"}'\n",
         VMB_E_PROTOCOL, "neither token nor client certificate"},
        {"#!/bin/sh\necho '{\"kind\":\"ExecCredential\",\"apiVersion\":\"" API
         "\",\"status\":{\"clientKeyData\":\"x\"}}'\n",
         VMB_E_PROTOCOL, "without certificate"},
        {"#!/bin/sh\necho '{\"kind\":\"ExecCredential\",\"apiVersion\":\"" API
         "\",\"status\":{\"token\":\"x\",\"expirationTimestamp\":\"soon\"}}'\n",
         VMB_E_PROTOCOL, "that is no time"},
        {"#!/nowhere/interpreter\n", VMB_E_NOT_FOUND, "/plugin"},
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        vmbi_kube_config c = plugin_config(table[i].script);
        vmbi_kube_credential got = {0};
        vmb_error *err = NULL;
        vmb_code rc = vmbi_kube_plugin_run(&c, NULL, &got, &err);
        if (rc != table[i].code || strstr(vmb_error_message(err), table[i].says) == NULL) {
            fail_msg("row %zu: %d \"%s\"", i, rc, vmb_error_message(err));
        }
        assert_non_null(strstr(vmb_error_message(err), "kubeconfig test: credential plugin "));
        assert_null(strstr(vmb_error_message(err), "secret-token"));
        vmb_error_free(err);
        vmbi_kube_config_free(&c);
    }
}

static void plugin_missing_gives_its_hint(void **state)
{
    vmbi_kube_config c = plugin_config("");
    vmbi_kube_credential got = {0};
    vmb_error *err = NULL;
    (void)state;
    vmbi_free(c.plugin.command);
    c.plugin.command = dup_text("vmb-no-such-plugin");
    c.plugin.install_hint = dup_text("get it at the shop");
    assert_int_equal(vmbi_kube_plugin_run(&c, NULL, &got, &err), VMB_E_NOT_FOUND);
    assert_non_null(strstr(vmb_error_message(err), "get it at the shop"));
    vmb_error_free(err);
    vmbi_kube_config_free(&c);
}

static void plugin_hanging_is_ended_at_the_deadline(void **state)
{
    /* the child of the plugin holds the pipe, too */
    vmbi_kube_config c = plugin_config("#!/bin/sh\nsleep 60 & sleep 60\n");
    vmbi_kube_credential got = {0};
    vmbi_limits soon = vmbi_limits_within(NULL, 150 * VMBI_MS);
    int64_t before = vmbi_mono_ns();
    (void)state;
    assert_int_equal(vmbi_kube_plugin_run(&c, &soon, &got, NULL), VMB_E_TIMEOUT);
    assert_true(vmbi_mono_ns() - before < 30 * VMBI_SECOND);
    vmbi_kube_config_free(&c);
}

static void plugin_child_left_behind_is_not_waited_for(void **state)
{
    vmbi_kube_config c = plugin_config(
        "#!/bin/sh\nsleep 40 &\necho '{\"apiVersion\":\"" API "\",\"kind\":\"ExecCredential\","
        "\"status\":{\"token\":\"t\"}}'\n");
    vmbi_kube_credential got = {0};
    int64_t before = vmbi_mono_ns();
    (void)state;
    assert_int_equal(vmbi_kube_plugin_run(&c, NULL, &got, NULL), VMB_OK);
    assert_true(vmbi_mono_ns() - before < 30 * VMBI_SECOND);
    assert_string_equal(got.token, "t");
    vmbi_kube_credential_free(&got);
    vmbi_kube_config_free(&c);
}

static void plugin_endless_output_is_bounded(void **state)
{
    vmbi_kube_config c = plugin_config("#!/bin/sh\nhead -c 8000000 /dev/zero | tr '\\0' x\n");
    vmbi_kube_credential got = {0};
    (void)state;
    assert_int_equal(vmbi_kube_plugin_run(&c, NULL, &got, NULL), VMB_E_PROTOCOL);
    vmbi_kube_config_free(&c);
}

/* One that never stops printing gives no pause in which to look at the clock. */
static void plugin_flood_is_ended_at_the_deadline(void **state)
{
    vmbi_kube_config c = plugin_config("#!/bin/sh\nyes & yes >&2 & yes\n");
    vmbi_kube_credential got = {0};
    vmbi_limits soon = vmbi_limits_within(NULL, 300 * VMBI_MS);
    (void)state;
    assert_int_equal(vmbi_kube_plugin_run(&c, &soon, &got, NULL), VMB_E_TIMEOUT);
    vmbi_kube_config_free(&c);
}

static void plugin_child_that_floods_is_not_waited_for(void **state)
{
    vmbi_kube_config c = plugin_config("#!/bin/sh\nyes & yes & exit 3\n");
    vmbi_kube_credential got = {0};
    (void)state;
    assert_int_equal(vmbi_kube_plugin_run(&c, NULL, &got, NULL), VMB_E_DENIED);
    vmbi_kube_config_free(&c);
}

static void *get_login(void *arg)
{
    vmbi_kube_login l = {0};
    bool good = vmbi_kube_auth_get(arg, NULL, &l, NULL) == VMB_OK &&
                strcmp(l.authorization, "Bearer t1") == 0;
    vmbi_kube_login_free(&l);
    return good ? arg : NULL;
}

static void plugin_many_threads_run_it_once(void **state)
{
    vmbi_kube_config c = plugin_config(
        "#!/bin/sh\nn=$(cat \"$0.n\" 2>/dev/null || echo 0); n=$((n+1)); echo $n > \"$0.n\"\n"
        "sleep 0.2; echo '{\"apiVersion\":\"" API "\",\"kind\":\"ExecCredential\",\"status\":"
        "{\"token\":\"t'$n'\"}}'\n");
    vmbi_kube_auth *a = NULL;
    pthread_t threads[8];
    int good = 0;
    (void)state;
    assert_int_equal(vmbi_kube_auth_new(&c, &a, NULL), VMB_OK);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, get_login, a), 0);
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(threads); i++) {
        void *result = NULL;
        (void)pthread_join(threads[i], &result);
        good += result != NULL;
    }
    assert_int_equal(good, VMBI_ARRAY_LEN(threads));
    vmbi_kube_auth_free(a);
    vmbi_kube_config_free(&c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(token_fixed_cannot_be_renewed),
        TEST(token_none_is_anonymous),
        TEST(token_file_is_read_again_when_it_changes),
        TEST(token_file_refused_is_read_again),
        TEST(token_file_bad_is_named),
        TEST(plugin_token_is_kept_until_refused),
        TEST(plugin_token_is_renewed_when_it_expires),
        TEST(plugin_gets_arguments_and_environment),
        TEST(plugin_certificate_counts_its_generations),
        TEST(plugin_failures_are_explained),
        TEST(plugin_missing_gives_its_hint),
        TEST(plugin_hanging_is_ended_at_the_deadline),
        TEST(plugin_child_left_behind_is_not_waited_for),
        TEST(plugin_endless_output_is_bounded),
        TEST(plugin_flood_is_ended_at_the_deadline),
        TEST(plugin_child_that_floods_is_not_waited_for),
        TEST(plugin_many_threads_run_it_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
