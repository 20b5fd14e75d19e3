/* SPDX-License-Identifier: Apache-2.0 */
#include "net/sigpipe.h"

#include <errno.h>
#include <time.h>

void vmbi_sigpipe_block(vmbi_sigpipe *s)
{
    sigset_t pipe_only;
    sigset_t pending;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigemptyset(&pending);
    (void)sigpending(&pending);
    s->was_pending = sigismember(&pending, SIGPIPE) == 1;
    (void)pthread_sigmask(SIG_BLOCK, &pipe_only, &s->before);
}

void vmbi_sigpipe_restore(const vmbi_sigpipe *s)
{
    sigset_t pipe_only;
    const struct timespec none = {0, 0};

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!s->was_pending) {
        while (sigtimedwait(&pipe_only, NULL, &none) == -1 && errno == EINTR) {
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &s->before, NULL);
}
