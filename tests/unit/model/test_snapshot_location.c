/* SPDX-License-Identifier: Apache-2.0 */
/* Which VolumeSnapshotLocations a backup has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/json.h"
#include "model/snapshot_location.h"

#define AWS1 "{\"metadata\":{\"name\":\"east\"},\"spec\":{\"provider\":\"aws\"}}"
#define AWS2 "{\"metadata\":{\"name\":\"west\"},\"spec\":{\"provider\":\"aws\"}}"
#define GCP "{\"metadata\":{\"name\":\"gcp\"},\"spec\":{\"provider\":\"velero.io/gcp\"}}"

static vmbi_json *parse(const char *text)
{
    vmbi_json *v = NULL;
    assert_int_equal(vmbi_json_parse(text, strlen(text), "test", &v, NULL), VMB_OK);
    return v;
}

/* The names of the chosen ones with blanks, or the first problem's message. */
static void choose(const char *all, const char *wanted, const char *defaults, const char *expected,
                   size_t errors)
{
    vmbi_json *a = parse(all);
    vmbi_json *w = wanted != NULL ? parse(wanted) : NULL;
    vmbi_json *chosen = NULL;
    vmbi_problems problems = {0};
    char text[512] = "";
    assert_int_equal(vmbi_snapshot_locations_choose(a, w, defaults, &chosen, &problems, NULL),
                     VMB_OK);
    assert_int_equal(problems.errors, errors);
    for (size_t i = 0; i < vmbi_json_len(chosen) && errors == 0; i++) {
        size_t n = strlen(text);
        (void)snprintf(text + n, sizeof(text) - n, "%s%s", i > 0 ? " " : "",
                       vmbi_json_path_str(vmbi_json_at(chosen, i), "metadata.name"));
    }
    assert_string_equal(errors > 0 ? problems.v[0].message : text, expected);
    vmbi_problems_free(&problems);
    vmbi_json_free(chosen);
    vmbi_json_free(a);
    vmbi_json_free(w);
}

static void locations_none_named_only_one_of_a_provider_is_taken(void **state)
{
    (void)state;
    choose("[]", NULL, "", "", 0);
    choose("[" AWS1 "," GCP "]", NULL, "", "east gcp", 0);
    choose("[" AWS1 "," GCP "]", "[]", "", "east gcp", 0);
}

static void locations_named_are_taken_and_other_providers_defaulted(void **state)
{
    (void)state;
    choose("[" AWS1 "," AWS2 "," GCP "]", "[\"west\"]", "", "west gcp", 0);
    choose("[" AWS1 "," AWS2 "," GCP "]", "[\"west\",\"west\"]", "aws:east", "west gcp", 0);
}

static void locations_unknown_or_two_of_a_provider_are_refused(void **state)
{
    (void)state;
    choose("[" AWS1 "]", "[\"nowhere\"]", "", "there is no VolumeSnapshotLocation \"nowhere\"", 1);
    choose("[]", "[\"default\"]", "", "there is no VolumeSnapshotLocation \"default\"", 1);
    choose("[" AWS1 "," AWS2 "]", "[\"east\",\"west\"]", "",
           "east and west are both of provider aws", 1);
}

static void locations_several_of_a_provider_need_a_default(void **state)
{
    (void)state;
    const char *several = "provider aws has several volume snapshot locations, and neither the "
                          "backup nor a default names one";
    choose("[" AWS1 "," AWS2 "]", NULL, "", several, 1);
    choose("[" AWS1 "," AWS2 "]", NULL, "gcp:x", several, 1);
    choose("[" AWS1 "," AWS2 "]", NULL, "aws:nowhere", several, 1);
    choose("[" AWS1 "," AWS2 "]", NULL, "gcp:x,aws:west", "west", 0);
}

static void defaults_are_pairs(void **state)
{
    (void)state;
    assert_true(vmbi_snapshot_defaults_ok(""));
    assert_true(vmbi_snapshot_defaults_ok("aws:a,velero.io/gcp:b"));
    assert_false(vmbi_snapshot_defaults_ok("aws"));
    assert_false(vmbi_snapshot_defaults_ok("aws:"));
    assert_false(vmbi_snapshot_defaults_ok(":a"));
    assert_false(vmbi_snapshot_defaults_ok("aws:a,"));
    assert_false(vmbi_snapshot_defaults_ok("aws:a,,gcp:b"));
}

static void volumes_of_a_plugin_have_its_location(void **state)
{
    (void)state;
    vmbi_json *all = parse("[" AWS1 "," GCP "]");
    vmbi_json *ebs = parse("{\"spec\":{\"awsElasticBlockStore\":{\"volumeID\":\"v\"}}}");
    vmbi_json *gce = parse("{\"spec\":{\"gcePersistentDisk\":{\"pdName\":\"v\"}}}");
    vmbi_json *azure = parse("{\"spec\":{\"azureDisk\":{\"diskName\":\"v\"}}}");
    vmbi_json *csi = parse("{\"spec\":{\"csi\":{\"driver\":\"ebs.csi.aws.com\"}}}");
    assert_ptr_equal(vmbi_snapshot_location_of(all, ebs), vmbi_json_at(all, 0));
    assert_ptr_equal(vmbi_snapshot_location_of(all, gce), vmbi_json_at(all, 1));
    assert_null(vmbi_snapshot_location_of(all, azure));
    assert_null(vmbi_snapshot_location_of(all, csi));
    assert_null(vmbi_snapshot_location_of(all, NULL));
    assert_null(vmbi_snapshot_location_of(NULL, ebs));
    vmbi_json_free(all);
    vmbi_json_free(ebs);
    vmbi_json_free(gce);
    vmbi_json_free(azure);
    vmbi_json_free(csi);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locations_none_named_only_one_of_a_provider_is_taken),
        cmocka_unit_test(locations_named_are_taken_and_other_providers_defaulted),
        cmocka_unit_test(locations_unknown_or_two_of_a_provider_are_refused),
        cmocka_unit_test(locations_several_of_a_provider_need_a_default),
        cmocka_unit_test(defaults_are_pairs),
        cmocka_unit_test(volumes_of_a_plugin_have_its_location),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
