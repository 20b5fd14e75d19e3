/* SPDX-License-Identifier: Apache-2.0 */
/* A responder for probes and metrics: GET of three paths, one request per connection. It reads at
 * most 4 KiB, gives a client 5 seconds, and never looks at a body. A few clients are served side by
 * side; when more come the oldest has to go, so that dawdling clients cannot keep the probes of the
 * kubelet waiting, who would end the process. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "operator.h"

enum {
    HEAD_MAX_BYTES = 4096,
    CLIENT_MS = 5000,
    BACKLOG = 64,
    CLIENTS_MAX = 8,
    STACK_BYTES = 256 * 1024
};

struct client {
    struct responder *responder;
    int fd; /* -1: free */
    unsigned long number;
};

struct responder {
    int fd;
    vmb_control *control;
    pthread_mutex_t lock; /* guards clients */
    pthread_cond_t ended;
    struct client clients[CLIENTS_MAX];
    unsigned long served;
};

static long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits until the socket is ready or the client's time is over. */
static bool wait_ready(int fd, short events, long until)
{
    struct pollfd p = {fd, events, 0};
    long left = until - now_ms();

    return left > 0 && poll(&p, 1, (int)left) == 1;
}

static void send_all(int fd, const char *data, size_t len, long until)
{
    while (len > 0 && wait_ready(fd, POLLOUT, until)) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return;
        }
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

static void answer(int fd, const char *status, const char *type, const char *body, size_t len,
                   long until)
{
    char head[256];
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\n\r\n",
                     status, type, len);

    send_all(fd, head, (size_t)n, until);
    send_all(fd, body, len, until);
}

static void answer_text(int fd, const char *status, const char *text, long until)
{
    answer(fd, status, "text/plain; charset=utf-8", text, strlen(text), until);
}

static void answer_metrics(int fd, vmb_control *control, long until)
{
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;

    if (vmb_control_metrics(control, &text, &len, &err) != VMB_OK) {
        answer_text(fd, "500 Internal Server Error", vmb_error_message(err), until);
        vmb_error_free(err);
        return;
    }
    answer(fd, "200 OK", "text/plain; version=0.0.4; charset=utf-8", text, len, until);
    vmb_free(text);
}

/* Reads the head of the request; false when it is not one within the limits. */
static bool read_head(int fd, char *head, size_t size, long until)
{
    size_t used = 0;

    while (used + 1 < size && wait_ready(fd, POLLIN, until)) {
        ssize_t n = recv(fd, head + used, size - 1 - used, MSG_DONTWAIT);

        if (n <= 0 && !(n < 0 && (errno == EAGAIN || errno == EINTR))) {
            return false;
        }
        used += n > 0 ? (size_t)n : 0;
        head[used] = '\0';
        if (strstr(head, "\r\n\r\n")) {
            return true;
        }
    }
    return false;
}

static void serve(const struct responder *r, int fd)
{
    char head[HEAD_MAX_BYTES];
    long until = now_ms() + CLIENT_MS;
    char path[64] = "";

    if (!read_head(fd, head, sizeof(head), until)) {
        return;
    }
    if (strncmp(head, "GET ", 4) != 0) {
        answer_text(fd, "405 Method Not Allowed", "only GET\n", until);
        return;
    }
    size_t len = strcspn(head + 4, " ?\r\n");
    if (len < sizeof(path)) {
        memcpy(path, head + 4, len);
        path[len] = '\0';
    }
    if (strcmp(path, "/metrics") == 0) {
        answer_metrics(fd, r->control, until);
    } else if (strcmp(path, "/healthz") == 0) {
        answer_text(fd, "200 OK", "ok\n", until);
    } else if (strcmp(path, "/readyz") == 0) {
        bool ready = vmb_control_ready(r->control) == 1;

        answer_text(fd, ready ? "200 OK" : "503 Service Unavailable",
                    ready ? "ok\n" : "not ready\n", until);
    } else {
        answer_text(fd, "404 Not Found", "there are /metrics, /healthz and /readyz\n", until);
    }
}

static void *serve_client(void *arg)
{
    struct client *c = arg;
    struct responder *r = c->responder;

    serve(r, c->fd);
    pthread_mutex_lock(&r->lock);
    shutdown(c->fd, SHUT_WR);
    close(c->fd); /* under the lock: nobody must mistake a new descriptor for this one */
    c->fd = -1;
    pthread_cond_signal(&r->ended);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* A free place, made by sending the oldest client away if need be. */
static struct client *take_place(struct responder *r, int fd)
{
    struct client *place = NULL;

    pthread_mutex_lock(&r->lock);
    while (!place) {
        struct client *oldest = &r->clients[0];

        for (int i = 0; i < CLIENTS_MAX; i++) {
            struct client *c = &r->clients[i];

            place = c->fd < 0 ? c : place;
            oldest = c->number < oldest->number ? c : oldest;
        }
        if (!place) {
            shutdown(oldest->fd, SHUT_RDWR);
            pthread_cond_wait(&r->ended, &r->lock);
        }
    }
    place->fd = fd;
    place->number = r->served++;
    pthread_mutex_unlock(&r->lock);
    return place;
}

static void *run(void *arg)
{
    struct responder *r = arg;
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    for (;;) {
        int fd = accept4(r->fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0) {
            struct client *c = take_place(r, fd);

            if (pthread_create(&thread, &attr, serve_client, c) != 0) {
                serve_client(c); /* no thread to be had: one after the other, then */
            }
        } else if (errno != EINTR && errno != ECONNABORTED) {
            poll(NULL, 0, 100); /* out of descriptors: not at full speed */
        }
    }
    return NULL;
}

static int open_socket(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int one = 1;
    int rc = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);

    if (rc != 0) {
        fprintf(stderr, "vmbackup-operator: --listen: %s\n", gai_strerror(rc));
        return -1;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    }
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        fprintf(stderr, "vmbackup-operator: --listen: %s\n", strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

bool http_start(const char *listen_at, vmb_control *control)
{
    static struct responder responder;
    char host[128];
    const char *colon = strrchr(listen_at, ':');
    size_t len = colon ? (size_t)(colon - listen_at) : 0;
    pthread_t thread;

    if (!colon || len >= sizeof(host)) {
        fprintf(stderr, "vmbackup-operator: --listen wants ADDRESS:PORT, not %s\n", listen_at);
        return false;
    }
    memcpy(host, listen_at, len);
    host[len] = '\0';
    if (len > 1 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        memmove(host, host + 1, len - 1);
    }
    responder = (struct responder){.fd = open_socket(host, colon + 1),
                                   .control = control,
                                   .lock = PTHREAD_MUTEX_INITIALIZER,
                                   .ended = PTHREAD_COND_INITIALIZER};
    for (int i = 0; i < CLIENTS_MAX; i++) {
        responder.clients[i] = (struct client){.responder = &responder, .fd = -1};
    }
    if (responder.fd < 0) {
        return false;
    }
    if (pthread_create(&thread, NULL, run, &responder) != 0) {
        fprintf(stderr, "vmbackup-operator: no thread for HTTP\n");
        return false;
    }
    pthread_detach(thread);
    return true;
}
