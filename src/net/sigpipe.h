/* SPDX-License-Identifier: Apache-2.0 */
/* Libraries that write to sockets may raise SIGPIPE, whose default ends the process. */
#ifndef VMBI_NET_SIGPIPE_H
#define VMBI_NET_SIGPIPE_H

#include <signal.h>

#include "base/compiler.h"

/* Blocks SIGPIPE in the calling thread; restore takes away the one that was raised meanwhile. */
typedef struct vmbi_sigpipe {
    sigset_t before;
    bool was_pending;
} vmbi_sigpipe;
void vmbi_sigpipe_block(vmbi_sigpipe *s);
void vmbi_sigpipe_restore(const vmbi_sigpipe *s);

#endif
