/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the library leave the program's signals alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>

#include "base/thread.h"

static void *read_mask(void *arg)
{
    (void)pthread_sigmask(SIG_SETMASK, NULL, arg);
    return NULL;
}

static void thread_of_the_library_blocks_signals(void **state)
{
    pthread_t thread;
    sigset_t inside;
    (void)state;
    (void)sigemptyset(&inside);
    assert_int_equal(vmbi_thread_start(&thread, read_mask, &inside), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(sigismember(&inside, SIGTERM), 1);
    assert_int_equal(sigismember(&inside, SIGUSR1), 1);
}

static void thread_that_starts_one_keeps_its_mask(void **state)
{
    pthread_t thread;
    sigset_t inside;
    sigset_t mine;
    (void)state;
    (void)sigemptyset(&mine);
    (void)sigaddset(&mine, SIGUSR2);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &mine, NULL), 0);
    assert_int_equal(vmbi_thread_start(&thread, read_mask, &inside), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
    assert_int_equal(sigismember(&mine, SIGUSR2), 1);
    assert_int_equal(sigismember(&mine, SIGTERM), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thread_of_the_library_blocks_signals),
        cmocka_unit_test(thread_that_starts_one_keeps_its_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
