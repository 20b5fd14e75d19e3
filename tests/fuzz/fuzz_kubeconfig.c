/* SPDX-License-Identifier: Apache-2.0 */
/* kubeconfig files: whatever stands in one, it is read or refused with words, and no program that
 * it names is run. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "kube/kubeconfig.h"
#include "kube/plugin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    vmbi_kube_config c = {0};
    vmb_error *err = NULL;
    int fd = memfd_create("kubeconfig", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        abort();
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    vmbi_kube_sources sources = {.explicit_path = path};
    if (vmbi_kube_config_load(&sources, NULL, &c, &err) == VMB_OK) {
        if (c.server == NULL || c.ns == NULL || strpbrk(c.server, " \r\n@?#") != NULL ||
            (c.cert_pem == NULL) != (c.key_pem == NULL) || (c.insecure && c.ca_pem != NULL)) {
            abort();
        }
        if (c.plugin.command != NULL) {
            vmbi_buf info = VMBI_BUF_INIT(1 << 22);
            (void)vmbi_kube_plugin_info(&c, &info, NULL);
            vmbi_buf_free(&info);
        }
        vmbi_kube_config_free(&c);
    } else if (vmb_error_message(err)[0] == '\0') {
        abort();
    }
    vmb_error_free(err);
    (void)close(fd);
    return 0;
}
