/* SPDX-License-Identifier: Apache-2.0 */
#include "base/job.h"

#include "base/buf.h"

static vmb_code buf_write(void *user, const void *data, size_t len, vmb_error **err)
{
    vmbi_buf *b = user;
    vmbi_buf_add(b, data, len);
    return vmbi_buf_check(b, err, "result");
}

struct vmb_sink vmbi_sink_to_buf(struct vmbi_buf *b)
{
    return (struct vmb_sink){buf_write, b};
}
