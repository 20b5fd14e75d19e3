/* SPDX-License-Identifier: Apache-2.0 */
/* Parses a Backup and prints everything that is wrong with it, as JSON.
 * usage: 02_validate_spec FILE */
#include <stdio.h>
#include <vmbackup/vmbackup.h>

static char text[1 << 20];

int main(int argc, char **argv)
{
    vmb_spec *spec = NULL;
    vmb_error *err = NULL;
    char *report = NULL;
    const char *ttl = NULL;
    size_t len;
    int invalid;
    FILE *in = argc == 2 ? fopen(argv[1], "r") : NULL;

    if (!in) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    len = fread(text, 1, sizeof(text), in);
    fclose(in);

    /* a syntax error comes from the parser, with line and column */
    if (vmb_spec_parse(text, len, argv[1], &spec, &err) != VMB_OK) {
        fprintf(stderr, "%s\n", vmb_error_message(err));
        vmb_error_free(err);
        return 1;
    }
    /* all other problems come together, in one report */
    invalid = vmb_spec_validate(spec, &report, NULL, &err) != VMB_OK;
    if (invalid) {
        fprintf(stderr, "%s\n", vmb_error_message(err));
    }
    if (report) {
        puts(report);
    }
    if (vmb_spec_get_string(spec, "spec.ttl", &ttl, NULL) == VMB_OK) {
        printf("ttl: %s\n", ttl);
    }
    vmb_free(report);
    vmb_spec_free(spec);
    vmb_error_free(err);
    return invalid;
}
