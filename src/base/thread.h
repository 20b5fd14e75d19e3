/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the library. */
#ifndef VMBI_BASE_THREAD_H
#define VMBI_BASE_THREAD_H

#include <pthread.h>

/* Starts a thread that runs no signal handlers of the program: all signals are blocked in it.
 * Returns 0, or an error number. */
int vmbi_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg);

#endif
