/* SPDX-License-Identifier: Apache-2.0 */
/* Kubeconfigs: what is taken, what is refused and in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/error.h"
#include "kube/kubeconfig.h"
#include "support.h"

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

#define HEAD "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
#define CONTEXT "contexts:\n- name: c\n  context: {cluster: k, user: u, namespace: ns}\n"
#define CLUSTER "clusters:\n- name: k\n  cluster: {server: \"https://h:6443\"}\n"
#define USER(fields) "users:\n- name: u\n  user: {" fields "}\n"

static vmb_code load(const char *text, const char *context, vmbi_kube_config *out, vmb_error **err)
{
    vmbi_kube_sources s = {.explicit_path = scratch_write(&dir, "config", text, 0600)};
    *out = (vmbi_kube_config){0};
    return vmbi_kube_config_load(&s, context, out, err);
}

static void load_ok(const char *text, vmbi_kube_config *out)
{
    vmb_error *err = NULL;
    if (load(text, NULL, out, &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
}

static void config_plain_is_read(void **state)
{
    vmbi_kube_config c;
    (void)state;
    load_ok(HEAD CONTEXT CLUSTER USER("token: abc"), &c);
    assert_string_equal(c.server, "https://h:6443");
    assert_string_equal(c.ns, "ns");
    assert_string_equal(c.token, "abc");
    assert_null(c.token_file);
    assert_null(c.ca_pem);
    assert_false(c.insecure);
    assert_non_null(strstr(c.origin, "/config, context \"c\""));
    vmbi_kube_config_free(&c);
}

static void config_all_cluster_fields_are_read(void **state)
{
    vmbi_kube_config c;
    (void)state;
    load_ok(HEAD CONTEXT "clusters:\n- name: k\n  cluster:\n"
                         "    server: https://10.0.0.1:443/k8s/c-1/\n"
                         "    certificate-authority-data: UEVNCg==\n"
                         "    tls-server-name: api.example\n"
                         "    proxy-url: http://proxy:3128\n"
                         "    disable-compression: true\n"
                         "    extensions:\n"
                         "    - name: client.authentication.k8s.io/exec\n"
                         "      extension: {audience: x}\n" USER(""),
            &c);
    assert_string_equal(c.server, "https://10.0.0.1:443/k8s/c-1");
    assert_int_equal(c.ca_len, 4);
    assert_string_equal(c.ca_pem, "PEM\n");
    assert_string_equal(c.tls_server_name, "api.example");
    assert_string_equal(c.proxy_url, "http://proxy:3128");
    assert_true(c.no_compression);
    assert_string_equal(c.plugin.cluster_config, "{\"audience\":\"x\"}");
    vmbi_kube_config_free(&c);
}

static void config_files_are_relative_to_the_kubeconfig(void **state)
{
    vmbi_kube_config c;
    (void)state;
    scratch_write(&dir, "ca.pem", "CA", 0600);
    scratch_write(&dir, "cert.pem", "CERT", 0600);
    scratch_write(&dir, "key.pem", "KEY", 0600);
    load_ok(HEAD CONTEXT
            "clusters:\n- name: k\n  cluster: {server: \"https://h\", certificate-authority: "
            "ca.pem}\n" USER("client-certificate: ./cert.pem, client-key: key.pem, "
                             "tokenFile: sub/token"),
            &c);
    assert_string_equal(c.ca_pem, "CA");
    assert_string_equal(c.cert_pem, "CERT");
    assert_string_equal(c.key_pem, "KEY");
    char want[200];
    assert_true(snprintf(want, sizeof(want), "%s/sub/token", dir.dir) > 0);
    assert_string_equal(c.token_file, want);
    vmbi_kube_config_free(&c);
}

static void config_data_wins_over_file(void **state)
{
    vmbi_kube_config c;
    (void)state;
    load_ok(HEAD CONTEXT CLUSTER USER("client-certificate: /nowhere, client-certificate-data: "
                                      "Q0VSVA==, client-key-data: S0VZ"),
            &c);
    assert_string_equal(c.cert_pem, "CERT");
    assert_string_equal(c.key_pem, "KEY");
    vmbi_kube_config_free(&c);
}

static void config_plugin_is_read(void **state)
{
    vmbi_kube_config c;
    (void)state;
    load_ok(HEAD CONTEXT CLUSTER "users:\n- name: u\n  user:\n    exec:\n"
                                 "      apiVersion: client.authentication.k8s.io/v1beta1\n"
                                 "      command: bin/get-token\n"
                                 "      args: [--a, 'b c']\n"
                                 "      env: [{name: A, value: '1'}, {name: B}]\n"
                                 "      installHint: install it\n"
                                 "      provideClusterInfo: true\n"
                                 "      interactiveMode: IfAvailable\n",
            &c);
    char want[200];
    assert_true(snprintf(want, sizeof(want), "%s/bin/get-token", dir.dir) > 0);
    assert_string_equal(c.plugin.command, want);
    assert_string_equal(c.plugin.api_version, "client.authentication.k8s.io/v1beta1");
    assert_int_equal(c.plugin.args.n, 2);
    assert_string_equal(c.plugin.args.v[1], "b c");
    assert_int_equal(c.plugin.env.n, 2);
    assert_string_equal(c.plugin.env.v[0], "A=1");
    assert_string_equal(c.plugin.env.v[1], "B=");
    assert_string_equal(c.plugin.install_hint, "install it");
    assert_true(c.plugin.provide_cluster);
    vmbi_kube_config_free(&c);
    load_ok(HEAD CONTEXT CLUSTER
            "users:\n- name: u\n  user: {exec: {command: aws, apiVersion: "
            "client.authentication.k8s.io/v1}}\n",
            &c);
    assert_string_equal(c.plugin.command, "aws"); /* without '/': PATH finds it */
    vmbi_kube_config_free(&c);
}

static void config_impersonation_is_read(void **state)
{
    vmbi_kube_config c;
    (void)state;
    load_ok(HEAD CONTEXT CLUSTER USER("token: t, as: bob, as-uid: '7', as-groups: [g1, g2]"), &c);
    assert_string_equal(c.as_user, "bob");
    assert_string_equal(c.as_uid, "7");
    assert_int_equal(c.as_groups.n, 2);
    vmbi_kube_config_free(&c);
}

static void config_server_forms(void **state)
{
    static const struct {
        const char *cluster, *server;
    } table[] = {
        {"server: 'http://127.0.0.1:8001/'", "http://127.0.0.1:8001"},
        {"server: '127.0.0.1:8080'", "http://127.0.0.1:8080"},
        {"server: 'h:6443', insecure-skip-tls-verify: true", "https://h:6443"},
        {"server: 'https://[::1]:6443'", "https://[::1]:6443"},
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        vmbi_kube_config c;
        char text[600];
        assert_true(snprintf(text, sizeof(text),
                             HEAD CONTEXT "clusters:\n- name: k\n  cluster: {%s}\n" USER(""),
                             table[i].cluster) > 0);
        load_ok(text, &c);
        assert_string_equal(c.server, table[i].server);
        vmbi_kube_config_free(&c);
    }
}

static void config_context_without_user_is_anonymous(void **state)
{
    vmbi_kube_config c;
    (void)state;
    load_ok("current-context: c\ncontexts:\n- name: c\n  context: {cluster: k}\n" CLUSTER, &c);
    assert_null(c.token);
    assert_string_equal(c.ns, "");
    vmbi_kube_config_free(&c);
}

static void config_json_is_taken(void **state)
{
    vmbi_kube_config c;
    (void)state;
    load_ok("{\"current-context\":\"c\",\"contexts\":[{\"name\":\"c\",\"context\":{\"cluster\":"
            "\"k\"}}],\"clusters\":[{\"name\":\"k\",\"cluster\":{\"server\":\"http://h\"}}]}",
            &c);
    assert_string_equal(c.server, "http://h");
    vmbi_kube_config_free(&c);
}

static void config_bad_is_refused_with_reason(void **state)
{
    static const struct {
        const char *text;
        vmb_code code;
        const char *says;
    } table[] = {
        {"[]", VMB_E_INVALID, "must be a mapping, not array"},
        {"just text", VMB_E_INVALID, "must be a mapping, not string"},
        {"a: [", VMB_E_PARSE, "/config"},
        {"kind: Pod\napiVersion: v1\n", VMB_E_INVALID, "is a Pod of v1, not a Config of v1"},
        {"apiVersion: v1\nkind: Config\n", VMB_E_INVALID, "current-context is not set"},
        {"", VMB_E_INVALID, "current-context is not set"},
        {"current-context: 5\n", VMB_E_INVALID, "current-context: must be a string, not integer"},
        {"current-context: c\ncontexts: {}\n", VMB_E_INVALID, "contexts: must be a list"},
        {"current-context: c\ncontexts: [{context: {}}]\n", VMB_E_INVALID, "contexts[0]: no name"},
        {"current-context: c\nusers: [{name: a}, {name: a}]\n", VMB_E_INVALID,
         "users: \"a\" stands twice"},
        {"current-context: x\n" CONTEXT, VMB_E_NOT_FOUND, "no context \"x\"; known: c"},
        {"current-context: x\n", VMB_E_NOT_FOUND, "no context \"x\"; there are none"},
        {HEAD "contexts: [{name: c, context: {user: u}}]\n", VMB_E_INVALID,
         "context \"c\": cluster: is missing"},
        {HEAD CONTEXT USER(""), VMB_E_NOT_FOUND, "context \"c\": kubeconfig"},
        {HEAD CONTEXT CLUSTER, VMB_E_NOT_FOUND, "no user \"u\""},
        {HEAD CONTEXT "clusters: [{name: k, cluster: 5}]\n", VMB_E_INVALID,
         "cluster \"k\": must be a mapping"},
        {HEAD CONTEXT "clusters: [{name: k, cluster: {}}]\n" USER(""), VMB_E_INVALID,
         "cluster \"k\": server: is missing"},
        {HEAD CONTEXT "clusters: [{name: k, cluster: {server: 5}}]\n" USER(""), VMB_E_INVALID,
         "cluster \"k\": server: must be a string"},
        {HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'ftp://h'}}]\n" USER(""),
         VMB_E_INVALID, "server: must be an http or https url"},
        {HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://'}}]\n" USER(""),
         VMB_E_INVALID, "server: has no host"},
        {HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://me:pw@h'}}]\n" USER(""),
         VMB_E_INVALID, "holds a character that has no place here"},
        {HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://h', "
                      "insecure-skip-tls-verify: true, certificate-authority-data: QQ==}}]\n"
                      USER(""),
         VMB_E_INVALID, "contradicts the certificate authority"},
        {HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://h', "
                      "insecure-skip-tls-verify: yesplease}}]\n" USER(""),
         VMB_E_INVALID, "insecure-skip-tls-verify: must be true or false"},
        {HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://h', "
                      "certificate-authority-data: '!!'}}]\n" USER(""),
         VMB_E_INVALID, "certificate-authority-data: is not base64"},
        {HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://h', "
                      "certificate-authority: missing.pem}}]\n" USER(""),
         VMB_E_NOT_FOUND, "certificate-authority: open file"},
        {HEAD CONTEXT CLUSTER USER("username: admin, password: secret-pw"), VMB_E_INVALID,
         "basic authentication is not supported"},
        {HEAD CONTEXT CLUSTER USER("auth-provider: {name: gcp}"), VMB_E_INVALID,
         "auth-provider: is not supported"},
        {HEAD CONTEXT CLUSTER USER("client-key-data: S0VZ"), VMB_E_INVALID,
         "client-certificate: is missing"},
        {HEAD CONTEXT CLUSTER USER("client-certificate-data: S0VZ"), VMB_E_INVALID,
         "client-key: is missing"},
        {HEAD CONTEXT CLUSTER USER("exec: {apiVersion: client.authentication.k8s.io/v1}"),
         VMB_E_INVALID, "exec of user \"u\": command: is missing"},
        {HEAD CONTEXT CLUSTER USER("exec: {command: x}"), VMB_E_INVALID,
         "exec of user \"u\": apiVersion: is missing"},
        {HEAD CONTEXT CLUSTER USER("exec: {command: x, apiVersion: "
                                   "client.authentication.k8s.io/v1alpha1}"),
         VMB_E_INVALID, "apiVersion: must be client.authentication.k8s.io/v1"},
        {HEAD CONTEXT CLUSTER USER("exec: {command: x, interactiveMode: Always, apiVersion: "
                                   "client.authentication.k8s.io/v1}"),
         VMB_E_INVALID, "interactiveMode: Always needs a terminal"},
        {HEAD CONTEXT CLUSTER USER("exec: {command: x, args: [1], apiVersion: "
                                   "client.authentication.k8s.io/v1}"),
         VMB_E_INVALID, "args: must be strings"},
        {HEAD CONTEXT CLUSTER USER("token: t, as-groups: [g]"), VMB_E_INVALID, "as: is missing"},
        {HEAD CONTEXT CLUSTER USER("token: t, as: b, as-user-extra: {a: [b]}"), VMB_E_INVALID,
         "as-user-extra: is not supported"},
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        vmbi_kube_config c;
        vmb_error *err = NULL;
        vmb_code rc = load(table[i].text, NULL, &c, &err);
        if (rc != table[i].code || strstr(vmb_error_message(err), table[i].says) == NULL) {
            fail_msg("row %zu: %d \"%s\" instead of %d \"%s\"", i, rc, vmb_error_message(err),
                     table[i].code, table[i].says);
        }
        assert_non_null(strstr(vmb_error_message(err), "/config"));
        assert_null(strstr(vmb_error_message(err), "secret-pw"));
        assert_null(c.server);
        vmb_error_free(err);
    }
}

static void config_asked_context_wins(void **state)
{
    vmbi_kube_config c;
    (void)state;
    assert_int_equal(load("current-context: none\n" CONTEXT CLUSTER USER("token: t"), "c", &c,
                          NULL),
                     VMB_OK);
    vmbi_kube_config_free(&c);
}

static void sources_missing_explicit_file_is_named(void **state)
{
    vmbi_kube_sources s = {.explicit_path = "/nowhere/kubeconfig", .home = dir.dir};
    vmbi_kube_config c;
    vmb_error *err = NULL;
    (void)state;
    assert_int_equal(vmbi_kube_config_load(&s, NULL, &c, &err), VMB_E_NOT_FOUND);
    assert_non_null(strstr(vmb_error_message(err), "/nowhere/kubeconfig"));
    vmb_error_free(err);
}

static void sources_list_first_file_wins_whole_entries(void **state)
{
    vmbi_kube_config c;
    char list[600];
    (void)state;
    const char *a = scratch_write(&dir, "a", "clusters: [{name: k, cluster: {server: 'http://a'}}]\n"
                                             "users: [{name: u, user: {token: from-a}}]\n",
                                  0600);
    const char *b = scratch_write(
        &dir, "b",
        HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'http://b', tls-server-name: b}}]\n"
                     "users: [{name: u, user: {token: from-b, as: b}}]\n",
        0600);
    assert_true(snprintf(list, sizeof(list), "/nowhere/x::%s:%s:", a, b) > 0);
    vmbi_kube_sources s = {.list = list, .home = "/nowhere"};
    assert_int_equal(vmbi_kube_config_load(&s, NULL, &c, NULL), VMB_OK);
    assert_string_equal(c.server, "http://a");
    assert_null(c.tls_server_name);
    assert_string_equal(c.token, "from-a");
    assert_null(c.as_user);
    vmbi_kube_config_free(&c);
}

static void sources_nothing_anywhere_is_explained(void **state)
{
    vmbi_kube_sources s = {.home = "/nowhere"};
    vmbi_kube_config c;
    vmb_error *err = NULL;
    (void)state;
    assert_int_equal(vmbi_kube_config_load(&s, NULL, &c, &err), VMB_E_NOT_FOUND);
    assert_non_null(strstr(vmb_error_message(err), "/nowhere/.kube/config does not exist"));
    vmb_error_free(err);
    err = NULL;
    s.list = "/nowhere/a:/nowhere/b";
    assert_int_equal(vmbi_kube_config_load(&s, NULL, &c, &err), VMB_E_NOT_FOUND);
    assert_non_null(strstr(vmb_error_message(err), "/nowhere/a:/nowhere/b"));
    vmb_error_free(err);
}

static void in_cluster_service_account_is_used(void **state)
{
    vmbi_kube_config c;
    (void)state;
    scratch_write(&dir, "token", "tok", 0600);
    scratch_write(&dir, "ca.crt", "CA", 0600);
    scratch_write(&dir, "namespace", "velero\n", 0600);
    vmbi_kube_sources s = {.home = "/nowhere",
                           .service_host = "fd00::1",
                           .service_port = "443",
                           .service_dir = dir.dir};
    assert_int_equal(vmbi_kube_config_load(&s, NULL, &c, NULL), VMB_OK);
    assert_string_equal(c.server, "https://[fd00::1]:443");
    assert_string_equal(c.ns, "velero");
    assert_string_equal(c.ca_pem, "CA");
    assert_non_null(c.token_file);
    assert_null(c.token);
    vmbi_kube_config_free(&c);
    /* an empty file does not stand in the way, and a context cannot be had here */
    s.list = scratch_write(&dir, "empty", "", 0600);
    assert_int_equal(vmbi_kube_config_load(&s, NULL, &c, NULL), VMB_OK);
    vmbi_kube_config_free(&c);
    s.list = NULL;
    assert_int_equal(vmbi_kube_config_load(&s, "prod", &c, NULL), VMB_E_NOT_FOUND);
}

static void in_cluster_without_token_is_explained(void **state)
{
    vmbi_kube_config c;
    vmb_error *err = NULL;
    (void)state;
    vmbi_kube_sources s = {.service_host = "10.0.0.1",
                           .service_port = "443",
                           .service_dir = "/nowhere"};
    assert_int_equal(vmbi_kube_config_load(&s, NULL, &c, &err), VMB_E_NOT_FOUND);
    assert_non_null(strstr(vmb_error_message(err), "no token file /nowhere/token"));
    vmb_error_free(err);
}

static void config_every_failed_allocation_is_survived(void **state)
{
    static const char text[] = HEAD CONTEXT CLUSTER
        "users:\n- name: u\n  user: {token: t, as: b, as-groups: [g], exec: {command: x/y, args: "
        "[a], env: [{name: A, value: b}], apiVersion: client.authentication.k8s.io/v1}}\n";
    vmbi_kube_sources s = {.explicit_path = scratch_write(&dir, "config", text, 0600)};
    vmb_code rc = VMB_E_NOMEM;
    (void)state;
    for (uint64_t n = 1; rc != VMB_OK && n < 2000; n++) {
        vmbi_kube_config c = {0};
        vmbi_alloc_fail_from(n);
        rc = vmbi_kube_config_load(&s, NULL, &c, NULL);
        vmbi_alloc_fail_from(0);
        if (rc == VMB_OK) {
            vmbi_kube_config_free(&c);
        } else {
            assert_int_equal(rc, VMB_E_NOMEM);
        }
    }
    assert_int_equal(rc, VMB_OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(config_plain_is_read),
        TEST(config_all_cluster_fields_are_read),
        TEST(config_files_are_relative_to_the_kubeconfig),
        TEST(config_data_wins_over_file),
        TEST(config_plugin_is_read),
        TEST(config_impersonation_is_read),
        TEST(config_server_forms),
        TEST(config_context_without_user_is_anonymous),
        TEST(config_json_is_taken),
        TEST(config_bad_is_refused_with_reason),
        TEST(config_asked_context_wins),
        TEST(sources_missing_explicit_file_is_named),
        TEST(sources_list_first_file_wins_whole_entries),
        TEST(sources_nothing_anywhere_is_explained),
        TEST(in_cluster_service_account_is_used),
        TEST(in_cluster_without_token_is_explained),
        TEST(config_every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
