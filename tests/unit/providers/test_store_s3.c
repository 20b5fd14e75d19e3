/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the S3 store that need no server: settings, credentials, XML, sizes of parts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "providers/builtin.h"
#include "providers/store_s3/checksum.h"
#include "providers/store_s3/config.h"
#include "providers/store_s3/credentials.h"
#include "providers/store_s3/put.h"
#include "providers/store_s3/xml.h"

/* ---- credentials ----------------------------------------------------------------------------- */

static void parse(const char *text, const char *profile, const char *access, const char *secret,
                  const char *token)
{
    vmbi_s3_credentials c;
    vmb_error *err = NULL;

    memset(&c, 0, sizeof(c));
    if (vmbi_s3_credentials_parse(text, strlen(text), profile, &c, &err) != VMB_OK) {
        print_error("%s\n", vmb_error_message(err));
        fail();
    }
    assert_string_equal(c.access_key, access);
    assert_string_equal(c.secret_key, secret);
    assert_true(vmbi_streq(c.session_token, token));
    vmbi_s3_credentials_free(&c);
}

static void refuse(const char *text, const char *profile, vmb_code code, const char *words)
{
    vmbi_s3_credentials c;
    vmb_error *err = NULL;

    assert_int_equal(vmbi_s3_credentials_parse(text, strlen(text), profile, &c, &err), code);
    if (!strstr(vmb_error_message(err), words)) {
        print_error("\"%s\" is not in: %s\n", words, vmb_error_message(err));
        fail();
    }
    assert_null(strstr(vmb_error_message(err), "S3CRET"));
    vmb_error_free(err);
}

static void credentials_usual_file_is_read(void **state)
{
    (void)state;
    parse("[default]\naws_access_key_id=AK\naws_secret_access_key=SK\n", "default", "AK", "SK",
          NULL);
    parse("[default]\naws_access_key_id = AK\naws_secret_access_key = a/b+c=\n"
          "aws_session_token = t==\n",
          "default", "AK", "a/b+c=", "t==");
}

static void credentials_of_editors_and_windows_are_read(void **state)
{
    (void)state;
    parse("\xef\xbb\xbf[default]\r\naws_access_key_id=AK\r\naws_secret_access_key=\"SK\"\r\n",
          "default", "AK", "SK", NULL);
    parse("# top\n; too\n\n  [ default ]  # one\n\tAWS_Access_Key_ID='AK' # why\n"
          " aws_secret_access_key = SK#1 ; not part of it",
          "default", "AK", "SK#1", NULL);
}

static void credentials_profile_is_chosen(void **state)
{
    const char *text = "[default]\naws_access_key_id=A\naws_secret_access_key=B\n"
                       "[profile x]\naws_access_key_id=C\naws_secret_access_key=D\n"
                       "[other]\naws_access_key_id=E\naws_secret_access_key=F\ns3 =\n"
                       "  aws_access_key_id = nested\n";

    (void)state;
    parse(text, "default", "A", "B", NULL);
    parse(text, "x", "C", "D", NULL);
    parse(text, "other", "E", "F", NULL);
    refuse(text, "Other", VMB_E_NOT_FOUND, "no profile \"Other\"");
}

static void credentials_that_are_wrong_say_why(void **state)
{
    (void)state;
    refuse("", "default", VMB_E_NOT_FOUND, "no profile");
    refuse("aws_access_key_id=AK\n", "default", VMB_E_PARSE, "line 1");
    refuse("[default]\naws_secret_access_key=S3CRET\n", "default", VMB_E_INVALID,
           "aws_access_key_id");
    refuse("[default]\naws_access_key_id=AK\naws_secret_access_key=\n", "default", VMB_E_INVALID,
           "aws_secret_access_key");
    refuse("[default\n", "default", VMB_E_PARSE, "\"]\" is missing");
    refuse("[default]\nS3CRET\n", "default", VMB_E_PARSE, "line 2");
    refuse("[default]\nrole_arn=arn:x\nsource_profile=b\n", "default", VMB_E_UNSUPPORTED,
           "role_arn");
}

static void credentials_web_identity_needs_no_keys(void **state)
{
    const char text[] = "[default]\nrole_arn = arn:aws:iam::1:role/x\n"
                        "web_identity_token_file = /var/run/token\n";
    vmbi_s3_credentials c;

    (void)state;
    assert_int_equal(vmbi_s3_credentials_parse(text, strlen(text), "default", &c, NULL), VMB_OK);
    assert_null(c.access_key);
    assert_string_equal(c.role_arn, "arn:aws:iam::1:role/x");
    assert_string_equal(c.token_file, "/var/run/token");
    vmbi_s3_credentials_free(&c);
}

/* ---- settings -------------------------------------------------------------------------------- */

static vmb_code config(const char *text, vmbi_s3_config *c, vmb_error **err)
{
    vmbi_json *settings = NULL;
    vmb_code code = vmbi_json_parse(text, strlen(text), "settings", &settings, err);

    if (code == VMB_OK) {
        code = vmbi_s3_config_parse(settings, c, err);
    }
    vmbi_json_free(settings);
    return code;
}

static void expect_config_error(const char *text, vmb_code code, const char *words)
{
    vmbi_s3_config c;
    vmb_error *err = NULL;

    assert_int_equal(config(text, &c, &err), code);
    if (!strstr(vmb_error_message(err), words)) {
        print_error("\"%s\" is not in: %s\n", words, vmb_error_message(err));
        fail();
    }
    vmb_error_free(err);
}

static void config_unknown_keys_are_refused_with_the_known(void **state)
{
    (void)state;
    expect_config_error("{\"bucket\":\"b\",\"config\":{\"public_url\":\"x\"}}", VMB_E_ARG,
                        "publicUrl");
    expect_config_error("{\"bucket\":\"b\",\"buket\":1}", VMB_E_ARG, "unknown setting");
    expect_config_error("{\"bucket\":\"b\",\"config\":{\"region\":5}}", VMB_E_ARG, "string");
    expect_config_error("{\"config\":{}}", VMB_E_ARG, "bucket is missing");
    expect_config_error("{\"bucket\":\"a/b\"}", VMB_E_ARG, "not a bucket name");
    expect_config_error("{\"bucket\":\"arn:aws:s3:x\"}", VMB_E_UNSUPPORTED, "ARN");
    expect_config_error("{\"bucket\":\"b\",\"config\":{\"s3ForcePathStyle\":\"yes\"}}", VMB_E_ARG,
                        "true or false");
    expect_config_error("{\"bucket\":\"b\",\"config\":{\"s3Url\":\"minio:9000\"}}", VMB_E_ARG,
                        "http://");
    expect_config_error("{\"bucket\":\"b\",\"config\":{\"s3Url\":\"http://u:p@h/\"}}", VMB_E_ARG,
                        "plain URL");
    expect_config_error("{\"bucket\":\"b\",\"config\":{\"checksumAlgorithm\":\"MD5\"}}", VMB_E_ARG,
                        "CRC32C");
    expect_config_error("{\"bucket\":\"b\",\"config\":{\"kmsKeyId\":\"k\","
                        "\"customerKeyEncryptionFile\":\"/f\"}}",
                        VMB_E_ARG, "at most one");
    expect_config_error("{\"bucket\":\"b\",\"partSize\":1000}", VMB_E_ARG, "partSize");
    expect_config_error("{\"bucket\":\"b\",\"caCert\":\"bm8gcGVt\"}", VMB_E_ARG, "caCert");
}

static void expect_address(const char *config_json, const char *endpoint, const char *base_path,
                           bool path_style)
{
    char text[512];
    vmbi_s3_config c;

    snprintf(text, sizeof(text), "{\"bucket\":\"my-bucket\",\"config\":%s}", config_json);
    assert_int_equal(config(text, &c, NULL), VMB_OK);
    assert_true(vmbi_streq(c.endpoint, endpoint));
    assert_string_equal(c.base_path, base_path);
    assert_int_equal(c.path_style, path_style);
    vmbi_s3_config_free(&c);
}

static void config_addresses_are_taken_apart(void **state)
{
    (void)state;
    expect_address("{}", NULL, "", false);
    expect_address("{\"s3ForcePathStyle\":\"true\"}", NULL, "", true);
    expect_address("{\"s3Url\":\"https://h:443/\"}", "https://h", "", true);
    expect_address("{\"s3Url\":\"https://h:8443\"}", "https://h:8443", "", true);
    expect_address("{\"s3Url\":\"http://h:80\"}", "http://h", "", true);
    expect_address("{\"s3Url\":\"http://h:443/s3/\"}", "http://h:443", "/s3", true);
    expect_address("{\"s3Url\":\"http://s3.x\",\"s3ForcePathStyle\":\"false\"}", "http://s3.x", "",
                   false);
    expect_address("{\"s3Url\":\"http://10.0.0.1:9000\",\"s3ForcePathStyle\":\"0\"}",
                   "http://10.0.0.1:9000", "", true);
}

static void config_dotted_bucket_under_tls_is_addressed_by_path(void **state)
{
    vmbi_s3_config c;

    (void)state;
    assert_int_equal(config("{\"bucket\":\"a.b\"}", &c, NULL), VMB_OK);
    assert_true(c.path_style);
    vmbi_s3_config_free(&c);
}

static void config_kms_key_sets_the_algorithm(void **state)
{
    vmbi_s3_config c;

    (void)state;
    assert_int_equal(config("{\"bucket\":\"b\",\"config\":{\"kmsKeyId\":\"k\","
                            "\"serverSideEncryption\":\"AES256\"}}",
                            &c, NULL),
                     VMB_OK);
    assert_string_equal(c.sse, "aws:kms");
    vmbi_s3_config_free(&c);
}

static void config_customer_key_must_have_32_bytes(void **state)
{
    char path[] = "/tmp/vmbackup-key-XXXXXX";
    const int fd = mkstemp(path);
    char text[256];
    vmbi_s3_config c;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "0123456789abcdef0123456789abcdef", 32), 32);
    snprintf(text, sizeof(text),
             "{\"bucket\":\"b\",\"config\":{\"customerKeyEncryptionFile\":\"%s\"}}", path);
    assert_int_equal(config(text, &c, NULL), VMB_OK);
    assert_string_equal(c.sse_c_key, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    vmbi_s3_config_free(&c);
    assert_int_equal(write(fd, "\n", 1), 1);
    expect_config_error(text, VMB_E_ARG, "exactly 32 bytes");
    close(fd);
    unlink(path);
}

static void store_with_url_and_no_region_is_refused(void **state)
{
    const char text[] = "{\"bucket\":\"b\",\"config\":{\"s3Url\":\"http://h\"},\"credentials\":"
                        "\"[default]\\naws_access_key_id=a\\naws_secret_access_key=b\\n\"}";
    vmbi_json *settings = NULL;
    vmb_store_provider p;
    vmb_error *err = NULL;

    (void)state;
    memset(&p, 0, sizeof(p));
    assert_int_equal(vmbi_json_parse(text, strlen(text), "settings", &settings, NULL), VMB_OK);
    assert_int_equal(vmbi_store_s3_new(settings, &p, &err), VMB_E_ARG);
    assert_non_null(strstr(vmb_error_message(err), "region"));
    assert_null(p.user);
    vmb_error_free(err);
    vmbi_json_free(settings);
}

static void store_new_without_memory_fails_cleanly(void **state)
{
    const char text[] = "{\"bucket\":\"b\",\"config\":{\"s3Url\":\"http://h\",\"region\":\"r\","
                        "\"tagging\":\"a=b&c=d\"},\"credentials\":"
                        "\"[default]\\naws_access_key_id=a\\naws_secret_access_key=b\\n\"}";
    vmbi_json *settings = NULL;
    vmb_store_provider p;
    vmb_code code = VMB_E_NOMEM;
    uint64_t n = 0;

    (void)state;
    assert_int_equal(vmbi_json_parse(text, strlen(text), "settings", &settings, NULL), VMB_OK);
    for (n = 1; n < 200 && code != VMB_OK; n++) {
        memset(&p, 0, sizeof(p));
        vmbi_alloc_fail_from(n);
        code = vmbi_store_s3_new(settings, &p, NULL);
        vmbi_alloc_fail_from(0);
        assert_true(code == VMB_OK || code == VMB_E_NOMEM);
        assert_true((p.user != NULL) == (code == VMB_OK));
    }
    assert_int_equal(code, VMB_OK);
    assert_true(n > 5);
    p.destroy(p.user);
    vmbi_json_free(settings);
}

/* ---- checksums, XML, parts ------------------------------------------------------------------- */

static void checksums_of_the_check_string_match(void **state)
{
    static const struct {
        vmbi_s3_checksum kind;
        const char *expected;
    } known[] = {{VMBI_S3_CHECKSUM_NONE, ""},
                 {VMBI_S3_CHECKSUM_CRC32, "y/Q5Jg=="},
                 {VMBI_S3_CHECKSUM_CRC32C, "4waSgw=="},
                 {VMBI_S3_CHECKSUM_CRC64NVME, "rosUhgp5mIg="},
                 {VMBI_S3_CHECKSUM_SHA1, "98O8HYCOBHMq32eZZczDTKeuNEE="},
                 {VMBI_S3_CHECKSUM_SHA256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="}};
    size_t i = 0;

    (void)state;
    for (i = 0; i < VMBI_ARRAY_LEN(known); i++) {
        char out[VMBI_S3_CHECKSUM_SIZE];
        vmbi_s3_checksum again = VMBI_S3_CHECKSUM_NONE;

        vmbi_s3_checksum_of(known[i].kind, "123456789", 9, out);
        assert_string_equal(out, known[i].expected);
        assert_true(vmbi_s3_checksum_parse(vmbi_s3_checksum_name(known[i].kind), &again));
        assert_int_equal(again, known[i].kind);
    }
}

static bool xml_text(const char *xml, const char *path, const char *expected)
{
    char out[64];

    return vmbi_s3_xml_text(xml, strlen(xml), path, out, sizeof(out)) && strcmp(out, expected) == 0;
}

static void xml_text_is_found_by_path(void **state)
{
    const char *xml = "\n <?xml version=\"1.0\"?><!-- c --><E xmlns=\"u\"><A>no</A><B><A> a&amp;b "
                      "</A><C/></B><D><![CDATA[<x>]]></D></E>";
    char root[8];

    (void)state;
    assert_true(xml_text(xml, "E/B/A", "a&b"));
    assert_true(xml_text(xml, "E/A", "no"));
    assert_true(xml_text(xml, "E/B/C", ""));
    assert_true(xml_text(xml, "E/D", "<x>"));
    assert_false(xml_text(xml, "E/X", ""));
    assert_true(vmbi_s3_xml_root(xml, strlen(xml), root, sizeof(root)));
    assert_string_equal(root, "E");
}

static void xml_that_is_dangerous_or_broken_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "plain",
        "<A>",
        "<A></B>",
        "<html><br></html>",
        "<!DOCTYPE A [<!ENTITY x \"y\">]><A>&x;</A>",
        "<!DOCTYPE A SYSTEM \"file:///etc/passwd\"><A/>",
        "<A>&#x01;</A>",
        ("<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></a></a>"
         "</a></a></a></a></a></a></a></a>"),
    };
    char root[8];
    size_t i = 0;

    (void)state;
    for (i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        assert_false(vmbi_s3_xml_root(bad[i], strlen(bad[i]), root, sizeof(root)));
    }
}

#define MIB (INT64_C(1) << 20)
#define TIB (INT64_C(1) << 40)

/* A thousand parts of 5 GiB could not hold 5 TiB at all. */
static void parts_of_an_unknown_size_hold_five_tebibytes(void **state)
{
    static const int most[] = {10000, 1000};
    static const int64_t held[] = {5 * TIB, 3 * TIB / 2};
    size_t i = 0;

    (void)state;
    for (i = 0; i < VMBI_ARRAY_LEN(most); i++) {
        int64_t total = 0;
        int64_t size = 0;
        int n = 0;

        while (total < held[i]) {
            const int64_t next = vmbi_s3_part_size(8 * MIB, total, most[i]);

            assert_true(next >= size && next >= 8 * MIB && next <= 5 * 1024 * MIB);
            assert_int_equal(next % MIB, 0);
            size = next;
            total += size;
            n++;
        }
        assert_true(n <= most[i]);
    }
    assert_int_equal(vmbi_s3_part_size(8 * MIB, 8000 * MIB, 10000), 8 * MIB);
}

static void parts_of_a_known_size_are_equal_and_few_enough(void **state)
{
    static const int64_t sizes[] = {-1, 0, 1, 8 * MIB, 100 * 1024 * MIB, 5 * TIB};
    size_t i = 0;

    (void)state;
    for (i = 0; i < VMBI_ARRAY_LEN(sizes); i++) {
        const int64_t base = vmbi_s3_part_base(8 * MIB, sizes[i], 10000);

        assert_true(base >= 8 * MIB && base * 10000 >= sizes[i]);
        assert_int_equal(base % MIB, 0);
    }
    assert_int_equal(vmbi_s3_part_base(8 * MIB, 8 * MIB, 10000), 8 * MIB);
    assert_true(vmbi_s3_part_base(8 * MIB, 9 * 1024 * MIB, 1000) > 8 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(credentials_usual_file_is_read),
        cmocka_unit_test(credentials_of_editors_and_windows_are_read),
        cmocka_unit_test(credentials_profile_is_chosen),
        cmocka_unit_test(credentials_that_are_wrong_say_why),
        cmocka_unit_test(credentials_web_identity_needs_no_keys),
        cmocka_unit_test(config_unknown_keys_are_refused_with_the_known),
        cmocka_unit_test(config_addresses_are_taken_apart),
        cmocka_unit_test(config_dotted_bucket_under_tls_is_addressed_by_path),
        cmocka_unit_test(config_kms_key_sets_the_algorithm),
        cmocka_unit_test(config_customer_key_must_have_32_bytes),
        cmocka_unit_test(store_with_url_and_no_region_is_refused),
        cmocka_unit_test(store_new_without_memory_fails_cleanly),
        cmocka_unit_test(checksums_of_the_check_string_match),
        cmocka_unit_test(xml_text_is_found_by_path),
        cmocka_unit_test(xml_that_is_dangerous_or_broken_is_refused),
        cmocka_unit_test(parts_of_an_unknown_size_hold_five_tebibytes),
        cmocka_unit_test(parts_of_a_known_size_are_equal_and_few_enough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
