/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns: the first line is one, the others are paths. What is matched is also reached: no
 * folder above it was said to have no matches below it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "repo/tree/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void see(vmbi_patterns *p, char *path)
{
    bool hit = false;
    bool child = false;
    if (vmbi_patterns_match(p, path, &hit, &child, NULL) != VMB_OK || !hit) {
        return;
    }
    for (char *slash = strrchr(path, '/'); slash != NULL && slash != path;
         slash = strrchr(path, '/')) {
        *slash = '\0';
        if (vmbi_patterns_match(p, path, &hit, &child, NULL) == VMB_OK && !hit && !child) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = vmbi_strndup((const char *)data, size);
    if (text == NULL) {
        return 0;
    }
    char *next = strchr(text, '\n');
    if (next != NULL) {
        *next++ = '\0';
    }
    for (int fold = 0; fold < 2 && text[0] != '!'; fold++) {
        const char *const pattern = text;
        vmbi_patterns *p = NULL;
        if (vmbi_patterns_new(&pattern, 1, fold == 1, &p, NULL) != VMB_OK) {
            break;
        }
        for (char *path = next; path != NULL && path[0] == '/';) {
            char *end = strchr(path, '\n');
            char *copy = vmbi_strndup(path, end != NULL ? (size_t)(end - path) : strlen(path));
            if (copy != NULL && strstr(copy, "//") == NULL && strlen(copy) > 1) {
                see(p, copy);
            }
            vmbi_free(copy);
            path = end != NULL ? end + 1 : NULL;
        }
        vmbi_patterns_free(p);
    }
    vmbi_free(text);
    return 0;
}
