/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct test_server {
    int fd;
    int port;
    int quit[2]; /* a pipe: closed end wakes every thread */
    pthread_t thread;
    pthread_t workers[256];
    int n_workers;
    pthread_mutex_t lock; /* guards the counters */
    int connections;
    int requests;
    int seen_by_path[256]; /* keyed by a hash of the path: how often it was asked for */
};

struct conn {
    test_server *s;
    int fd;
};

struct request {
    char method[16];
    char path[256];
    char head[16384];
    char body[65536];
    size_t body_len;
};

static bool wait_readable(test_server *s, int fd)
{
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = s->quit[0], .events = POLLIN}};

    return poll(p, 2, 20000) > 0 && p[1].revents == 0;
}

static void say(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        const ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n <= 0) {
            return;
        }
        text += n;
        len -= (size_t)n;
    }
}

static bool read_request(struct conn *c, struct request *q)
{
    size_t n = 0;
    char *end = NULL;
    const char *cl = NULL;
    size_t want = 0;

    memset(q, 0, sizeof(*q));
    while (!end) {
        if (n >= sizeof(q->head) - 1 || !wait_readable(c->s, c->fd)) {
            return false;
        }
        /* Byte by byte is slow and simple: bodies never land in the head. */
        if (recv(c->fd, q->head + n, 1, 0) != 1) {
            return false;
        }
        n++;
        end = strstr(q->head, "\r\n\r\n");
    }
    if (sscanf(q->head, "%15s %255s", q->method, q->path) != 2) {
        return false;
    }
    cl = strstr(q->head, "Content-Length: ");
    if (cl && sscanf(cl, "Content-Length: %zu", &want) != 1) {
        return false;
    }
    while (q->body_len < want && want <= sizeof(q->body)) {
        ssize_t got = 0;

        if (!wait_readable(c->s, c->fd)) {
            return false;
        }
        got = recv(c->fd, q->body + q->body_len, want - q->body_len, 0);
        if (got <= 0) {
            return false;
        }
        q->body_len += (size_t)got;
    }
    return true;
}

static int count_path(test_server *s, const char *path)
{
    unsigned h = 5381;
    int n = 0;

    for (; *path; path++) {
        h = h * 33 + (unsigned char)*path;
    }
    pthread_mutex_lock(&s->lock);
    s->requests++;
    n = ++s->seen_by_path[h % 256];
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void answer(int fd, int status, const char *extra, const char *body)
{
    char head[1024];

    snprintf(head, sizeof(head),
             "HTTP/1.1 %d X\r\nDate: Fri, 24 May 2013 00:00:00 GMT\r\n"
             "Content-Length: %zu\r\n%s\r\n",
             status, strlen(body), extra);
    say(fd, head);
    say(fd, body);
}

/* Sends the head back, with the length of the body before it. */
static void echo(int fd, const struct request *q)
{
    char body[20000]; /* connections have threads of their own */

    snprintf(body, sizeof(body), "body=%zu\n%s", q->body_len, q->head);
    answer(fd, 200, "", body);
}

static void hang(struct conn *c)
{
    char byte = 0;

    while (wait_readable(c->s, c->fd) && recv(c->fd, &byte, 1, 0) == 1) {
    }
}

static void websocket_like(struct conn *c)
{
    char buf[4096];
    ssize_t n = 0;

    say(c->fd, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
    while (wait_readable(c->s, c->fd) && (n = recv(c->fd, buf, sizeof(buf), 0)) > 0) {
        if (send(c->fd, buf, (size_t)n, MSG_NOSIGNAL) != n) {
            return;
        }
    }
}

/* False: the connection is to be closed. */
static bool serve(struct conn *c, const struct request *q)
{
    const int seen = count_path(c->s, q->path);
    const int fd = c->fd;

    if (strncmp(q->path, "/echo", 5) == 0) {
        echo(fd, q);
    } else if (strcmp(q->path, "/hello") == 0) {
        answer(fd, 200, "X-Thing:   some value  \r\n", "hello");
    } else if (strcmp(q->path, "/fail-twice") == 0) {
        answer(fd, seen <= 2 ? 500 : 200, "", seen <= 2 ? "broken" : "fine");
    } else if (strcmp(q->path, "/fail-always") == 0) {
        answer(fd, 503, "", "busy");
    } else if (strcmp(q->path, "/retry-after") == 0) {
        answer(fd, seen == 1 ? 429 : 200, seen == 1 ? "Retry-After: 1\r\n" : "", "x");
    } else if (strcmp(q->path, "/retry-after-long") == 0) {
        answer(fd, 503, "Retry-After: 3600\r\n", "x");
    } else if (strcmp(q->path, "/not-found") == 0) {
        answer(fd, 404, "", "no such thing");
    } else if (strcmp(q->path, "/never") == 0) {
        hang(c);
        return false;
    } else if (strcmp(q->path, "/stall") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
        hang(c);
        return false;
    } else if (strcmp(q->path, "/cut-once") == 0 && seen == 1) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        return false;
    } else if (strcmp(q->path, "/cut-once") == 0) {
        answer(fd, 200, "", "whole");
    } else if (strcmp(q->path, "/cut-always") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        return false;
    } else if (strcmp(q->path, "/drop-once") == 0 && seen == 1) {
        return false;
    } else if (strcmp(q->path, "/drop-once") == 0) {
        answer(fd, 200, "", "whole");
    } else if (strcmp(q->path, "/error-in-200") == 0) {
        answer(fd, 200, "", seen == 1 ? "<Error/>" : "<Result/>");
    } else if (strcmp(q->path, "/garbage") == 0) {
        say(fd, "SSH-2.0-not-http\r\n\r\n");
        return false;
    } else if (strcmp(q->path, "/ws") == 0) {
        websocket_like(c);
        return false;
    } else {
        answer(fd, 400, "", "unknown path");
    }
    return true;
}

static void *conn_main(void *arg)
{
    struct conn *c = arg;
    struct request *q = malloc(sizeof(*q));

    while (q && read_request(c, q) && serve(c, q)) {
    }
    free(q);
    close(c->fd);
    free(c);
    return NULL;
}

static void *accept_main(void *arg)
{
    test_server *s = arg;

    while (s->n_workers < 256 && wait_readable(s, s->fd)) {
        struct conn *c = calloc(1, sizeof(*c));
        const int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0 || !c) {
            free(c);
            break;
        }
        pthread_mutex_lock(&s->lock);
        s->connections++;
        pthread_mutex_unlock(&s->lock);
        c->s = s;
        c->fd = fd;
        pthread_create(&s->workers[s->n_workers++], NULL, conn_main, c);
    }
    return NULL;
}

test_server *test_server_start(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    test_server *s = calloc(1, sizeof(*s));

    if (!s || pipe(s->quit) != 0) {
        abort();
    }
    pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(s->fd, 64) != 0 ||
        getsockname(s->fd, (struct sockaddr *)&a, &len) != 0) {
        abort();
    }
    s->port = ntohs(a.sin_port);
    pthread_create(&s->thread, NULL, accept_main, s);
    return s;
}

void test_server_stop(test_server *s)
{
    int i = 0;

    close(s->quit[1]);
    pthread_join(s->thread, NULL);
    for (i = 0; i < s->n_workers; i++) {
        pthread_join(s->workers[i], NULL);
    }
    close(s->quit[0]);
    close(s->fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int test_server_port(const test_server *s)
{
    return s->port;
}

int test_server_connections(test_server *s)
{
    int n = 0;

    pthread_mutex_lock(&s->lock);
    n = s->connections;
    pthread_mutex_unlock(&s->lock);
    return n;
}

int test_server_requests(test_server *s)
{
    int n = 0;

    pthread_mutex_lock(&s->lock);
    n = s->requests;
    pthread_mutex_unlock(&s->lock);
    return n;
}
