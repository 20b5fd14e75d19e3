/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the archive of a list of paths (one a line on stdin) to the file named by the argument;
 * each file's content is its own path. With a second argument "gz" compressed. */
#include <stdio.h>
#include <string.h>

#include "codec/tar.h"

static vmb_code to_file(void *user, const void *data, size_t len, vmb_error **err)
{
    (void)err;
    return fwrite(data, 1, len, user) == len ? VMB_OK : VMB_E_IO;
}

static vmb_code to_gzip(void *user, const void *data, size_t len, vmb_error **err)
{
    return vmbi_gzip_write(user, data, len, err);
}

static vmb_code write_all(vmbi_tar *t)
{
    char line[4200];
    vmb_code code = VMB_OK;

    while (code == VMB_OK && fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        vmbi_slice part = {line, strlen(line)};
        code = vmbi_tar_add(t, line, 1779264022, &part, 1, NULL);
    }
    return code == VMB_OK ? vmbi_tar_finish(t, NULL) : code;
}

int main(int argc, char **argv)
{
    FILE *f = argc > 1 ? fopen(argv[1], "wb") : NULL;
    vmbi_gzip *gz = NULL;
    vmbi_tar *t = NULL;
    vmb_code code;

    if (f == NULL) {
        return 2;
    }
    code = vmbi_gzip_new(to_file, f, &gz, NULL);
    if (code == VMB_OK && argc > 2) {
        code = vmbi_tar_new(to_gzip, gz, &t, NULL);
    } else if (code == VMB_OK) {
        code = vmbi_tar_new(to_file, f, &t, NULL);
    }
    if (code == VMB_OK) {
        code = write_all(t);
    }
    if (code == VMB_OK && argc > 2) {
        code = vmbi_gzip_finish(gz, NULL);
    }
    vmbi_tar_free(t);
    vmbi_gzip_free(gz);
    return fclose(f) == 0 && code == VMB_OK ? 0 : 1;
}
