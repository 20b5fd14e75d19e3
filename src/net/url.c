/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/strs.h"
#include "net/http.h"

void vmbi_url_encode(vmbi_buf *out, const char *s, size_t len, const char *keep)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t i = 0;

    for (i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)s[i];

        if (vmbi_is_alnum(s[i]) || (c != 0 && (strchr("-._~", c) || (keep && strchr(keep, c))))) {
            vmbi_buf_addc(out, s[i]);
        } else {
            const char hex[3] = {'%', digits[c >> 4], digits[c & 15]};

            vmbi_buf_add(out, hex, sizeof(hex));
        }
    }
}
