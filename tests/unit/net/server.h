/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP/1.1 server on a loopback port, in threads of the test program. What it answers is
 * chosen by the path; see server.c. */
#ifndef TESTS_NET_SERVER_H
#define TESTS_NET_SERVER_H

#include <stdbool.h>

typedef struct test_server test_server;

test_server *test_server_start(void);
void test_server_stop(test_server *s);
int test_server_port(const test_server *s);
int test_server_connections(test_server *s); /* accepted so far */
int test_server_requests(test_server *s);    /* read so far */

#endif
