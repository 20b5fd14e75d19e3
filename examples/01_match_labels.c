/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles a label selector once and matches sets of labels with it.
 * usage: 01_match_labels 'app=db,tier in (fe,be)' KEY VALUE [KEY VALUE]… */
#include <stdio.h>
#include <vmbackup/vmbackup.h>

int main(int argc, char **argv)
{
    vmb_selector *selector = NULL;
    vmb_error *err = NULL;
    int32_t yes = 0;

    if (argc < 2 || argc % 2 != 0) {
        fprintf(stderr, "usage: %s SELECTOR [KEY VALUE]...\n", argv[0]);
        return 2;
    }
    if (vmb_selector_parse(argv[1], &selector, &err) != VMB_OK ||
        vmb_selector_matches(selector, (const char *const *)(argv + 2), (size_t)(argc - 2) / 2,
                             &yes, &err) != VMB_OK) {
        fprintf(stderr, "%s: %s\n", argv[1], vmb_error_message(err));
        vmb_error_free(err);
        vmb_selector_free(selector);
        return 1;
    }
    puts(yes ? "match" : "no match");
    vmb_selector_free(selector);
    return 0;
}
